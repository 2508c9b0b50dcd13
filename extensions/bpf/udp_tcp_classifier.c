/* A classifier: UDP to port 0, TCP to port 1, all else to port 2. */
#include "uio_bpf_net.h"

enum { PORT_UDP, PORT_TCP, PORT_OTHER };

SEC("xdp/classifier") int udp_tcp_classifier(struct xdp_md *context)
{
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    struct ethhdr *ethernet = data;
    struct iphdr *ip = data + sizeof(*ethernet);

    if ((void *)(ip + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
        return PORT_OTHER;
    switch (ip->protocol) {
    case IPPROTO_UDP:
        return PORT_UDP;
    case IPPROTO_TCP:
        return PORT_TCP;
    default:
        return PORT_OTHER;
    }
}
