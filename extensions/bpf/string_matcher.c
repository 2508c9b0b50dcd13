/* Intrusion detection in its simplest form: drops packets that hold "leetcode" in their first 2,000 bytes. */
#include "uio_bpf.h"

#define NEEDLE_BYTES 8
#define POSITIONS_MAX 2000

SEC("xdp") int string_matcher(struct xdp_md *context)
{
    __u8 *data = (__u8 *)(long)context->data;
    __u8 *end = (__u8 *)(long)context->data_end;

    for (__u32 position = 0; position < POSITIONS_MAX; position++) {
        __u8 *at = data + position;
        if (at + NEEDLE_BYTES > end)
            break;
        if (at[0] == 'l' && at[1] == 'e' && at[2] == 'e' && at[3] == 't' && at[4] == 'c' && at[5] == 'o' &&
            at[6] == 'd' && at[7] == 'e')
            return XDP_DROP;
    }
    return XDP_PASS;
}
