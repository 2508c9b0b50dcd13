/* Sends every frame back to its sender: swaps the Ethernet addresses. */
#include "uio_bpf_net.h"

SEC("xdp") int ether_mirror(struct xdp_md *context)
{
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    struct ethhdr *ethernet = data;
    __u8 address[6];

    if ((void *)(ethernet + 1) > end)
        return XDP_ABORTED;
    __builtin_memcpy(address, ethernet->h_dest, 6);
    __builtin_memcpy(ethernet->h_dest, ethernet->h_source, 6);
    __builtin_memcpy(ethernet->h_source, address, 6);
    return XDP_TX;
}
