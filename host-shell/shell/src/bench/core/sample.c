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

#define FOUR(n) (n) * 2654435761u, ((n) + 1) * 2654435761u, ((n) + 2) * 2654435761u, ((n) + 3) * 2654435761u
#define SIXTEEN(n) FOUR(n), FOUR((n) + 4), FOUR((n) + 8), FOUR((n) + 12)
#define SIXTY_FOUR(n) SIXTEEN(n), SIXTEEN((n) + 16), SIXTEEN((n) + 32), SIXTEEN((n) + 48)
static const unsigned scattered[512] = {
    SIXTY_FOUR(0u), SIXTY_FOUR(64u), SIXTY_FOUR(128u), SIXTY_FOUR(192u),
    SIXTY_FOUR(256u), SIXTY_FOUR(320u), SIXTY_FOUR(384u), SIXTY_FOUR(448u),
};
static unsigned look_up(unsigned value) { return scattered[value % 512]; }

static const struct entry table[] = { { "add", add }, { "twice", twice }, { "mix", mix }, { "sum", sum },
                                      { "look up", look_up } };

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
