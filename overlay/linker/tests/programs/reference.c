/* The same host functions for the program as linked by the system's linker, and a main that prints
 * what the linked extension has to compute. */
#include "host.h"
#include <stdio.h>

u64 host_values[4] = {11, 22, 33, 44};

u64 host_mix(u64 value) { return (value ^ (value >> 7)) * 0x9e3779b97f4a7c15ul; }

u64 host_apply(function called, u64 value) { return called(value) + 1; }

u64 run(u64 seed);

int main(void) {
    for (u64 seed = 0; seed < 64; seed++) printf("%lu\n", run(seed));
    return 0;
}
