/* rejected: tail_call with a map that holds no programs */
#include "uio_bpf.h"

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 4);
    __type(key, __u32);
    __type(value, __u32);
} map SEC(".maps");

SEC("xdp") int map_wrong_kind(struct xdp_md *context)
{
    bpf_tail_call(context, &map, 0);
    return XDP_PASS;
}
