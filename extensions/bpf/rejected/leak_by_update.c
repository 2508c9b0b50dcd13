/* rejected: map_update_elem copies an address of the packet from the stack into a map */
#include "uio_bpf.h"

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} map SEC(".maps");

SEC("xdp") int leak_by_update(struct xdp_md *context)
{
    __u32 key = 0;
    void *address = (void *)(long)context->data;

    bpf_map_update_elem(&map, &key, &address, BPF_ANY);
    return XDP_PASS;
}
