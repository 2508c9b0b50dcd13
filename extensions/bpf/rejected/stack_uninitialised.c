/* rejected: the key of map_lookup_elem is stack that nothing was written to */
#include "uio_bpf.h"

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 16);
    __type(key, __u64);
    __type(value, __u64);
} map SEC(".maps");

SEC("xdp") int stack_uninitialised(struct xdp_md *context)
{
    __u64 key[1];

    /* Half of it is written. */
    *(volatile __u32 *)key = 7;
    return bpf_map_lookup_elem(&map, key) ? XDP_PASS : XDP_DROP;
}
