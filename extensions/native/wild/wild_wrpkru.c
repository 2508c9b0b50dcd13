/* Opens all protection keys. The loader finds the instruction and refuses to load this file, unless it is told to
 * do without isolation. */
#include <uio_printf.h>

int main(void) {
    __asm__ volatile("xor %%eax, %%eax\n\txor %%ecx, %%ecx\n\txor %%edx, %%edx\n\twrpkru" : : : "eax", "ecx", "edx", "memory");
    uio_printf("wild_wrpkru: all keys are open\n");
    return 0;
}
