/* Never returns: shows what the CPU budget and Ctrl-C are for. */
#include <uio_printf.h>

/* Can be looked at meanwhile: `print rounds`. */
volatile uint64_t rounds;

int main(void) {
    uio_printf("looping; Ctrl-C ends it, or the budget does\n");
    for (;;) rounds = rounds + 1;
}
