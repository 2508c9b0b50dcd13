/* Generated from the table of helpers in overlay/bpf; `UIO_RENEW=1 cargo test -p uio-bpf --test helper_pages`
 * writes it anew.
 *
 * Include uio_bpf.h, which has the types and includes this file. Numbers and declarations are those of Linux,
 * as in libbpf's bpf_helper_defs.h; from 0x10000 on they are ours. */
#ifndef UIO_BPF_HELPERS_H
#define UIO_BPF_HELPERS_H

struct xdp_md;

/* Finds the value of a key; for a trie, of the longest prefix that matches; for a map of maps, the
 * inner map. */
static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)(1);

/* Sets the value of a key: flags BPF_ANY, BPF_NOEXIST or BPF_EXIST. */
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) = (void *)(2);

/* Removes a key. Arrays keep all of theirs and refuse. */
static long (*const bpf_map_delete_elem)(void *map, const void *key) = (void *)(3);

/* Copies memory of the guest; if some of it cannot be read, gives zeros and an error. */
static long (*const bpf_probe_read)(void *dst, __u32 size, const void *unsafe_ptr) = (void *)(4);

/* Nanoseconds since boot. */
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)(5);

/* Writes a line to the trace. The format ends in a zero and has up to three of %d %i %u %x %X %o %c
 * %p %s %%, with flags, a width and h, l, ll or z; %s takes the address of a string in the guest. */
static long (*const bpf_trace_printk)(const char *fmt, __u32 fmt_size, ...) = (void *)(6);

/* A random number, not for keys. */
static __u32 (*const bpf_get_prandom_u32)(void) = (void *)(7);

/* Number of the processor: there is one, 0. */
static __u32 (*const bpf_get_smp_processor_id)(void) = (void *)(8);

/* Goes on in another program with the same context, and does not come back. Fails if the slot is
 * empty, its program of another kind, or after 33 of them. */
static long (*const bpf_tail_call)(void *ctx, void *prog_array_map, __u32 index) = (void *)(12);

/* Number of the process in the upper half, of the thread in the lower. */
static __u64 (*const bpf_get_current_pid_tgid)(void) = (void *)(14);

/* Name of the running thread, cut to the buffer and ended by zero. */
static long (*const bpf_get_current_comm)(void *buf, __u32 size_of_buf) = (void *)(16);

/* As ringbuf_output, for programs written for perf buffers: flags may be BPF_F_CURRENT_CPU or 0. */
static long (*const bpf_perf_event_output)(void *ctx, void *map, __u64 flags, void *data, __u64 size) = (void *)(25);

/* Checksum after replacing words by others: both sizes multiples of 4. The result is folded to 16
 * bits, not inverted. */
static __s64 (*const bpf_csum_diff)(__be32 *from, __u32 from_size, __be32 *to, __u32 to_size, __wsum seed) = (void *)(28);

/* Moves the packet's start by delta: negative makes room in front. At least an Ethernet header has
 * to remain. */
static long (*const bpf_xdp_adjust_head)(struct xdp_md *xdp_md, int delta) = (void *)(44);

/* Copies a string of the guest, its zero included, cut to the size; gives the bytes copied. */
static long (*const bpf_probe_read_str)(void *dst, __u32 size, const void *unsafe_ptr) = (void *)(45);

/* Moves the start of the metadata in front of the packet by delta: up to 32 bytes, multiples of 4. */
static long (*const bpf_xdp_adjust_meta)(struct xdp_md *xdp_md, int delta) = (void *)(54);

/* Adds space in front of the packet and behind it, or takes it away if negative. The context knows
 * the new ends; the result is the new start as a number, 0 if there is no room. */
static void *(*const bpf_packet_add_space)(__s32 head, __s32 tail) = (void *)(60);

/* Moves the packet's end by delta; new bytes are zero. At least an Ethernet header has to remain. */
static long (*const bpf_xdp_adjust_tail)(struct xdp_md *xdp_md, int delta) = (void *)(65);

/* Addresses of the functions that led to the probe, innermost first; the low 8 bits of flags leave
 * out so many. Gives the bytes written; the rest of the buffer is zero. */
