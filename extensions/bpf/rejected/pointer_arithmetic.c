/* rejected: an address is multiplied, and the result used as one */
#include "uio_bpf.h"

SEC("raw/8") int pointer_arithmetic(__u64 *memory)
{
    __u64 address = (__u64)memory;

    asm volatile("%0 *= 3" : "+r"(address));
    return *(__u32 *)address;
}
