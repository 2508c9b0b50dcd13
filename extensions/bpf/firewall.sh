#!/bin/bash
# Writes the C source of a firewall with N rules to standard output.
#
#     extensions/bpf/firewall.sh 1000 > firewall_1000.c
#
# Rule K is for TCP and UDP packets to port 1000 + K: it lets them through if K is even and drops them if it is odd. All
# else is dropped. clang makes a binary search of the switch, of some 1.8 instructions a rule; jumps reach 32,767 of them.
set -euo pipefail

if [ $# -ne 1 ] || ! [[ $1 =~ ^[1-9][0-9]{0,4}$ ]] || [ "$1" -gt 15000 ]; then
    sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi

cat <<'END'
#include "uio_bpf_net.h"

SEC("xdp/firewall") int firewall(struct xdp_md *context)
{
    void *data = (void *)(long)context->data;
    void *end = (void *)(long)context->data_end;
    struct ethhdr *ethernet = data;
    struct iphdr *ip = data + sizeof(*ethernet);
    struct ports *ports = (void *)(ip + 1);

    if ((void *)(ports + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP) || ip->version_ihl != 0x45)
        return XDP_DROP;
    if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
        return XDP_DROP;
    switch (bpf_ntohs(ports->dest)) {
END
awk -v rules="$1" 'BEGIN {
    for (rule = 0; rule < rules; rule++)
        printf "    case %d: return XDP_%s;\n", 1000 + rule, rule % 2 ? "DROP" : "PASS"
}'
cat <<'END'
    default: return XDP_DROP;
    }
}
END
