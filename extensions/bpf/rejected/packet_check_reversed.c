/* rejected: the packet is read on the branch on which it is too short */
#include "uio_bpf_net.h"

SEC("xdp") int packet_check_reversed(struct xdp_md *context)
{
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    struct ethhdr *ethernet = data;

    if ((void *)(ethernet + 1) <= end)
        return XDP_DROP;
    return ethernet->h_proto ? XDP_PASS : XDP_DROP;
}
