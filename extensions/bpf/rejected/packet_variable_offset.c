/* rejected: the header's length comes from the packet, and what lies behind it is not checked again */
#include "uio_bpf_net.h"

SEC("xdp") int packet_variable_offset(struct xdp_md *context)
{
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    struct iphdr *ip = data + sizeof(struct ethhdr);
    struct ports *ports;

    if ((void *)(ip + 1) > end)
        return XDP_DROP;
    ports = (void *)ip + (ip->version_ihl & 15) * 4;
    return ports->dest ? XDP_PASS : XDP_DROP;
}
