/* rejected: the loop waits for memory that nobody else writes; with a limit of fuel it may run */
#include "uio_bpf.h"

SEC("raw/8") int loop_forever(volatile __u64 *memory)
{
    while (*memory)
        ;
    return 0;
}
