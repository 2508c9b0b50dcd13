/* Finds leaks in the guest's heap while the guest runs: live blocks that nothing points to any more.
 *
 *     heap_leaks [-v]      -v lists the memory that counts as roots
 *
 * Returns 0 if there are none, 1 if there are, 2 if it could not tell.
 *
 * Roots are the image's data, all stacks as far as they are in use, and the memory of other extensions. (Registers of
 * threads that do not run lie on their stacks or in blocks of the heap.) A block is reachable if any aligned word of a
 * root, or of a reachable block, is an address inside it; so a chance number or a stale word can hide a leak, and a
 * pointer kept in another form (compressed, tagged, as a physical address) can look like one.
 *
 * The guest goes on running, and moves pointers from a place not yet looked at to one looked at already. Therefore
 * two scans are made, some time apart, and only what is unreachable in both is reported. */
#include "marking.h"

#include <uio_printf.h>
#include <uio_regions.h>
#include <uio_string.h>

/* 37 bytes a block in the worst case, out of the 16 MiB that an extension's heap may have. */
#define BLOCKS_MAX 400000u
#define REGIONS_MAX UIO_RECORDS_MAX
#define THREADS_MAX 256u
/* Blocks asked for at a time, by scan. Each time the guest's answer is itself a block of its heap for a moment; with
 * different sizes it cannot be the same block in both scans. */
static const uint32_t RECORDS_OF_SCAN[2] = {256, 100};
#define RECORDS_MAX 256u
/* Between the scans: several periods of an application that works every few milliseconds. */
#define PAUSE_NS 20000000ull
/* Lines of the report. */
#define SIZES_MAX 24u
#define HEADS_MAX 8u
#define HEAD_BYTES 32u

/* Below its stack pointer a function that calls no other may keep variables (System V ABI, red zone). */
#define RED_ZONE_BYTES 128u

/* What the owner of a thread's kernel stack begins with; its name follows. */
#define STACK_OWNER "stack of "

/* Owners of memory that holds pointers into the heap. Others are devices, whose registers must not be read,
 * and the direct map, which shows the heap itself. */
static const char *const ROOT_OWNERS[] = {"application data", "kernel data", STACK_OWNER, UIO_EXTENSION_OWNER};

static struct uio_thread threads[THREADS_MAX];
static struct uio_region regions[REGIONS_MAX];
static struct uio_block records[RECORDS_MAX];
static struct scan_buffer buffer;

/* Live blocks, or -1 if there are more than `capacity`; the first of them go to `out` unless it is NULL. */
static int64_t list_blocks(struct uio_block *out, uint32_t capacity, uint32_t records_max) {
    uint64_t cursor = 0;
    uint32_t count = 0;
    for (;;) {
        size_t got = uio_heap_blocks(&cursor, records, records_max);
        if (got == 0) return count;
        for (size_t index = 0; index < got; index++) {
            if (count == capacity) return -1;
            if (out != NULL) out[count] = records[index];
            count++;
        }
    }
}

static void release(struct marking *marking) {
    uio_free(marking->blocks);
    uio_free(marking->reached);
    uio_free(marking->pending);
    marking->blocks = NULL;
    marking->reached = NULL;
    marking->pending = NULL;
}

/* Takes memory for all blocks of the heap and lists them. 0, or what to tell the person. */
static const char *prepare(struct marking *marking, uint32_t records_max) {
    int64_t count = list_blocks(NULL, BLOCKS_MAX, records_max);
    if (count < 0) return "the heap has more blocks than this extension can hold";
    /* Room for what is allocated until they are listed. */
    marking->capacity = (uint32_t)count + (uint32_t)count / 8 + 64;
    marking->blocks = (struct uio_block *)uio_alloc(marking->capacity * sizeof *marking->blocks, 8);
    marking->reached = (uint8_t *)uio_alloc(marking->capacity, 8);
    marking->pending = (uint32_t *)uio_alloc(marking->capacity * sizeof *marking->pending, 8);
    marking->pending_count = 0;
    if (marking->blocks == NULL || marking->reached == NULL || marking->pending == NULL) return "no memory";
    count = list_blocks(marking->blocks, marking->capacity, records_max);
    if (count < 0) return "the heap grows too fast to be listed; try again";
    marking->count = (uint32_t)count;
    sort_blocks(marking->blocks, marking->count);
    for (uint32_t index = 0; index < marking->count; index++) marking->reached[index] = UNREACHED;
    return NULL;
}

