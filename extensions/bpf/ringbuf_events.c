/* Reports every TCP SYN to the host by a ring buffer. */
#include "uio_bpf_net.h"

#define TCP_SYN 0x02
#define TCP_ACK 0x10

struct event {
    __u64 time_ns;
    __be32 source_address;
    __be32 target_address;
    __be16 source_port;
    __be16 target_port;
    __u32 length;
};

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 65536);
} events SEC(".maps");

/* Events for which there was no room. */
__u64 lost;

SEC("xdp") int ringbuf_events(struct xdp_md *context)
{
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    struct ethhdr *ethernet = data;
    struct iphdr *ip = data + sizeof(*ethernet);
    struct tcphdr *tcp = (void *)(ip + 1);
    struct event *event;

    if ((void *)(tcp + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP) || ip->version_ihl != 0x45 ||
        ip->protocol != IPPROTO_TCP)
        return XDP_PASS;
    if ((bpf_ntohs(tcp->offset_flags) & (TCP_SYN | TCP_ACK)) != TCP_SYN)
        return XDP_PASS;
    event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
    if (!event) {
        __sync_fetch_and_add(&lost, 1);
        return XDP_PASS;
    }
    event->time_ns = bpf_ktime_get_ns();
    event->source_address = ip->saddr;
    event->target_address = ip->daddr;
    event->source_port = tcp->source;
    event->target_port = tcp->dest;
    event->length = end - data;
    bpf_ringbuf_submit(event, 0);
    return XDP_PASS;
}
