/* rejected: the map itself is read, not a value in it */
#include "uio_bpf.h"

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 4);
    __type(key, __u32);
    __type(value, __u32);
} map SEC(".maps");

SEC("xdp") int map_as_memory(struct xdp_md *context)
{
    return *(volatile __u32 *)&map;
}