/* Fills `threads`; how many. */
static size_t list_threads(void) {
    size_t count = uio_threads(threads, THREADS_MAX);
    return count < THREADS_MAX ? count : THREADS_MAX;
}

/* Puts the owner of the calling thread's kernel stack into `owner`. Gates leave traces of the blocks they listed there. */
static void own_stack(char owner[UIO_NAME_BYTES], size_t thread_count) {
    uint32_t id = uio_thread_id();
    owner[0] = '\0';
    for (size_t index = 0; index < thread_count; index++) {
        if (threads[index].id == id) uio_snprintf(owner, UIO_NAME_BYTES, STACK_OWNER "%s", threads[index].name);
    }
}

/* `self` is a region of this extension, `stack` the owner of its kernel stack: what this scan itself writes down of the blocks
 * must not keep them. */
static int is_root(const struct uio_region *region, const struct uio_region *self, const char *stack) {
    if ((region->access & UIO_WRITABLE) == 0) return 0;
    if (self != NULL && uio_same_extension(region, self)) return 0;
    if (uio_equal(region->owner, stack)) return 0;
    for (size_t index = 0; index < sizeof ROOT_OWNERS / sizeof *ROOT_OWNERS; index++) {
        if (uio_starts_with(region->owner, ROOT_OWNERS[index])) return 1;
    }
    return 0;
}

/* Where the part of a region begins that is in use: a stack's at the pointer of its thread, below which lies what calls that
 * have ended left there. */
static uint64_t used_from(const struct uio_region *region, size_t thread_count) {
    for (size_t index = 0; index < thread_count; index++) {
        uint64_t pointer = threads[index].stack_pointer;
        if (pointer > region->start + RED_ZONE_BYTES && pointer - region->start < region->bytes) {
            return pointer - RED_ZONE_BYTES;
        }
    }
    return region->start;
}

/* Marks from all roots. 0, or what to tell the person. */
static const char *mark_roots(struct marking *marking, struct scan_counts *counts, int verbose) {
    size_t count = uio_regions(regions, REGIONS_MAX);
    const struct uio_region *self;
    char stack[UIO_NAME_BYTES];
    size_t thread_count = list_threads();
    if (count > REGIONS_MAX) return "the address space has more regions than this extension can hold";
    self = uio_region_at(regions, count, (uint64_t)(uintptr_t)&buffer);
    own_stack(stack, thread_count);
    for (size_t index = 0; index < count; index++) {
        const struct uio_region *region = &regions[index];
        uint64_t start, bytes;
        if (!is_root(region, self, stack)) continue;
        start = used_from(region, thread_count);
        bytes = region->start + region->bytes - start;
        if (verbose) {
            uio_printf("  root %#018llx %10llu  %s\n", (unsigned long long)start, (unsigned long long)bytes,
                       region->owner);
        }
        mark_range(marking, start, bytes, &buffer, counts);
        mark_pending(marking, &buffer, counts);
    }
    return NULL;
}

/* Moves the blocks that were not reached to the front; how many. */
static uint32_t keep_unreached(struct marking *marking) {
    uint32_t kept = 0;
    for (uint32_t index = 0; index < marking->count; index++) {
        if (marking->reached[index] == UNREACHED) marking->blocks[kept++] = marking->blocks[index];
    }
    return kept;
}

/* Drops from `found` what is not among the `count` blocks of `again`, at the same place in the same size; how many stay. */
static uint32_t keep_common(struct uio_block *found, uint32_t found_count, const struct uio_block *again,
                            uint32_t count) {
    uint32_t kept = 0;
    for (uint32_t index = 0; index < found_count; index++) {
        uint32_t match = find_block(again, count, found[index].address);
        if (match < count && again[match].address == found[index].address && again[match].bytes == found[index].bytes) {
            found[kept++] = found[index];
        }
    }
    return kept;
}

static void print_head(const struct uio_block *block) {
    uint8_t bytes[HEAD_BYTES];
    uint64_t count = block->bytes < HEAD_BYTES ? block->bytes : HEAD_BYTES;
    uio_printf("%#018llx  %llu bytes\n", (unsigned long long)block->address, (unsigned long long)block->bytes);
    if (uio_read(bytes, (const void *)(uintptr_t)block->address, count) != 0) return;
    for (uint64_t line = 0; line < count; line += 16) {
        char text[17];
        uint64_t column;
        uio_printf("   ");
        for (column = 0; column < 16 && line + column < count; column++) {
            uint8_t byte = bytes[line + column];
            text[column] = byte >= 0x20 && byte < 0x7f ? (char)byte : '.';
            uio_printf(" %02x", byte);
        }
        text[column] = '\0';
        uio_printf("%*s  %s\n", (int)(3 * (16 - column)), "", text);
    }
}

