/* Lets every packet through. */
#include "uio_bpf.h"

SEC("xdp") int pass(struct xdp_md *context)
{
    return XDP_PASS;
}
