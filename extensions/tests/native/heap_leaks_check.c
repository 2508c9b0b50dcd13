/* Runs heap_leaks in a guest that is described on standard input, one item a line:
 *
 *     block SCANS START BYTES        live in the scans of which SCANS has the bits 1 and 2
 *     region START BYTES ACCESS OWNER
 *     word START VALUE               of a block or region; all others are zero
 *     hole START BYTES               cannot be read, although a region holds it
 *     transient START                where the guest's answers to uio_heap_blocks lie while they are made
 *     memory BYTES                   of the extension's own heap
 *     stack POINTER                  the stack pointer of the thread `app`
 *     argument TEXT
 *
 * Addresses are hexadecimal. Output and exit status are those of heap_leaks; 99 if it left a block allocated. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define main heap_leaks_main
#include "../../native/heap_leaks/heap_leaks.c"
#undef main

#define ITEMS_MAX 4096
#define ERROR 98

static struct {
    unsigned scans;
    struct uio_block block;
} blocks[ITEMS_MAX];
static struct uio_region guest_regions[ITEMS_MAX];
static struct uio_block holes[ITEMS_MAX];
static struct {
    uint64_t start, value;
} guest_words[ITEMS_MAX];
static size_t blocks_count, regions_count, holes_count, words_count;
static uint64_t transient, memory_left = UINT64_MAX, stack_pointer;
static int enumerations, live_allocations;

void uio_print(const char *text, size_t bytes) {
    fwrite(text, 1, bytes, stdout);
}

void uio_sleep_ns(uint64_t nanoseconds) {
    if (nanoseconds == 0) exit(ERROR);
}

uint32_t uio_thread_id(void) {
    return 7;
}

size_t uio_threads(struct uio_thread *out, size_t max) {
    struct uio_thread all[2] = {{.id = 3, .name = "app", .stack_pointer = stack_pointer}, {.id = 7, .name = "heap_leaks"}};
    memcpy(out, all, (max < 2 ? max : 2) * sizeof *out);
    return 2;
}

void *uio_alloc(size_t bytes, size_t alignment) {
    if (alignment > 16 || bytes > memory_left) return NULL;
    memory_left -= bytes;
    live_allocations++;
    return malloc(bytes);
}

void uio_free(void *block) {
    if (block != NULL) live_allocations--;
    free(block);
}

size_t uio_regions(struct uio_region *out, size_t max) {
    size_t count = regions_count < max ? regions_count : max;
    memcpy(out, guest_regions, count * sizeof *out);
    return regions_count;
}

size_t uio_heap_blocks(uint64_t *cursor, struct uio_block *out, size_t max) {
    size_t filled = 0;
    unsigned scan;
    if (*cursor == 0) enumerations++;
    /* A scan lists twice: to count, and to keep. */
    scan = enumerations <= 2 ? 1 : 2;
    for (; *cursor < blocks_count && filled < max; (*cursor)++) {
        if (blocks[*cursor].scans & scan) out[filled++] = blocks[*cursor].block;
    }
    if (transient != 0 && *cursor == blocks_count && filled < max) {
        out[filled++] = (struct uio_block){transient, 16 * max};
        (*cursor)++;
    }
    return filled;
}

static int inside(const struct uio_block *range, uint64_t start, uint64_t bytes) {
    return start >= range->address && start - range->address < range->bytes &&
           bytes <= range->bytes - (start - range->address);
}

static int readable(uint64_t start, uint64_t bytes) {
    int found = 0;
    for (size_t index = 0; index < holes_count; index++) {
        if (start < holes[index].address + holes[index].bytes && holes[index].address < start + bytes) return 0;
    }
    for (size_t index = 0; index < blocks_count; index++) found |= inside(&blocks[index].block, start, bytes);
    for (size_t index = 0; index < regions_count; index++) {
        struct uio_block range = {guest_regions[index].start, guest_regions[index].bytes};
        found |= inside(&range, start, bytes);
    }
    return found || start == transient;
}

int uio_read(void *to, const void *from, size_t bytes) {
    uint64_t start = (uint64_t)(uintptr_t)from;
    if (!readable(start, bytes)) return -UIO_EFAULT;
    memset(to, 0, bytes);
    for (size_t index = 0; index < words_count; index++) {
        uint64_t place = guest_words[index].start;
        if (place >= start && place - start + 8 <= bytes) memcpy((char *)to + (place - start), &guest_words[index].value, 8);
    }
    return 0;
}

static void add_region(uint64_t start, uint64_t bytes, uint32_t access, const char *owner) {
    struct uio_region *region = &guest_regions[regions_count++];
    *region = (struct uio_region){start, bytes, access, 0, ""};
    snprintf(region->owner, sizeof region->owner, "%s", owner);
}

int main(void) {
    char line[256], text[128];
    static char argument[128];
    char *arguments[2] = {(char *)"heap_leaks", NULL};
    unsigned long long a, b;
    unsigned number;
    int status;
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (blocks_count == ITEMS_MAX || regions_count == ITEMS_MAX - 1 || words_count == ITEMS_MAX || holes_count == ITEMS_MAX) return ERROR;
        if (sscanf(line, "block %u %llx %llx", &number, &a, &b) == 3) {
            blocks[blocks_count].scans = number;
            blocks[blocks_count++].block = (struct uio_block){a, b};
        } else if (sscanf(line, "region %llx %llx %u %127[^\n]", &a, &b, &number, text) == 4) {
            add_region(a, b, number, text);
        } else if (sscanf(line, "word %llx %llx", &a, &b) == 2) {
            guest_words[words_count].start = a;
            guest_words[words_count++].value = b;
        } else if (sscanf(line, "hole %llx %llx", &a, &b) == 2) {
            holes[holes_count++] = (struct uio_block){a, b};
        } else if (sscanf(line, "transient %llx", &a) == 1) {
            transient = a;
        } else if (sscanf(line, "memory %llx", &a) == 1) {
            memory_left = a;
        } else if (sscanf(line, "stack %llx", &a) == 1) {
            stack_pointer = a;
        } else if (sscanf(line, "argument %127s", argument) == 1) {
            arguments[1] = argument;
        } else {
            fprintf(stderr, "what is %s", line);
            return ERROR;
        }
    }
    /* Where the extension finds itself. */
    add_region((uint64_t)(uintptr_t)&buffer, sizeof buffer, UIO_WRITABLE, "extension heap_leaks data");
    status = heap_leaks_main(arguments[1] == NULL ? 1 : 2, arguments);
    fflush(stdout);
    return live_allocations == 0 ? status : 99;
}
