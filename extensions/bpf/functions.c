/* Calls inside a program: a global function, static ones here and in .text, and one that calls another. */
#include "uio_bpf_net.h"

struct packet {
    void *start;
    void *end;
};

static __noinline __u32 mixed(__u32 hash, __u32 word)
{
    hash ^= word;
    hash *= 0x9e3779b1;
    return hash ^ (hash >> 15);
}

__noinline __u32 flow_hash(__u32 source, __u32 target, __u32 ports)
{
    return mixed(mixed(mixed(0, source), target), ports);
}

/* Reads a packet in a callee: the range that it checks is its own. */
static __noinline int protocol(struct xdp_md *context)
{
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    struct iphdr *ip = data + sizeof(struct ethhdr);

    return (void *)(ip + 1) > end ? -1 : ip->protocol;
}

SEC("xdp/spread") int spread(struct xdp_md *context)
{
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    struct iphdr *ip = data + sizeof(struct ethhdr);
    __u32 *ports = (void *)(ip + 1);

    if ((void *)(ports + 1) > end)
        return 0;
    /* The high bits depend on all of them. */
    return flow_hash(ip->saddr, ip->daddr, *ports) >> 30;
}

SEC("xdp/known") int known(struct xdp_md *context)
{
    int number = protocol(context);

    return number == IPPROTO_TCP || number == IPPROTO_UDP || number == IPPROTO_ICMP ? XDP_PASS : XDP_DROP;
}
