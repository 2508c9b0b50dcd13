/* Loads PKRU from an image of its own making. The loader finds the instruction and refuses to load this file, unless
 * it is told to do without isolation. */
#include <uio_printf.h>

/* Bit of PKRU in the set of states to load. */
#define STATE_PKRU 0x200u

/* Legacy area and header of an XSAVE image; a state that the header does not name is set to zero. */
static uint8_t image[576] __attribute__((aligned(64)));

int main(void) {
    __asm__ volatile("xrstor %0" : : "m"(image), "a"(STATE_PKRU), "d"(0) : "memory");
    uio_printf("wild_xrstor: all keys are open\n");
    return 0;
}
