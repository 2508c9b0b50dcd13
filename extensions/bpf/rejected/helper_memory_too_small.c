/* rejected: map_update_elem reads a value of 16 bytes from 8 bytes of memory */
#include "uio_bpf.h"

struct pair {
    __u64 first;
    __u64 second;
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct pair);
} map SEC(".maps");

SEC("raw/8") int helper_memory_too_small(__u64 *memory)
{
    __u32 key = 0;

    return bpf_map_update_elem(&map, &key, memory, BPF_ANY);
}
