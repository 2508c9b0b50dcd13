/* Questions about the address space, answered from what uio_regions returned. Header only. */
#ifndef UIO_REGIONS_H
#define UIO_REGIONS_H

#include "uio.h"
#include "uio_string.h"

/* What the owner of an extension's memory begins with: "extension NAME data". */
#define UIO_EXTENSION_OWNER "extension "

/* The region that holds `address`, or NULL. */
static inline const struct uio_region *uio_region_at(const struct uio_region *regions, size_t count, uint64_t address) {
    for (size_t index = 0; index < count; index++) {
        if (address >= regions[index].start && address - regions[index].start < regions[index].bytes) {
            return &regions[index];
        }
    }
    return NULL;
}

/* Whether two regions belong to the same extension. */
static inline int uio_same_extension(const struct uio_region *a, const struct uio_region *b) {
    size_t index = 0;
    if (!uio_starts_with(a->owner, UIO_EXTENSION_OWNER) || !uio_starts_with(b->owner, UIO_EXTENSION_OWNER)) return 0;
    /* The name ends at the second space, or where a long owner was cut. */
    for (index = sizeof UIO_EXTENSION_OWNER - 1; a->owner[index] == b->owner[index]; index++) {
        if (a->owner[index] == ' ' || a->owner[index] == '\0') return 1;
    }
    return 0;
}

#endif
