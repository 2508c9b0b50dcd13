/* rejected: the result is an address */
#include "uio_bpf.h"

SEC("raw/8") __u64 leak_by_result(__u64 *memory)
{
    return (__u64)memory;
}
