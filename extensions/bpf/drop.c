/* Drops every packet. */
#include "uio_bpf.h"

SEC("xdp") int drop(struct xdp_md *context)
{
    return XDP_DROP;
}
