/* Prints its arguments. */
#include <uio_printf.h>

int main(int argc, char **argv) {
    uio_printf("hello from thread %u, %llu ms after boot\n", uio_thread_id(),
               (unsigned long long)(uio_time_ns() / 1000000));
    for (int index = 0; index < argc; index++) {
        uio_printf("  argv[%d] = \"%s\"\n", index, argv[index]);
    }
    return 0;
}
