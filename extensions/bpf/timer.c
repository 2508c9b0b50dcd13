/* Every second: packets a second, from the count that the packet program keeps. */
#include "uio_bpf.h"

struct rate {
    __u64 packets;
    __u64 per_second;
    __u64 seconds;
    __u64 missed;
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct rate);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} packet_rate SEC(".maps");

SEC("xdp") int count(struct xdp_md *context)
{
    __u32 key = 0;
    struct rate *rate = bpf_map_lookup_elem(&packet_rate, &key);

    if (rate)
        __sync_fetch_and_add(&rate->packets, 1);
    return XDP_PASS;
}

SEC("timer/1000") int tick(struct uio_timer *timer)
{
    static __u64 before;
    __u32 key = 0;
    struct rate *rate = bpf_map_lookup_elem(&packet_rate, &key);

    if (!rate)
        return 0;
    rate->per_second = (rate->packets - before) / (timer->missed + 1);
    rate->seconds += timer->missed + 1;
    rate->missed += timer->missed;
    before = rate->packets;
    return 0;
}
