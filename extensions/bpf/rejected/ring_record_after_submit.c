/* rejected: a record of the ring buffer is written after it was given back */
#include "uio_bpf.h"

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096);
} events SEC(".maps");

SEC("xdp") int ring_record_after_submit(struct xdp_md *context)
{
    volatile __u64 *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);

    if (!record)
        return XDP_PASS;
    *record = 1;
    bpf_ringbuf_submit((void *)record, 0);
    *record = 2;
    return XDP_PASS;
}
