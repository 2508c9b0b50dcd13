/* rejected: no helper has number 9999 */
#include "uio_bpf.h"

static long (*const helper_9999)(void) = (void *)9999;

SEC("xdp") int helper_unknown(struct xdp_md *context)
{
    return helper_9999();
}
