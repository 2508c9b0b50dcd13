/* rejected: the result of map_lookup_elem is used without a comparison with null */
#include "uio_bpf.h"

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 16);
    __type(key, __u32);
    __type(value, __u64);
} map SEC(".maps");

SEC("xdp") int null_unchecked(struct xdp_md *context)
{
    __u32 key = 7;
    __u64 *value = bpf_map_lookup_elem(&map, &key);

    *value += 1;
    return XDP_PASS;
}
