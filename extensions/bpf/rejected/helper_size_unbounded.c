/* rejected: the size of the memory that probe_read_kernel writes comes from outside and may exceed the 16 bytes there are */
#include "uio_bpf.h"

SEC("kprobe/packet_in") int helper_size_unbounded(struct pt_regs *registers)
{
    __u8 bytes[16];

    return bpf_probe_read_kernel(bytes, PT_REGS_PARM2(registers), (void *)PT_REGS_PARM1(registers));
}
