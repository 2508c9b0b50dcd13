/* A load balancer: packets go to two ports in turn. */
#include "uio_bpf.h"

#define PORTS 2

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} turn SEC(".maps");

SEC("xdp/classifier") int round_robin(struct xdp_md *context)
{
    __u32 key = 0;
    __u64 *count = bpf_map_lookup_elem(&turn, &key);

    if (!count)
        return 0;
    *count += 1;
    return *count % PORTS;
}
