/* rejected: an address of the stack is stored in a map, where the shell and other programs read it */
#include "uio_bpf.h"

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} map SEC(".maps");

SEC("xdp") int leak_to_map(struct xdp_md *context)
{
    __u32 key = 0;
    __u64 *value = bpf_map_lookup_elem(&map, &key);

    if (value)
        *value = (__u64)&key;
    return XDP_PASS;
}
