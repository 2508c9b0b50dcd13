/* rejected: a number from the program's memory is used as an address */
#include "uio_bpf.h"

SEC("raw/8") int scalar_as_pointer(__u64 *memory)
{
    return *(__u32 *)*memory;
}
