/* Loops as compilers leave them: by a counter, by a pointer, with a bound from the packet, nested. */
#include "uio_bpf.h"

#define COPY_BYTES 128
#define SAMPLES 8

struct sample {
    __u32 length;
    __u8 bytes[COPY_BYTES];
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, SAMPLES);
    __type(key, __u32);
    __type(value, struct sample);
} samples SEC(".maps");

__u32 next;

/* Copies the beginning of every packet, the last SAMPLES are kept. */
SEC("xdp/copy") int copy(struct xdp_md *context)
{
    __u8 *data = (__u8 *)(long)context->data;
    __u8 *end = (__u8 *)(long)context->data_end;
    __u32 key = next++ % SAMPLES, length = 0;
    struct sample *sample = bpf_map_lookup_elem(&samples, &key);

    if (!sample)
        return XDP_ABORTED;
    while (length < COPY_BYTES && data + length + 1 <= end) {
        sample->bytes[length] = data[length];
        length++;
    }
    sample->length = length;
    return XDP_PASS;
}

/* The Internet checksum of up to 1,500 bytes: drops packets whose sum is 0. */
SEC("xdp/sum") int sum(struct xdp_md *context)
{
    __u16 *word = (__u16 *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    __u64 total = 0;

#pragma clang loop unroll(disable)
    for (int index = 0; index < 750; index++, word++) {
        if ((void *)(word + 1) > end)
            break;
        total += *word;
    }
    total = (total & 0xffff) + (total >> 16);
    total = (total & 0xffff) + (total >> 16);
    return total == 0xffff ? XDP_DROP : XDP_PASS;
}

/* How often each of the first 16 bytes occurs among them: drops if one occurs more than 12 times. */
SEC("xdp/repeats") int repeats(struct xdp_md *context)
{
    __u8 *data = (__u8 *)(long)context->data;
    __u8 *end = (__u8 *)(long)context->data_end;
    __u8 bytes[16];

    if (data + sizeof(bytes) > end)
        return XDP_PASS;
    __builtin_memcpy(bytes, data, sizeof(bytes));
#pragma clang loop unroll(disable)
    for (__u32 first = 0; first < sizeof(bytes); first++) {
        __u32 times = 0;
#pragma clang loop unroll(disable)
        for (__u32 second = 0; second < sizeof(bytes); second++)
            times += bytes[first] == bytes[second];
        if (times > 12)
            return XDP_DROP;
    }
    return XDP_PASS;
}
