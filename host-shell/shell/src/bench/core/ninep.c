/* Moves data between the guest's memory and a file, and prints how long it took, in nanoseconds.
 * Arguments: read or write, path, bytes of a block, blocks. */
#include <uio.h>
#include <uio_printf.h>
#include <uio_string.h>

enum { BLOCK_BYTES_MAX = 256 * 1024 };
static char block[BLOCK_BYTES_MAX];

static uint64_t number(const char *text)
{
    uint64_t value = 0;
    while (*text >= '0' && *text <= '9')
        value = value * 10 + (uint64_t)(*text++ - '0');
    return value;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 1;
    int writing = argv[1][0] == 'w';
    const char *path = argv[2];
    uint64_t bytes = number(argv[3]), blocks = number(argv[4]);
    if (bytes == 0 || bytes > BLOCK_BYTES_MAX)
        return 2;
    for (uint64_t i = 0; i < bytes; i++)
        block[i] = (char)(i * 7 + 1);
    uint64_t begun = uio_time_ns();
    for (uint64_t i = 0; i < blocks; i++) {
        int64_t moved = writing ? uio_file_write(path, i * bytes, block, bytes)
                                : uio_file_read(path, i * bytes, block, bytes);
        if (moved != (int64_t)bytes) {
            uio_printf("block %llu: %lld\n", (unsigned long long)i, (long long)moved);
            return 3;
        }
    }
    uint64_t taken = uio_time_ns() - begun;
    /* What was read is what was written. */
    for (uint64_t i = 0; i < bytes; i++)
        if (block[i] != (char)(i * 7 + 1))
            return 4;
    uio_printf("%llu\n", (unsigned long long)taken);
    return 0;
}
