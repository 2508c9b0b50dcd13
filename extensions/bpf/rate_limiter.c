/* A bucket of tokens for each source address: 100 packets at once, 100 more each second. */
#include "uio_bpf_net.h"

#define TOKENS_MAX 100
#define TOKENS_PER_SECOND 100
#define NANOSECONDS_PER_TOKEN (1000000000ull / TOKENS_PER_SECOND)

struct bucket {
    /* Up to when tokens have been given out. */
    __u64 filled_ns;
    __u64 tokens;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1024);
    __type(key, __be32);
    __type(value, struct bucket);
} buckets SEC(".maps");

SEC("xdp") int rate_limiter(struct xdp_md *context)
{
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    struct ethhdr *ethernet = data;
    struct iphdr *ip = data + sizeof(*ethernet);
    struct bucket *bucket;
    __be32 source;
    __u64 now, fresh;

    if ((void *)(ip + 1) > end)
        return XDP_ABORTED;
    if (ethernet->h_proto != bpf_htons(ETH_P_IP))
        return XDP_PASS;
    source = ip->saddr;
    now = bpf_ktime_get_ns();
    bucket = bpf_map_lookup_elem(&buckets, &source);
    if (!bucket) {
        struct bucket full = {.filled_ns = now, .tokens = TOKENS_MAX - 1};
        /* With no room for one more source, new ones wait. */
        return bpf_map_update_elem(&buckets, &source, &full, BPF_ANY) ? XDP_DROP : XDP_PASS;
    }
    fresh = (now - bucket->filled_ns) / NANOSECONDS_PER_TOKEN;
    if (fresh > 0) {
        bucket->filled_ns += fresh * NANOSECONDS_PER_TOKEN;
        fresh += bucket->tokens;
        bucket->tokens = fresh < TOKENS_MAX ? fresh : TOKENS_MAX;
    }
    if (bucket->tokens == 0)
        return XDP_DROP;
    bucket->tokens--;
    return XDP_PASS;
}
