/* Counts the zero bytes of a packet's first 256 with the helper loop: the body is a callback. */
#include "uio_bpf.h"

#define BYTES_MAX 256

struct scan {
    __u8 bytes[BYTES_MAX];
    __u32 zeros;
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct scan);
} scans SEC(".maps");

static long count_zero(__u32 index, void *unused)
{
    __u32 key = 0;
    struct scan *scan = bpf_map_lookup_elem(&scans, &key);

    if (!scan || index >= BYTES_MAX)
        return 1;
    scan->zeros += scan->bytes[index] == 0;
    return 0;
}

SEC("xdp") int loop_helper(struct xdp_md *context)
{
    __u8 *data = (__u8 *)(long)context->data;
    __u8 *end = (__u8 *)(long)context->data_end;
    __u32 key = 0, count = 0;
    struct scan *scan = bpf_map_lookup_elem(&scans, &key);

    if (!scan)
        return XDP_ABORTED;
    for (; count < BYTES_MAX; count++) {
        if (data + count + 1 > end)
            break;
        scan->bytes[count] = data[count];
    }
    scan->zeros = 0;
    if (bpf_loop(count, count_zero, 0, 0) < 0)
        return XDP_ABORTED;
    return XDP_PASS;
}
