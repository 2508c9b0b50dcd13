/* rejected: the packet is read without a comparison with its end */
#include "uio_bpf_net.h"

SEC("xdp") int packet_unchecked(struct xdp_md *context)
{
    struct ethhdr *ethernet = (void *)(long)context->data;

    return ethernet->h_proto == bpf_htons(ETH_P_IP) ? XDP_PASS : XDP_DROP;
}
