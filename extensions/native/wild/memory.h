/* Loads and stores that are not allowed. */
#ifndef WILD_MEMORY_H
#define WILD_MEMORY_H

#include "wild.h"

/* Canonical, and far from everything that a guest maps. */
#define UNMAPPED 0x00005eafdeadb000ull
/* Not canonical: no page could be there. */
#define NOT_CANONICAL 0x8000dead00000000ull
/* Where the guest's kernel sees physical memory. */
#define DIRECT_MAP 0xffff800000000000ull
#define PAGE_TABLE_ADDRESS 0x000ffffffffff000ull
#define REGIONS_MAX 256

/* The application's counter, in the `count` image. Weak: other images have none. */
extern volatile uint64_t count __attribute__((weak));

static struct uio_region wild_regions[REGIONS_MAX];
static const volatile uint64_t wild_constant = 7;

static void null_read(const char *target) {
    wild_result = *word_at(target_or(target, 0));
}

static void null_write(const char *target) {
    *word_at(target_or(target, 0)) = 1;
}

static void wild_read(const char *target) {
    wild_result = *word_at(target_or(target, UNMAPPED));
}

static void wild_write(const char *target) {
    *word_at(target_or(target, UNMAPPED)) = 1;
}

static void non_canonical_read(const char *target) {
    wild_result = *word_at(target_or(target, NOT_CANONICAL));
}

/* Not a harmless write: a counter that jumps would show that it got through. */
static void app_write(const char *target) {
    uint64_t address = target_or(target, (uint64_t)(uintptr_t)&count);
    if (address == 0) uio_printf("this image has no `count`; name an address\n");
    else *word_at(address) = 1000000000000ull;
}

static void kernel_write(const char *target) {
    touch(target_or(target, kernel_block()));
}

/* Writable memory of another extension, or 0. */
static uint64_t other_extension(void) {
    size_t count_regions = uio_regions(wild_regions, REGIONS_MAX);
    const struct uio_region *self;
    if (count_regions > REGIONS_MAX) count_regions = REGIONS_MAX;
    self = uio_region_at(wild_regions, count_regions, (uint64_t)(uintptr_t)&wild_regions);
    for (size_t index = 0; self != NULL && index < count_regions; index++) {
        const struct uio_region *region = &wild_regions[index];
        if (uio_starts_with(region->owner, UIO_EXTENSION_OWNER) && !uio_same_extension(region, self) &&
            (region->access & UIO_WRITABLE) != 0) {
            uio_printf("found %s\n", region->owner);
            return region->start;
        }
    }
    return 0;
}

static void extension_write(const char *target) {
    uint64_t address = target_or(target, 0);
    if (address == 0) address = other_extension();
    if (address == 0) uio_printf("no other extension with data is loaded; load counter_watch, or name an address\n");
    else touch(address);
}

static void text_write(const char *target) {
    touch(target_or(target, (uint64_t)(uintptr_t)&text_write));
}

static void constant_write(const char *target) {
    touch(target_or(target, (uint64_t)(uintptr_t)&wild_constant));
}

/* Reading CR3 is privileged already: ring 3 ends here. */
static void page_table_write(const char *target) {
    uint64_t root;
    __asm__ volatile("mov %%cr3, %0" : "=r"(root));
    touch(target_or(target, DIRECT_MAP + (root & PAGE_TABLE_ADDRESS)));
}

static void descriptor_table_write(const char *target) {
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } table;
    __asm__ volatile("sidt %0" : "=m"(table));
    touch(target_or(target, table.base));
}

static void unaligned_sse(const char *target) {
    static struct {
        uint64_t words[4];
    } __attribute__((aligned(16))) data;
    uint64_t address = target_or(target, (uint64_t)(uintptr_t)&data + 1);
    __asm__ volatile("movaps (%0), %%xmm0" : : "r"(opaque(address)) : "xmm0", "memory");
}

#endif
