/* rejected: three nested functions of 200 bytes of stack each, and 512 for all */
#include "uio_bpf.h"

static __noinline __u32 inner(__u32 index)
{
    volatile __u64 bytes[25] = {0};

    bytes[index % 25] = index;
    return bytes[3];
}

static __noinline __u32 middle(__u32 index)
{
    volatile __u64 bytes[25] = {0};

    bytes[index % 25] = inner(index);
    return bytes[3] + inner(index + 1);
}

SEC("raw/8") int stack_too_large(__u32 *memory)
{
    volatile __u64 bytes[25] = {0};

    bytes[*memory % 25] = middle(*memory);
    return bytes[3] + middle(*memory + 1);
}
