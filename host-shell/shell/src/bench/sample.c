/* What `bench core` loads: an object of about 4 KiB with code, constants, data, a table of pointers to relocate and calls
 * into the guest. */
#include <uio.h>

struct entry {
    const char *name;
    unsigned (*function)(unsigned);
};

static unsigned runs;
static unsigned add(unsigned value) { return value + ++runs; }
static unsigned twice(unsigned value) { return value * 2; }
static unsigned mix(unsigned value) { return (value ^ value >> 7) * 2654435761u; }
static unsigned sum(unsigned value)
{
    unsigned total = 0;
    for (; value; value /= 10)
        total += value % 10;
    return total;
}

static const struct entry table[] = { { "add", add }, { "twice", twice }, { "mix", mix }, { "sum", sum } };

int main(int argc, char **argv)
{
    (void)argc, (void)argv;
    unsigned value = (unsigned)uio_time_ns(), called = 0;
    for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
        value = table[i].function(value);
        called += table[i].name[0] != 0;
    }
    char *copy = uio_alloc(64, 16);
    if (!copy)
        return -1;
    *(volatile unsigned *)copy = value;
    uio_free(copy);
    return (int)called;
}
