/* For `bpf run`: prints how many bytes of its argument are not 0, and the first; the result is the sum of all bytes. */
#include "uio_bpf.h"

#define BYTES 64

SEC("raw/64") int hello(__u8 *memory, __u64 bytes)
{
    __u32 sum = 0, length = 0;

    for (__u32 index = 0; index < BYTES; index++) {
        sum += memory[index];
        length += memory[index] != 0;
    }
    bpf_printk("hello: %u bytes are set, the first is %x", length, memory[0]);
    return sum;
}
