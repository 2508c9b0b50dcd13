/* Drops DNS questions for blocked.example and the names below it. */
#include "uio_bpf_net.h"

#define DNS_PORT 53
#define NAME_BYTES_MAX 64

/* As in a packet: each label behind its length. */
static const char blocked[] = "\7blocked\7example";
/* With the zero that ends the name. */
#define BLOCKED_BYTES sizeof(blocked)

struct dnshdr {
    __be16 id;
    __be16 flags;
    __be16 questions;
    __be16 answers;
    __be16 authorities;
    __be16 additional;
};

static __always_inline __u8 lower(__u8 letter)
{
    return letter >= 'A' && letter <= 'Z' ? letter + ('a' - 'A') : letter;
}

SEC("xdp") int dns_filter(struct xdp_md *context)
{
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    struct ethhdr *ethernet = data;
    struct iphdr *ip = data + sizeof(*ethernet);
    struct udphdr *udp = (void *)(ip + 1);
    struct dnshdr *dns = (void *)(udp + 1);
    __u8 *name = (void *)(dns + 1);
    __u32 length = 0;

    if ((void *)name > end || ethernet->h_proto != bpf_htons(ETH_P_IP) || ip->version_ihl != 0x45 ||
        ip->protocol != IPPROTO_UDP || udp->dest != bpf_htons(DNS_PORT) || !dns->questions)
        return XDP_PASS;

    /* Label by label: where the rest of the name is the blocked one, it is blocked or below it. */
    for (__u32 labels = 0; labels < NAME_BYTES_MAX / 2; labels++) {
        __u8 *label = name + length;
        __u32 same;

        if ((void *)(label + 1) > end || *label == 0 || *label > 63)
            return XDP_PASS;
        if ((void *)(label + BLOCKED_BYTES) <= end) {
            for (same = 0; same < BLOCKED_BYTES; same++)
                if (lower(label[same]) != (__u8)blocked[same])
                    break;
            if (same == BLOCKED_BYTES)
                return XDP_DROP;
        }
        length += *label + 1;
        if (length >= NAME_BYTES_MAX)
            return XDP_PASS;
    }
    return XDP_PASS;
}
