/* rejected: a constant is written */
#include "uio_bpf.h"

const volatile __u32 constant = 5;

SEC("xdp") int read_only_write(struct xdp_md *context)
{
    *(volatile __u32 *)&constant = context->rx_queue_index;
    return XDP_PASS;
}
