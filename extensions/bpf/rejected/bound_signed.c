/* rejected: a signed index is compared with its upper bound only, so it may be negative */
#include "uio_bpf.h"

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u8[64]);
} map SEC(".maps");

SEC("raw/8") int bound_signed(__s64 *memory)
{
    __u32 key = 0;
    __s64 index = *memory;
    __u8 *bytes = bpf_map_lookup_elem(&map, &key);

    if (!bytes || index >= 64)
        return 0;
    return bytes[index];
}
