/* rejected: a packet pointer from before xdp_adjust_head is used after it */
#include "uio_bpf_net.h"

SEC("xdp") int packet_stale(struct xdp_md *context)
{
    __u8 *data = (__u8 *)(long)context->data;
    __u8 *end = (__u8 *)(long)context->data_end;

    if (data + 64 > end)
        return XDP_DROP;
    if (bpf_xdp_adjust_head(context, 32))
        return XDP_ABORTED;
    return data[40] ? XDP_PASS : XDP_DROP;
}