static long (*const bpf_get_stack)(void *ctx, void *buf, __u32 size, __u64 flags) = (void *)(67);

/* Adds a value to a queue or stack; with BPF_EXIST a full one loses its oldest. */
static long (*const bpf_map_push_elem)(void *map, const void *value, __u64 flags) = (void *)(87);

/* Takes the next value of a queue or stack; zeros if there is none. */
static long (*const bpf_map_pop_elem)(void *map, void *value) = (void *)(88);

/* Copies the next value of a queue or stack; zeros if there is none. */
static long (*const bpf_map_peek_elem)(void *map, void *value) = (void *)(89);

/* As probe_read: a guest has one address space. */
static long (*const bpf_probe_read_user)(void *dst, __u32 size, const void *unsafe_ptr) = (void *)(112);

/* As probe_read: a guest has one address space. */
static long (*const bpf_probe_read_kernel)(void *dst, __u32 size, const void *unsafe_ptr) = (void *)(113);

/* As probe_read_str. */
static long (*const bpf_probe_read_user_str)(void *dst, __u32 size, const void *unsafe_ptr) = (void *)(114);

/* As probe_read_str. */
static long (*const bpf_probe_read_kernel_str)(void *dst, __u32 size, const void *unsafe_ptr) = (void *)(115);

/* Milliseconds since boot. */
static __u64 (*const bpf_jiffies64)(void) = (void *)(118);

/* As ktime_get_ns: a guest does not sleep. */
static __u64 (*const bpf_ktime_get_boot_ns)(void) = (void *)(125);

/* Copies a record into a ring buffer; an error if there is no room. The flags mean nothing. */
static long (*const bpf_ringbuf_output)(void *ringbuf, void *data, __u64 size, __u64 flags) = (void *)(130);

/* Reserves a record of a constant size in a ring buffer, or gives null. It has to be submitted or
 * discarded. The flags have to be 0. */
static void *(*const bpf_ringbuf_reserve)(void *ringbuf, __u64 size, __u64 flags) = (void *)(131);

/* Gives a reserved record to the consumer. The flags mean nothing. */
static void (*const bpf_ringbuf_submit)(void *data, __u64 flags) = (void *)(132);

/* Gives up a reserved record. The flags mean nothing. */
static void (*const bpf_ringbuf_discard)(void *data, __u64 flags) = (void *)(133);

/* State of a ring buffer: flags BPF_RB_AVAIL_DATA, BPF_RB_RING_SIZE, BPF_RB_CONS_POS or
 * BPF_RB_PROD_POS. */
static __u64 (*const bpf_ringbuf_query)(void *ringbuf, __u64 flags) = (void *)(134);

/* As ktime_get_ns. */
static __u64 (*const bpf_ktime_get_coarse_ns)(void) = (void *)(160);

/* As trace_printk, with up to 12 arguments in an array of 64-bit numbers. */
static long (*const bpf_trace_vprintk)(const char *fmt, __u32 fmt_size, const void *data, __u32 data_len) = (void *)(177);

/* Calls a function of the program with the index from 0 on and callback_ctx, until it returns 1 or
 * nr_loops calls are made; at most 1 << 23. Gives the number of calls. The flags have to be 0. */
static long (*const bpf_loop)(__u32 nr_loops, void *callback_fn, void *callback_ctx, __u64 flags) = (void *)(181);

/* Compares at most s1_sz bytes of a string with a constant one: below, equal to or above 0. */
static long (*const bpf_strncmp)(const char *s1, __u32 s1_sz, const char *s2) = (void *)(182);

/* As map_lookup_elem for processor 0; null for others. */
static void *(*const bpf_map_lookup_percpu_elem)(void *map, const void *key, __u32 cpu) = (void *)(195);

/* Prints text to the shell that runs the program. */
static long (*const bpf_output)(const char *text, __u32 size) = (void *)(0x10000);

/* Address of the guest's symbol with this name, 0 if there is none. */
static __u64 (*const bpf_symbol_address)(const char *name) = (void *)(0x10001);

#endif
