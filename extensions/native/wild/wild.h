/* What the cases of `wild` share. */
#ifndef WILD_H
#define WILD_H

#include <uio_printf.h>
#include <uio_regions.h>
#include <uio_string.h>

/* One way to misbehave. */
struct wild_case {
    const char *name;
    const char *what;                /* what it does, for `wild list` */
    void (*run)(const char *target); /* `target`: the argument behind the name, or NULL */
};

/* A number that the compiler knows nothing about, so that it compiles what is written. */
static inline uint64_t opaque(uint64_t value) {
    __asm__ volatile("" : "+r"(value));
    return value;
}

static inline volatile uint64_t *word_at(uint64_t address) {
    return (volatile uint64_t *)(uintptr_t)opaque(address);
}

/* Where results go, so that the code which makes them stays. */
static volatile uint64_t wild_result;

/* The address that the person named, or `otherwise`. */
static inline uint64_t target_or(const char *target, uint64_t otherwise) {
    uint64_t address;
    return target != NULL && uio_parse_u64(target, &address) ? address : otherwise;
}

/* Stores to an address what is there already: if nothing stops it, nothing is broken. */
static inline void touch(uint64_t address) {
    volatile uint64_t *word = word_at(address);
    uint64_t value = *word;
    uio_printf("writing %#llx to %#llx, where it is already\n", (unsigned long long)value, (unsigned long long)address);
    *word = value;
}

/* A block of the guest's heap: memory of the kernel. */
static inline uint64_t kernel_block(void) {
    struct uio_block block = {0, 0};
    uint64_t cursor = 0;
    uio_heap_blocks(&cursor, &block, 1);
    return block.address;
}

#endif
