/* Takes the outer VLAN tag off: moves the addresses up by its four bytes and the packet's start behind it. */
#include "uio_bpf_net.h"

SEC("xdp") int strip_vlan(struct xdp_md *context)
{
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    struct ethhdr *ethernet = data;
    __u8 addresses[12];

    if (data + sizeof(*ethernet) + sizeof(struct vlanhdr) > end)
        return XDP_ABORTED;
    if (ethernet->h_proto != bpf_htons(ETH_P_8021Q) && ethernet->h_proto != bpf_htons(ETH_P_8021AD))
        return XDP_PASS;
    __builtin_memcpy(addresses, data, sizeof(addresses));
    __builtin_memcpy(data + sizeof(struct vlanhdr), addresses, sizeof(addresses));
    if (bpf_xdp_adjust_head(context, sizeof(struct vlanhdr)))
        return XDP_ABORTED;
    return XDP_PASS;
}
