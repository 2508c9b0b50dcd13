/* rejected: the low half of an index is compared, all of it is used (as in CVE-2020-8835) */
#include "uio_bpf.h"

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u8[64]);
} map SEC(".maps");

SEC("raw/8") int bound_truncated(__u64 *memory)
{
    __u32 key = 0;
    __u64 index = *memory;
    __u8 *bytes = bpf_map_lookup_elem(&map, &key);

    if (!bytes || (__u32)index >= 64)
        return 0;
    return bytes[index];
}
