/* rejected: an index of up to 31 into 16 bytes of stack */
#include "uio_bpf.h"

SEC("xdp") int stack_out_of_bounds(struct xdp_md *context)
{
    volatile __u8 bytes[16] = {0};

    bytes[context->rx_queue_index & 31] = 1;
    return bytes[0] ? XDP_PASS : XDP_DROP;
}
