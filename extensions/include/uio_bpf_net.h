/* Headers of packets for eBPF programs. Numbers are big-endian, as on the wire. */
#ifndef UIO_BPF_NET_H
#define UIO_BPF_NET_H

#include "uio_bpf.h"

#define ETH_P_IP 0x0800
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88a8
#define ETH_P_IPV6 0x86dd

#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17

/* Fragment offset, without the flags above it. */
#define IP_OFFSET_MASK 0x1fff

struct ethhdr {
    __u8 h_dest[6];
    __u8 h_source[6];
    __be16 h_proto;
};

struct vlanhdr {
    __be16 h_tci;
    __be16 h_proto;
};

/* Behind an Ethernet header these start at an odd multiple of 2 bytes, which costs this machine nothing. */
struct iphdr {
    __u8 version_ihl;
    __u8 tos;
    __be16 tot_len;
    __be16 id;
    __be16 frag_off;
    __u8 ttl;
    __u8 protocol;
    __u16 check;
    __be32 saddr;
    __be32 daddr;
};

struct udphdr {
    __be16 source;
    __be16 dest;
    __be16 len;
    __u16 check;
};

struct tcphdr {
    __be16 source;
    __be16 dest;
    __be32 seq;
    __be32 ack_seq;
    __be16 offset_flags;
    __be16 window;
    __u16 check;
    __be16 urg_ptr;
};

/* The first four bytes of both. */
struct ports {
    __be16 source;
    __be16 dest;
};

#endif
