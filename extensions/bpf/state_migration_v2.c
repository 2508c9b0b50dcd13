/* Counts packets in 64 bits and goes on from where state_migration_v1.c was: the first packet moves the old count. */
#include "uio_bpf.h"

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u32);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} packets SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} packets_wide SEC(".maps");

/* 0 until the old count has moved, then 2. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u32);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} packets_version SEC(".maps");

SEC("xdp") int state_migration(struct xdp_md *context)
{
    __u32 key = 0;
    __u32 *version = bpf_map_lookup_elem(&packets_version, &key);
    __u64 *count = bpf_map_lookup_elem(&packets_wide, &key);

    if (!version || !count)
        return XDP_ABORTED;
    if (*version < 2) {
        __u32 *old = bpf_map_lookup_elem(&packets, &key);
        if (old)
            *count = *old;
        *version = 2;
    }
    *count += 1;
    return XDP_PASS;
}
