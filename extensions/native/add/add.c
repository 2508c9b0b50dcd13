/* Adds two numbers. `run add.o 2 3` returns 5; once loaded, so does `call add 2 3`. */
#include <uio_printf.h>
#include <uio_string.h>

int add(int a, int b);

int add(int a, int b) {
    return (int)((unsigned)a + (unsigned)b);
}

static int parse(const char *text, int *value) {
    int64_t parsed = 0;
    if (!uio_parse_i64(text, &parsed) || parsed < INT32_MIN || parsed > INT32_MAX) {
        uio_printf("add: \"%s\" is not a number that an int holds\n", text);
        return 0;
    }
    *value = (int)parsed;
    return 1;
}

int main(int argc, char **argv) {
    int a, b;
    if (argc != 3) {
        uio_printf("usage: add A B\n");
        return -1;
    }
    if (!parse(argv[1], &a) || !parse(argv[2], &b)) return -1;
    uio_printf("%d + %d = %d\n", a, b, add(a, b));
    return add(a, b);
}
