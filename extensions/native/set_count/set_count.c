/* Changes the application of the `count` image in the two ways that a domain has.
 *
 *     set_count VALUE            calls set_count(), a function that the image exports as a gate
 *     set_count --write VALUE    stores into the variable through uio_write
 *
 * Reading needs no gate in ring 0, where the variable is there to be read; uio_read also works in ring 3. */
#include <uio_printf.h>
#include <uio_string.h>

/* The application's; the host finds its address in the image's symbol table. */
extern uint64_t count;
/* The application's, exported as a gate. Returns what the count was. */
uint64_t set_count(uint64_t value);

static uint64_t current_count(void) {
    uint64_t value = 0;
    uio_read(&value, &count, sizeof value);
    return value;
}

static int usage(void) {
    uio_printf("usage: set_count [--write] VALUE\n");
    return 2;
}

int main(int argc, char **argv) {
    int by_write = argc == 3 && uio_equal(argv[1], "--write");
    uint64_t value, before;
    if (argc != 2 + by_write || !uio_parse_u64(argv[argc - 1], &value)) return usage();
    if (by_write) {
        int error;
        before = current_count();
        error = uio_write(&count, &value, sizeof value);
        if (error != 0) {
            uio_printf("set_count: uio_write failed with error %d\n", -error);
            return 1;
        }
    } else {
        before = set_count(value);
    }
    uio_printf("count: %llu -> %llu, now %llu\n", (unsigned long long)before, (unsigned long long)value,
               (unsigned long long)current_count());
    return 0;
}
