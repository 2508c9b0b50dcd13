/* rejected: a reserved record of the ring buffer is not given back on one way to the end */
#include "uio_bpf.h"

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096);
} events SEC(".maps");

SEC("xdp") int ring_record_kept(struct xdp_md *context)
{
    __u64 *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);

    if (!record)
        return XDP_PASS;
    *record = 1;
    if (context->rx_queue_index == 3)
        return XDP_DROP;
    bpf_ringbuf_submit(record, 0);
    return XDP_PASS;
}
