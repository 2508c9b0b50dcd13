/* One program a protocol: the dispatcher looks at the protocol's number and goes on in the program that
 * `map update handlers` has put there. Without one the packet passes. */
#include "uio_bpf_net.h"

struct {
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
    __uint(max_entries, 256);
    __type(key, __u32);
    __type(value, __u32);
} handlers SEC(".maps");

SEC("xdp") int dispatch(struct xdp_md *context)
{
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    struct ethhdr *ethernet = data;
    struct iphdr *ip = data + sizeof(*ethernet);

    if ((void *)(ip + 1) <= end && ethernet->h_proto == bpf_htons(ETH_P_IP))
        bpf_tail_call(context, &handlers, ip->protocol);
    return XDP_PASS;
}

SEC("xdp/icmp") int icmp(struct xdp_md *context)
{
    return XDP_DROP;
}

SEC("xdp/udp") int udp(struct xdp_md *context)
{
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    struct udphdr *udp = data + sizeof(struct ethhdr) + sizeof(struct iphdr);

    if ((void *)(udp + 1) > end)
        return XDP_ABORTED;
    return bpf_ntohs(udp->len) < sizeof(*udp) ? XDP_DROP : XDP_PASS;
}
