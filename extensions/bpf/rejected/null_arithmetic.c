/* rejected: a pointer that may be null is moved before it is compared with null (CVE-2022-23222) */
#include "uio_bpf.h"

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 16);
    __type(key, __u32);
    __type(value, __u64);
} map SEC(".maps");

SEC("xdp") int null_arithmetic(struct xdp_md *context)
{
    __u32 key = 7;
    void *value = bpf_map_lookup_elem(&map, &key);

    /* In assembler, so that the compiler cannot turn the two around. */
    asm volatile("%0 += 4" : "+r"(value));
    if (!value)
        return XDP_DROP;
    *(__u32 *)value = 1;
    return XDP_PASS;
}
