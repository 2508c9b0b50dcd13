/* rejected: 4 bytes behind a record of 8 bytes are written (as in CVE-2021-4204) */
#include "uio_bpf.h"

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096);
} events SEC(".maps");

SEC("xdp") int ring_record_out_of_bounds(struct xdp_md *context)
{
    __u32 *record = bpf_ringbuf_reserve(&events, 8, 0);

    if (!record)
        return XDP_PASS;
    record[2] = 1;
    bpf_ringbuf_submit(record, 0);
    return XDP_PASS;
}
