/* rejected: a function calls itself */
#include "uio_bpf.h"

static __noinline __u64 fibonacci(__u64 number)
{
    return number < 2 ? number : fibonacci(number - 1) + fibonacci(number - 2);
}

SEC("raw/8") int recursion(__u64 *memory)
{
    return fibonacci(*memory);
}
