/* rejected: 14 bytes are checked, the 15th and 16th are read */
#include "uio_bpf_net.h"

SEC("xdp") int packet_past_check(struct xdp_md *context)
{
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;

    if (data + sizeof(struct ethhdr) > end)
        return XDP_DROP;
    return *(__u16 *)(data + sizeof(struct ethhdr)) ? XDP_PASS : XDP_DROP;
}
