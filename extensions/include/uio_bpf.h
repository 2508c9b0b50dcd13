/* For eBPF programs in C: types, contexts, results, sections and map definitions.
 *
 *     clang -target bpf -mcpu=v3 -O2 -g -I extensions/include -c my.c -o my.o
 *
 * Names, numbers and layouts are Linux's where Linux has them, so that programs for libbpf's headers compile
 * with these and the other way round. Helpers are in uio_bpf_helpers.h, which this file includes. */
#ifndef UIO_BPF_H
#define UIO_BPF_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
/* Big-endian numbers, as they stand in packets. */
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;

/* Where a program or map goes:
 *
 *     SEC("xdp")  SEC("xdp/NAME")      packets; the context is struct xdp_md
 *     SEC("kprobe/FUNCTION")           entry of a function; the context is struct pt_regs
 *     SEC("kretprobe/FUNCTION")        its return
 *     SEC("tracing/NAME")              a named probe
 *     SEC("timer/MILLISECONDS")        called at intervals; the context is struct uio_timer
 *     SEC("raw/BYTES")                 one-off: R1 is memory of so many bytes, R2 their number
 *     SEC(".maps")                     a map */
#define SEC(name) __attribute__((section(name), used))

#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))
/* A function for other files of the object only. */
#define __hidden __attribute__((visibility("hidden")))
#define __packed __attribute__((packed))

/* Members of a map's definition, an unnamed struct whose variable is the map:
 *
 *     struct {
 *         __uint(type, BPF_MAP_TYPE_HASH);
 *         __uint(max_entries, 1024);
 *         __type(key, __u32);
 *         __type(value, struct tokens);
 *     } buckets SEC(".maps"); */
#define __uint(name, number) int(*name)[number]
#define __type(name, of) __typeof__(of) *name
#define __array(name, of) __typeof__(of) *name[]

/* Kinds of maps. */
enum bpf_map_type {
    BPF_MAP_TYPE_HASH = 1,
    BPF_MAP_TYPE_ARRAY = 2,
    BPF_MAP_TYPE_PROG_ARRAY = 3,
    BPF_MAP_TYPE_PERCPU_HASH = 5,
    BPF_MAP_TYPE_PERCPU_ARRAY = 6,
    BPF_MAP_TYPE_LRU_HASH = 9,
    BPF_MAP_TYPE_LRU_PERCPU_HASH = 10,
    BPF_MAP_TYPE_LPM_TRIE = 11,
    BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
    BPF_MAP_TYPE_HASH_OF_MAPS = 13,
    BPF_MAP_TYPE_QUEUE = 22,
    BPF_MAP_TYPE_STACK = 23,
    BPF_MAP_TYPE_RINGBUF = 27,
};

/* Flags of map_update_elem. */
enum {
    BPF_ANY = 0,
    BPF_NOEXIST = 1,
    BPF_EXIST = 2,
};

/* Flags of a map, for __uint(map_flags, …). */
enum {
    BPF_F_NO_PREALLOC = 1,
    BPF_F_RDONLY_PROG = 0x80,
};

/* __uint(pinning, LIBBPF_PIN_BY_NAME) shares the map with other objects that name it so. */
enum libbpf_pin_type {
    LIBBPF_PIN_NONE = 0,
    LIBBPF_PIN_BY_NAME = 1,
};

/* Results of packet filters. A classifier's result is a port instead. */
enum xdp_action {
    XDP_ABORTED = 0,
    XDP_DROP = 1,
    XDP_PASS = 2,
    XDP_TX = 3,
    XDP_REDIRECT = 4,
};

/* Context of SEC("xdp"), as in Linux. The packet's addresses are whole pointers in spite of their type: cast them
 * by way of long. */
struct xdp_md {
    __u32 data;
    __u32 data_end;
    __u32 data_meta;
    __u32 ingress_ifindex;
    __u32 rx_queue_index;
    __u32 egress_ifindex;
};

/* Context of SEC("bpffilter"), MorphOS's tenants. */
struct uio_packet {
    __u64 data;
    __u64 data_end;
    __u32 port;
};

/* Context of probes: registers of the interrupted code, in Linux's order. */
struct pt_regs {
    unsigned long long r15, r14, r13, r12, rbp, rbx;
    unsigned long long r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    unsigned long long orig_rax, rip, cs, eflags, rsp, ss;
};

#define PT_REGS_PARM1(context) ((context)->rdi)
#define PT_REGS_PARM2(context) ((context)->rsi)
#define PT_REGS_PARM3(context) ((context)->rdx)
#define PT_REGS_PARM4(context) ((context)->rcx)
#define PT_REGS_PARM5(context) ((context)->r8)
#define PT_REGS_RC(context) ((context)->rax)
#define PT_REGS_IP(context) ((context)->rip)
#define PT_REGS_SP(context) ((context)->rsp)

/* Context of SEC("timer/…"). */
struct uio_timer {
    __u64 due_ns;
    __u64 missed;
};

/* Numbers of packets to numbers of this machine and back. */
#define bpf_htons(number) ((__be16)__builtin_bswap16((__u16)(number)))
#define bpf_ntohs(number) ((__u16)__builtin_bswap16((__u16)(number)))
#define bpf_htonl(number) ((__be32)__builtin_bswap32((__u32)(number)))
#define bpf_ntohl(number) ((__u32)__builtin_bswap32((__u32)(number)))

#ifdef __bpf__
#include "uio_bpf_helpers.h"

/* Prints to the shell that watches the program. The format is a literal; up to three numbers. */
#ifndef bpf_printk
#define bpf_printk(format, ...)                                              \
    ({                                                                       \
        static const char text[] = format;                                   \
        bpf_trace_printk(text, sizeof(text), ##__VA_ARGS__);                 \
    })
#endif
#endif

#endif
