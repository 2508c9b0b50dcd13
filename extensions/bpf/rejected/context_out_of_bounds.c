/* rejected: 8 bytes behind the context are read */
#include "uio_bpf.h"

SEC("timer/10") int context_out_of_bounds(struct uio_timer *timer)
{
    return *(volatile __u64 *)(timer + 1);
}
