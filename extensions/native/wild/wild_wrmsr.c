/* Writes a model-specific register: the page-attribute table, with what it holds. The loader finds the instruction and
 * refuses to load this file, unless the extension is to run in ring 3 (where it faults) or without isolation. */
#include <uio_printf.h>

#define PAGE_ATTRIBUTE_TABLE 0x277u

int main(void) {
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(PAGE_ATTRIBUTE_TABLE));
    __asm__ volatile("wrmsr" : : "a"(low), "d"(high), "c"(PAGE_ATTRIBUTE_TABLE));
    uio_printf("wild_wrmsr: wrote %#x:%#x\n", high, low);
    return 0;
}
