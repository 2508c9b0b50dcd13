/* Counts packets in 32 bits. state_migration_v2.c takes the count over. */
#include "uio_bpf.h"

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u32);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} packets SEC(".maps");

SEC("xdp") int state_migration(struct xdp_md *context)
{
    __u32 key = 0;
    __u32 *count = bpf_map_lookup_elem(&packets, &key);

    if (count)
        *count += 1;
    return XDP_PASS;
}
