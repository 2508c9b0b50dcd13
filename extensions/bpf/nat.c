/* Source NAT for TCP and UDP: connections from the inside (10.0.0.0/8) leave with the outer address 192.0.2.1 and a port
 * of their own; what comes back finds its way by the same table. Checksums are updated by the difference (RFC 1624). */
#include "uio_bpf_net.h"

#define OUTER_ADDRESS bpf_htonl(0xc0000201)
#define INSIDE_NETWORK bpf_htonl(0x0a000000)
#define INSIDE_MASK bpf_htonl(0xff000000)
#define PORT_FIRST 1024
#define PORTS (65536 - PORT_FIRST)

/* A direction of a connection as its packets show it. No padding: all 16 bytes are compared. */
struct flow {
    __be32 source_address;
    __be32 target_address;
    __be16 source_port;
    __be16 target_port;
    __u32 protocol;
};

/* What its packets get instead. */
struct rewrite {
    __be32 source_address;
    __be32 target_address;
    __be16 source_port;
    __be16 target_port;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 8192);
    __type(key, struct flow);
    __type(value, struct rewrite);
} connections SEC(".maps");

/* Connections begun so far: the next one's port. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} begun SEC(".maps");

/* Packets translated, out and in, and refused. */
enum { COUNT_OUT, COUNT_IN, COUNT_REFUSED, COUNTS };
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, COUNTS);
    __type(key, __u32);
    __type(value, __u64);
} counts SEC(".maps");

static __always_inline void count(__u32 what)
{
    __u64 *number = bpf_map_lookup_elem(&counts, &what);
    if (number)
        *number += 1;
}

static __always_inline __u32 difference16(__u16 old, __u16 new)
{
    return (__u16)~old + new;
}

static __always_inline __u32 difference32(__u32 old, __u32 new)
{
    return difference16(old & 0xffff, new & 0xffff) + difference16(old >> 16, new >> 16);
}

static __always_inline __u16 updated(__u16 checksum, __u32 difference)
{
    __u32 sum = (__u16)~checksum + difference;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return ~sum;
}

static __always_inline int begin(const struct flow *flow, struct rewrite *out)
{
    struct rewrite back;
    struct flow reply;
    __u32 key = 0;
    __u64 *number = bpf_map_lookup_elem(&begun, &key);

    if (!number)
        return -1;
    out->source_address = OUTER_ADDRESS;
    out->target_address = flow->target_address;
    out->source_port = bpf_htons(PORT_FIRST + *number % PORTS);
    out->target_port = flow->target_port;
    *number += 1;

    reply.source_address = flow->target_address;
    reply.target_address = OUTER_ADDRESS;
    reply.source_port = flow->target_port;
    reply.target_port = out->source_port;
    reply.protocol = flow->protocol;
    back.source_address = flow->target_address;
    back.target_address = flow->source_address;
    back.source_port = flow->target_port;
    back.target_port = flow->source_port;
    if (bpf_map_update_elem(&connections, &reply, &back, BPF_ANY))
        return -1;
    return bpf_map_update_elem(&connections, flow, out, BPF_ANY);
}

SEC("xdp") int nat(struct xdp_md *context)
{
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    struct ethhdr *ethernet = data;
    struct iphdr *ip = data + sizeof(*ethernet);
    struct ports *ports = (void *)(ip + 1);
    struct rewrite fresh, *rewrite;
    struct flow flow;
    __u32 addresses, both;
    int inside;

    if ((void *)(ports + 1) > end)
        return XDP_DROP;
    /* Options would move the ports; fragments have none. */
    if (ethernet->h_proto != bpf_htons(ETH_P_IP) || ip->version_ihl != 0x45 ||
        (ip->frag_off & bpf_htons(IP_OFFSET_MASK)))
        return XDP_PASS;
    if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
        return XDP_PASS;

    flow.source_address = ip->saddr;
    flow.target_address = ip->daddr;
    flow.source_port = ports->source;
    flow.target_port = ports->dest;
    flow.protocol = ip->protocol;
    inside = (flow.source_address & INSIDE_MASK) == INSIDE_NETWORK;
    rewrite = bpf_map_lookup_elem(&connections, &flow);
    if (!rewrite) {
        if (!inside || begin(&flow, &fresh)) {
            count(COUNT_REFUSED);
            return XDP_DROP;
        }
        rewrite = &fresh;
    }

    addresses = difference32(flow.source_address, rewrite->source_address) +
                difference32(flow.target_address, rewrite->target_address);
    both = addresses + difference16(flow.source_port, rewrite->source_port) +
           difference16(flow.target_port, rewrite->target_port);
    ip->check = updated(ip->check, addresses);
    if (flow.protocol == IPPROTO_TCP) {
        struct tcphdr *tcp = (void *)ports;
        if ((void *)(tcp + 1) > end)
            return XDP_DROP;
        tcp->check = updated(tcp->check, both);
    } else {
        struct udphdr *udp = (void *)ports;
        if ((void *)(udp + 1) > end)
            return XDP_DROP;
        /* 0 says that there is none, so a sum of 0 is written as its other form. */
        if (udp->check) {
            __u16 check = updated(udp->check, both);
            udp->check = check ? check : 0xffff;
        }
    }
    ip->saddr = rewrite->source_address;
    ip->daddr = rewrite->target_address;
    ports->source = rewrite->source_port;
    ports->dest = rewrite->target_port;
    count(inside ? COUNT_OUT : COUNT_IN);
    return XDP_PASS;
}
