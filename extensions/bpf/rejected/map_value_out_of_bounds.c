/* rejected: an index of up to 255 into 64 bytes of a map's value */
#include "uio_bpf_net.h"

struct counters {
    __u64 packets[8];
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct counters);
} map SEC(".maps");

SEC("xdp") int map_value_out_of_bounds(struct xdp_md *context)
{
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    struct iphdr *ip = data + sizeof(struct ethhdr);
    __u32 key = 0;
    struct counters *counters = bpf_map_lookup_elem(&map, &key);

    if (counters && (void *)(ip + 1) <= end)
        counters->packets[ip->protocol]++;
    return XDP_PASS;
}
