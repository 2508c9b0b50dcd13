/* rejected: nothing bounds how often the loop runs; with a limit of fuel it may run */
#include "uio_bpf.h"

SEC("raw/8") int loop_unbounded(__u64 *memory)
{
    __u64 number = *memory, steps = 0;

    while (number != 1) {
        number = number & 1 ? 3 * number + 1 : number / 2;
        steps++;
    }
    return steps;
}