/* Prints how many blocks there are of each size, small ones first. */
static void print_sizes(const struct uio_block *blocks, uint32_t count) {
    uint64_t floor = 0;
    uio_printf("\n%12s %12s %14s\n", "bytes each", "blocks", "bytes");
    for (uint32_t line = 0;; line++) {
        uint64_t size = UINT64_MAX, total = 0, rest = 0;
        uint32_t of_size = 0;
        for (uint32_t index = 0; index < count; index++) {
            if (blocks[index].bytes > floor && blocks[index].bytes < size) size = blocks[index].bytes;
        }
        for (uint32_t index = 0; index < count; index++) {
            if (blocks[index].bytes == size) of_size++;
            if (blocks[index].bytes > floor) {
                rest++;
                total += blocks[index].bytes;
            }
        }
        if (rest == 0) return;
        if (line == SIZES_MAX) {
            uio_printf("%12s %12llu %14llu\n", "larger", (unsigned long long)rest, (unsigned long long)total);
            return;
        }
        uio_printf("%12llu %12u %14llu\n", (unsigned long long)size, of_size, (unsigned long long)(size * of_size));
        floor = size;
    }
}

static uint64_t sum(const struct uio_block *blocks, uint32_t count) {
    uint64_t bytes = 0;
    for (uint32_t index = 0; index < count; index++) bytes += blocks[index].bytes;
    return bytes;
}

static int report(const struct uio_block *leaks, uint32_t count) {
    if (count == 0) {
        uio_printf("no leaks: every block was reachable in one of two scans\n");
        return 0;
    }
    uio_printf("unreachable in two scans: %u blocks, %llu bytes\n", count, (unsigned long long)sum(leaks, count));
    print_sizes(leaks, count);
    uio_printf("\n");
    for (uint32_t index = 0; index < count && index < HEADS_MAX; index++) print_head(&leaks[index]);
    if (count > HEADS_MAX) uio_printf("and %u more\n", count - HEADS_MAX);
    return 1;
}

/* One scan. Afterwards the unreached blocks are the first `*unreached` of the marking's. */
static const char *scan(struct marking *marking, uint32_t records_max, int verbose, uint32_t *unreached) {
    struct scan_counts counts = {0, 0};
    const char *problem = prepare(marking, records_max);
    if (problem == NULL) problem = mark_roots(marking, &counts, verbose);
    if (problem != NULL) return problem;
    uio_printf("%u live blocks, %llu bytes; looked at %llu bytes", marking->count,
               (unsigned long long)sum(marking->blocks, marking->count), (unsigned long long)counts.bytes);
    if (counts.unreadable > 0) uio_printf(", %llu went away meanwhile", (unsigned long long)counts.unreadable);
    uio_printf("\n");
    *unreached = keep_unreached(marking);
    return NULL;
}

/* Both scans. Leaves the leaks in `*leaks`, to be freed by the caller. */
static const char *find(int verbose, struct uio_block **leaks, uint32_t *count) {
    struct marking marking = {NULL, NULL, NULL, 0, 0, 0};
    uint32_t again = 0;
    const char *problem = scan(&marking, RECORDS_OF_SCAN[0], verbose, count);
    if (problem == NULL && *count > 0) {
        *leaks = (struct uio_block *)uio_alloc(*count * sizeof **leaks, 8);
        if (*leaks == NULL) problem = "no memory";
        for (uint32_t index = 0; problem == NULL && index < *count; index++) (*leaks)[index] = marking.blocks[index];
    }
    release(&marking);
    if (problem != NULL || *count == 0) return problem;
    uio_sleep_ns(PAUSE_NS);
    problem = scan(&marking, RECORDS_OF_SCAN[1], 0, &again);
    if (problem == NULL) *count = keep_common(*leaks, *count, marking.blocks, again);
    release(&marking);
    return problem;
}

int main(int argc, char **argv) {
    struct uio_block *leaks = NULL;
    uint32_t count = 0;
    int verbose = argc == 2 && uio_equal(argv[1], "-v");
    const char *problem;
    int result = 2;
    if (argc > 1 + verbose) {
        uio_printf("usage: heap_leaks [-v]\n");
        return 2;
    }
    problem = find(verbose, &leaks, &count);
    if (problem != NULL) uio_printf("heap_leaks: %s\n", problem);
    else result = report(leaks, count);
    uio_free(leaks);
    return result;
}
