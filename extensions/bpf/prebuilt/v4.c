/* What version 4 of the instruction set has beyond version 3, one program each. Memory holds two numbers. */
#include "uio_bpf.h"

SEC("raw/16") __s64 signed_division(__s64 *memory)
{
    return memory[0] / memory[1] * 1000 + (__s32)memory[0] / 7;
}

SEC("raw/16") __s64 signed_remainder(__s64 *memory)
{
    return memory[0] % memory[1] * 1000 + (__s32)memory[0] % 7;
}

SEC("raw/16") __s64 sign_extension(__s64 *memory)
{
    __s64 wide = memory[1];

    /* Loads of 1, 2 and 4 bytes, then moves of the same. */
    return ((volatile __s8 *)memory)[0] + ((volatile __s16 *)memory)[1] + 1ll * ((volatile __s32 *)memory)[1] +
           (__s8)wide * 3ll + (__s16)wide * 5ll + (__s32)wide * 7ll;
}

SEC("raw/16") __u64 byte_swap(__u64 *memory)
{
    return __builtin_bswap64(memory[0]) ^ __builtin_bswap32(memory[1]) ^ __builtin_bswap16(memory[1]);
}

SEC("raw/16") __u64 long_jump(__u64 *memory)
{
    __u64 result = memory[0];

    asm volatile("gotol 1f\n"
                 "%0 = 0\n"
                 "1: %0 += 1" : "+r"(result));
    return result;
}

SEC("raw/16") __u64 atomics(__u64 *memory)
{
    __u64 sum = __sync_fetch_and_add(&memory[0], 5);

    sum += __sync_fetch_and_or((__u32 *)&memory[1], 0x10);
    sum += __sync_fetch_and_and(&memory[0], 0xffff);
    sum += __sync_fetch_and_xor(&memory[0], 0x55);
    sum += __sync_lock_test_and_set(&memory[1], sum);
    return sum + __sync_val_compare_and_swap(&memory[0], memory[0], 7);
}

static __noinline __u64 twice(__u64 number)
{
    return number * 2;
}

static __noinline __u64 squared(__u64 number)
{
    return number * number;
}

SEC("raw/16") __u64 indirect_call(__u64 *memory)
{
    __u64 (*volatile function)(__u64) = memory[1] & 1 ? squared : twice;

    return function(memory[0]);
}
