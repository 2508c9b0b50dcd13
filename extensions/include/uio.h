/* What a guest offers to extensions written in C or C++.
 *
 * An extension is one relocatable object that `load` places into a running guest. It runs in a protection domain
 * of its own: it may read almost everything, and write only its own memory (data, stacks, what `uio_alloc`
 * gave it). Everything else it changes by calling the functions below. Each is a *gate*: the call leaves the domain, the
 * guest checks the arguments, does the work on a stack of its own and comes back.
 *
 * A pointer argument that breaks the contract beside it ends the run with a report; a gate that can fail for other
 * reasons returns a negative Linux error number. Gates take what the System V ABI passes in six integer registers, and return
 * an integer in `rax`.
 *
 * What a loaded extension may define, each of it optional:
 *
 *     int main(int argc, char **argv)   `run` calls it on a thread of its own; argv[0] is the name
 *     int init(void)                    called once by `load`; non-zero refuses the load
 *     void exit(void)                   called once by `unload`
 *
 * Other global functions can be called by `call` and by extensions loaded later; give everything else
 * internal linkage. Global variables can be read by other extensions, never written.
 *
 * Freestanding C99 and later, C++11 and later. */
#ifndef UIO_H
#define UIO_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Error numbers that the gates return, negated. */
enum {
    UIO_EPERM = 1,       /* the memory is not yours, and not the application's */
    UIO_ENOENT = 2,      /* no such file */
    UIO_EIO = 5,         /* the file's server failed */
    UIO_EACCES = 13,     /* the file's mode or mount forbids it */
    UIO_EFAULT = 14,     /* not mapped, or not writable by anybody */
    UIO_EEXIST = 17,     /* exists already */
    UIO_ENOTDIR = 20,    /* a component of the path is not a directory */
    UIO_EISDIR = 21,     /* is a directory */
    UIO_EINVAL = 22,     /* not a path */
    UIO_ENOSPC = 28,     /* no space */
    UIO_EOPNOTSUPP = 95  /* the file system cannot do that */
};

/* Bytes of a name in the records below, its NUL included. Longer names are cut. */
#define UIO_NAME_BYTES 32

/* Most records that one call fills in, however large `max` is. */
#define UIO_RECORDS_MAX 1024

/* Values of `uio_thread.state`. */
enum { UIO_RUNNING = 0, UIO_READY = 1, UIO_SLEEPING = 2, UIO_WAITING = 3, UIO_EXITED = 4 };

/* One thread of the guest. */
struct uio_thread {
    uint64_t cpu_time_ns;        /* used since it started */
    uint64_t stack_pointer;      /* when it last left the CPU; its stack is in use from there up. 0 while it runs */
    uint32_t id;
    uint32_t extension;          /* the extension it runs, 0 for none */
    uint32_t stack_bytes;
    uint32_t stack_margin_bytes; /* never touched so far */
    uint32_t state;              /* UIO_RUNNING and so on */
    uint32_t priority;           /* higher runs first */
    char name[UIO_NAME_BYTES];   /* ends with a NUL */
};

/* Bits of `uio_region.access`. Everything mapped can be read. */
enum { UIO_WRITABLE = 1, UIO_EXECUTABLE = 2 };

/* One mapped range of the address space. */
struct uio_region {
    uint64_t start;
    uint64_t bytes;
    uint32_t access;             /* of the pages; UIO_WRITABLE | UIO_EXECUTABLE */
    uint32_t key;                /* protection key: who may write it */
    char owner[UIO_NAME_BYTES];  /* whose it is, as `mem` shows it; ends with a NUL */
};

/* One live block of the guest's heap. */
struct uio_block {
    uint64_t address; /* first byte its owner may use */
    uint64_t bytes;   /* as the allocator rounded them */
};

/* Output. */

/* Prints to the shell that started this run: `bytes` bytes at `text`, no NUL needed. Waits while the shell does
 * not keep up; in `init` and `exit` it drops what finds no room instead. */
void uio_print(const char *text, size_t bytes);

/* Adds one line to the guest's log. Of a longer text the first 1024 bytes are kept. */
void uio_log(const char *text, size_t bytes);

/* Ends the run; the report shows the first 1024 bytes of `message`. */
__attribute__((noreturn)) void uio_abort(const char *message, size_t bytes);

/* Time and threads. */

/* Nanoseconds since boot; never goes back. */
uint64_t uio_time_ns(void);

/* Sleeps for at least that long. */
void uio_sleep_ns(uint64_t nanoseconds);

/* Lets other threads run. */
void uio_yield(void);

/* Number of the calling thread, as `threads` shows it. */
uint32_t uio_thread_id(void);

/* Fills `out` with at most `max` threads. Returns how many there are, which may be more. */
size_t uio_threads(struct uio_thread *out, size_t max);

/* Memory. */

/* Takes `bytes` bytes of this extension's heap, aligned to `alignment`, a power of two up to a page. NULL if the
 * heap is exhausted. The contents are undefined. Whatever is left is freed at unload. */
void *uio_alloc(size_t bytes, size_t alignment);

/* Gives a block back; NULL is nothing. Anything that is not a live block of this extension, a block
 * freed twice for one, ends the run. */
void uio_free(void *block);

/* Stores `bytes` bytes into memory of the application, or your own. 0; or -UIO_EPERM or -UIO_EFAULT, and then
 * nothing was written. */
int uio_write(void *to, const void *from, size_t bytes);

/* Loads `bytes` bytes from any address into your memory, without the risk of a fault. 0, or -UIO_EFAULT if not
 * all of it is mapped. (A plain load does the same where you know that memory is mapped.) */
int uio_read(void *to, const void *from, size_t bytes);

/* Fills `out` with at most `max` mapped ranges, ascending. Returns how many there are, which may be more. */
size_t uio_regions(struct uio_region *out, size_t max);

/* Fills `out` with at most `max` live blocks of the guest's heap that come after `*cursor`, and moves the
 * cursor. Start with a cursor of 0; returns how many, 0 at the end. Blocks that come or go between two
 * calls may be missed or seen. */
size_t uio_heap_blocks(uint64_t *cursor, struct uio_block *out, size_t max);

/* Files. Paths are absolute, UTF-8, and end with a NUL. */

/* Size of a file in bytes, or a negative error number. */
int64_t uio_file_size(const char *path);

/* Reads up to `bytes` bytes from `offset`. How many came, fewer only at the end of the file; or a
 * negative error number. */
int64_t uio_file_read(const char *path, uint64_t offset, void *to, size_t bytes);

/* Writes `bytes` bytes at `offset`, making the file if need be. `bytes`, or a negative error number. */
int64_t uio_file_write(const char *path, uint64_t offset, const void *from, size_t bytes);

#ifdef __cplusplus
}
#endif

/* The guest fills these in by offset. */
#if defined(__cplusplus)
static_assert(sizeof(struct uio_thread) == 72, "uio_thread");
static_assert(sizeof(struct uio_region) == 56, "uio_region");
static_assert(sizeof(struct uio_block) == 16, "uio_block");
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
_Static_assert(sizeof(struct uio_thread) == 72, "uio_thread");
_Static_assert(sizeof(struct uio_region) == 56, "uio_region");
_Static_assert(sizeof(struct uio_block) == 16, "uio_block");
#endif

#endif
