/* Conservative marking: which blocks of a heap can be reached from words that look like pointers into them.
 *
 * Memory is taken once, in proportion to the number of blocks, and nothing recurses: a block that was found
 * waits in `pending` until its own words are looked at. Any address inside a block keeps it. */
#ifndef MARKING_H
#define MARKING_H

#include <uio.h>

enum { UNREACHED = 0, REACHED = 1 };

/* Blocks, ascending, and what is known of them. */
struct marking {
    struct uio_block *blocks;
    uint8_t *reached;   /* UNREACHED or REACHED, by block */
    uint32_t *pending;  /* blocks reached whose words are not yet looked at; each enters once */
    uint32_t count;
    uint32_t capacity;
    uint32_t pending_count;
};

/* Bytes looked at between two calls into the guest. */
#define SCAN_BYTES 4096

/* Words of one piece of memory. */
struct scan_buffer {
    uint64_t words[SCAN_BYTES / 8];
};

/* What a scan came across. */
struct scan_counts {
    uint64_t bytes;      /* looked at */
    uint64_t unreadable; /* bytes that were unmapped meanwhile */
};

/* Moves the block at `root` down until no block below it is higher: one step of heapsort. */
static inline void sift_down(struct uio_block *blocks, uint32_t root, uint32_t count) {
    struct uio_block moved = blocks[root];
    for (;;) {
        uint64_t child = 2 * (uint64_t)root + 1;
        if (child >= count) break;
        if (child + 1 < count && blocks[child + 1].address > blocks[child].address) child++;
        if (blocks[child].address <= moved.address) break;
        blocks[root] = blocks[child];
        root = (uint32_t)child;
    }
    blocks[root] = moved;
}

/* Sorts by address, in place and without recursion. */
static inline void sort_blocks(struct uio_block *blocks, uint32_t count) {
    uint32_t index;
    for (index = 1; index < count && blocks[index - 1].address <= blocks[index].address; index++) {}
    if (index >= count) return;
    for (index = count / 2; index > 0; index--) sift_down(blocks, index - 1, count);
    for (index = count - 1; index > 0; index--) {
        struct uio_block last = blocks[index];
        blocks[index] = blocks[0];
        blocks[0] = last;
        sift_down(blocks, 0, index);
    }
}

/* Index of the block that holds `address`, or `count` if none does. */
static inline uint32_t find_block(const struct uio_block *blocks, uint32_t count, uint64_t address) {
    uint32_t low = 0, high = count;
    if (count == 0 || address < blocks[0].address) return count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (blocks[middle].address <= address) low = middle;
        else high = middle;
    }
    return address - blocks[low].address < blocks[low].bytes ? low : count;
}

static inline void mark_word(struct marking *marking, uint64_t word) {
    uint32_t index = find_block(marking->blocks, marking->count, word);
    if (index == marking->count || marking->reached[index] != UNREACHED) return;
    marking->reached[index] = REACHED;
    marking->pending[marking->pending_count++] = index;
}

/* Looks at every aligned word of a range. Copies it out piece by piece: the guest runs meanwhile, and a piece
 * may be gone by the time it is its turn. */
static inline void mark_range(struct marking *marking, uint64_t start, uint64_t bytes, struct scan_buffer *buffer,
                              struct scan_counts *counts) {
    uint64_t end = start + bytes;
    start = (start + 7) & ~7ull;
    while (end > start && end - start >= 8) {
        /* Up to the end of a page and no further, so that one missing page costs no other. */
        uint64_t piece = SCAN_BYTES - start % SCAN_BYTES;
        if (piece > end - start) piece = (end - start) & ~7ull;
        if (uio_read(buffer->words, (const void *)(uintptr_t)start, piece) == 0) {
            counts->bytes += piece;
            for (uint64_t word = 0; word < piece / 8; word++) mark_word(marking, buffer->words[word]);
        } else {
            counts->unreadable += piece;
        }
        start += piece;
    }
}

/* Follows the blocks that were reached until no new one is. */
static inline void mark_pending(struct marking *marking, struct scan_buffer *buffer, struct scan_counts *counts) {
    while (marking->pending_count > 0) {
        const struct uio_block *block = &marking->blocks[marking->pending[--marking->pending_count]];
        mark_range(marking, block->address, block->bytes, buffer, counts);
    }
}

#endif
