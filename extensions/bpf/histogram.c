/* How long `packet_in` of the application takes: times of its calls by powers of two. */
#include "uio_bpf.h"

#define BUCKETS 64

/* Start of the call under way, by the stack pointer inside it. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 256);
    __type(key, __u64);
    __type(value, __u64);
} started SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, BUCKETS);
    __type(key, __u32);
    __type(value, __u64);
} nanoseconds SEC(".maps");

static __always_inline __u32 logarithm(__u64 number)
{
    __u32 result = 0;

#pragma unroll
    for (int shift = 32; shift > 0; shift /= 2) {
        if (number >> shift) {
            number >>= shift;
            result += shift;
        }
    }
    return result;
}

SEC("kprobe/packet_in") int entry(struct pt_regs *registers)
{
    __u64 stack = PT_REGS_SP(registers), now = bpf_ktime_get_ns();

    bpf_map_update_elem(&started, &stack, &now, BPF_ANY);
    return 0;
}

SEC("kretprobe/packet_in") int leave(struct pt_regs *registers)
{
    /* The return address is off the stack again. */
    __u64 stack = PT_REGS_SP(registers) - 8, *start, *bucket;
    __u32 index;

    start = bpf_map_lookup_elem(&started, &stack);
    if (!start)
        return 0;
    index = logarithm(bpf_ktime_get_ns() - *start);
    bpf_map_delete_elem(&started, &stack);
    bucket = bpf_map_lookup_elem(&nanoseconds, &index);
    if (bucket)
        __sync_fetch_and_add(bucket, 1);
    return 0;
}
