/* For bpf-gcc, whose assembler writes addends in another way than clang: variables and functions that do not start their
 * sections, helpers called by name, a legacy map. */
/* Without the table of helpers: they are called by name here. */
#undef __bpf__
#include "uio_bpf.h"

struct definition {
    __u32 type, key_size, value_size, max_entries, map_flags, id, pinning;
};

SEC("maps") struct definition unused = {BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0, 0, 0};
SEC("maps") struct definition seen = {BPF_MAP_TYPE_HASH, 4, 8, 16, 0, 0, 1};

__u64 bpf_map_lookup_elem(void *map, const void *key);

static __u64 calls, first, second;
__u64 weights[4] = {1, 2, 3, 4}, limit = 5, other = 6;

static __noinline int doubled(int number)
{
    first += number;
    return number * 2;
}

static __noinline int tripled(int number)
{
    second += number;
    return number * 3;
}

__noinline int tenfold(int number)
{
    calls++;
    return doubled(number) * 2 + tripled(number) * 2;
}

SEC("xdp") int gnu(struct xdp_md *context)
{
    __u32 key = context->ingress_ifindex;
    __u64 *value = (void *)bpf_map_lookup_elem(&seen, &key);

    if (value)
        *value += limit;
    limit += weights[2];
    other++;
    return tripled(key) + tenfold(key) > 1000 ? XDP_DROP : XDP_PASS;
}
