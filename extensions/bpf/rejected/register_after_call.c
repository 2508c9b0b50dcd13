/* rejected: register r2 is read after a call, which leaves nothing in it */
#include "uio_bpf.h"

__attribute__((naked)) SEC("xdp") int register_after_call(struct xdp_md *context)
{
    asm volatile("r2 = 1\n"
                 "call 5\n"
                 "r0 = r2\n"
                 "exit");
}
