/* rejected: a helper for packets in a program for probes */
#include "uio_bpf.h"

SEC("kprobe/packet_in") int helper_of_packets(struct pt_regs *registers)
{
    return bpf_xdp_adjust_head((void *)registers, 4);
}
