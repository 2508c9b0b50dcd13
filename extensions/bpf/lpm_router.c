/* A router: the longest prefix of the target address that the table has decides the output port. */
#include "uio_bpf_net.h"

#define PORT_NONE 255

/* Bits that count, then the address as in a packet. */
struct prefix {
    __u32 bits;
    __be32 address;
};

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, 1024);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct prefix);
    __type(value, __u32);
} routes SEC(".maps");

SEC("xdp/classifier") int lpm_router(struct xdp_md *context)
{
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    struct ethhdr *ethernet = data;
    struct iphdr *ip = data + sizeof(*ethernet);
    struct prefix target = {.bits = 32};
    __u32 *port;

    if ((void *)(ip + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP) || ip->ttl <= 1)
        return PORT_NONE;
    target.address = ip->daddr;
    port = bpf_map_lookup_elem(&routes, &target);
    if (!port)
        return PORT_NONE;
    /* One less in the high byte of its word is 1 more in the complement (RFC 1141). */
    __u32 check = ip->check + 1;
    ip->check = check + (check >> 16);
    ip->ttl--;
    return *port;
}
