/* rejected: the program ends without a result */
#include "uio_bpf.h"

__attribute__((naked)) SEC("xdp") int result_missing(struct xdp_md *context)
{
    asm volatile("exit");
}
