/* rejected: the context is written, from which the packet's address is read afterwards (MorphOS's gap b) */
#include "uio_bpf.h"

SEC("bpffilter") int context_write(struct uio_packet *context)
{
    *(volatile __u64 *)&context->data = 0x1000;
    return XDP_PASS;
}
