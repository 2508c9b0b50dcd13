/* Drops UDP and TCP packets to port 12345. */
#include "uio_bpf_net.h"

#define BLOCKED_PORT 12345

SEC("xdp") int port_filter(struct xdp_md *context)
{
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    struct ethhdr *ethernet = data;
    struct iphdr *ip = data + sizeof(*ethernet);
    struct ports *ports;

    if ((void *)(ip + 1) > end)
        return XDP_ABORTED;
    if (ethernet->h_proto != bpf_htons(ETH_P_IP))
        return XDP_PASS;
    if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
        return XDP_PASS;
    /* A later fragment has no ports. */
    if (ip->frag_off & bpf_htons(IP_OFFSET_MASK))
        return XDP_PASS;
    ports = (void *)ip + (ip->version_ihl & 15) * 4;
    if ((void *)(ports + 1) > end)
        return XDP_ABORTED;
    return ports->dest == bpf_htons(BLOCKED_PORT) ? XDP_DROP : XDP_PASS;
}
