/* Compares uio_snprintf with the C library's snprintf over combinations of flags, widths, precisions, lengths and values,
 * and checks how uio_printf uses its gate. Says what differs and returns 1. */
#include <stdio.h>
#include <string.h>

#define UIO_PRINTF_BUFFER_BYTES 16
#include <uio_printf.h>
#include <uio_string.h>

static char printed[4096];
static size_t printed_bytes;
static int print_calls;

void uio_print(const char *text, size_t bytes) {
    memcpy(printed + printed_bytes, text, bytes);
    printed_bytes += bytes;
    print_calls++;
}

static int failures;
static long comparisons;

static void compare(const char *format, const char *expected, size_t expected_bytes, const char *got, size_t got_bytes) {
    comparisons++;
    if (expected_bytes == got_bytes && strcmp(expected, got) == 0) return;
    if (failures++ < 20) fprintf(stderr, "\"%s\": expected \"%s\", got \"%s\"\n", format, expected, got);
}

#define CHECK(format, ...)                                                                    \
    do {                                                                                      \
        char expected[256], got[256];                                                         \
        size_t expected_bytes = (size_t)snprintf(expected, sizeof expected, format, __VA_ARGS__); \
        size_t got_bytes = uio_snprintf(got, sizeof got, format, __VA_ARGS__);                \
        compare(format, expected, expected_bytes, got, got_bytes);                            \
    } while (0)

static const long long VALUES[] = {0,     1,          -1,          7,          -8,         42,       255,       -256, 1000,
                                   65535, -65536,     2147483647,  -2147483648LL, 4294967296LL, 0x123456789abcdefLL,
                                   INT64_MAX, INT64_MIN};
static const char *const WIDTHS[] = {"", "1", "5", "20", "*"};
static const char *const PRECISIONS[] = {"", ".", ".0", ".1", ".7", ".25", ".*"};
static const char *const TEXTS[] = {"", "a", "hello", "a somewhat longer text"};

/* Whether C defines the flags for the conversion. */
static int allowed(const char *flags, char conversion) {
    const char *good = strchr("di", conversion) ? "-0+ " : strchr("xXo", conversion) ? "-0#" : conversion == 'u' ? "-0" : "-";
    return strspn(flags, good) == strlen(flags);
}

static void numbers(const char *format, const char *length, char conversion, int stars) {
    for (size_t index = 0; index < sizeof VALUES / sizeof *VALUES; index++) {
        long long value = VALUES[index];
        int wide = strcmp(length, "") != 0 && length[0] != 'h';
        (void)conversion;
        if (stars == 0 && wide) CHECK(format, value);
        else if (stars == 0) CHECK(format, (int)value);
        else if (stars == 1 && wide) CHECK(format, 9, value);
        else if (stars == 1) CHECK(format, -9, (int)value);
        else if (wide) CHECK(format, 12, 4, value);
        else CHECK(format, -12, -1, (int)value);
    }
}

static void texts(const char *format, char conversion, int stars) {
    for (size_t index = 0; index < sizeof TEXTS / sizeof *TEXTS; index++) {
        const char *text = TEXTS[index];
        if (conversion == 'c') {
            if (stars == 0) CHECK(format, 'q');
            else if (stars == 1) CHECK(format, 4, 'q');
        } else if (stars == 0) CHECK(format, text);
        else if (stars == 1) CHECK(format, 9, text);
        else CHECK(format, -9, 3, text);
    }
}

static void combine(unsigned flag_bits, const char *width, const char *precision) {
    static const char *const LENGTHS[] = {"", "hh", "h", "l", "ll", "z", "j", "t"};
    char flags[8] = "", format[64];
    int stars = (*width == '*') + (strcmp(precision, ".*") == 0);
    for (unsigned bit = 0; bit < 5; bit++) {
        if (flag_bits >> bit & 1) strncat(flags, &"-0+ #"[bit], 1);
    }
    for (const char *conversion = "diuxXocs"; *conversion != '\0'; conversion++) {
        int text = strchr("cs", *conversion) != NULL;
        if (!allowed(flags, *conversion) || (*conversion == 'c' && *precision != '\0')) continue;
        for (size_t length = 0; length < (text ? 1 : sizeof LENGTHS / sizeof *LENGTHS); length++) {
            snprintf(format, sizeof format, "<%%%s%s%s%s%c>", flags, width, precision, LENGTHS[length], *conversion);
            if (text) texts(format, *conversion, stars);
            else numbers(format, LENGTHS[length], *conversion, stars);
        }
    }
}

static void expect(int condition, const char *what) {
    if (condition) return;
    failures++;
    fprintf(stderr, "%s\n", what);
}

static void gates(void) {
    size_t bytes = uio_printf("%s", "short");
    expect(bytes == 5 && print_calls == 1 && printed_bytes == 5, "a short print is one call");
    print_calls = 0;
    printed_bytes = 0;
    bytes = uio_printf("%s %d %s", "much longer than sixteen bytes,", 12345, "in pieces");
    expect(bytes == 47 && printed_bytes == 47 && print_calls == 3, "a long print comes in full pieces");
    expect(memcmp(printed, "much longer than sixteen bytes, 12345 in pieces", 47) == 0, "a long print comes whole");
    print_calls = 0;
    uio_printf("%s", "");
    expect(print_calls == 0, "nothing is not printed");
}

/* What C leaves open or does otherwise. Formats in variables, where compilers do not check them. */
static void own(void) {
    char got[64];
    const char *unknown = "%y|%5.2f|%d";
    const char *cut = "100%";
    const char *cut_width = "%-08";
    void *pointer = (void *)0xffff8000deadbeefull;
    uio_snprintf(got, sizeof got, unknown, 7);
    expect(strcmp(got, "%y|%5.2f|7") == 0, "unknown conversions are shown");
    expect(uio_snprintf(got, sizeof got, cut, 0) == 4 && strcmp(got, "100%") == 0, "a format may end in %");
    uio_snprintf(got, sizeof got, cut_width, 0);
    expect(strcmp(got, "%-08") == 0, "a format may end within a conversion");
    uio_snprintf(got, sizeof got, "%p %s", pointer, (const char *)NULL + 0 * (print_calls == 0));
    expect(strcmp(got, "0xffff8000deadbeef (null)") == 0, "pointers");
    expect(uio_snprintf(got, 4, "%s", "abcdef") == 6 && strcmp(got, "abc") == 0, "what does not fit is cut");
    got[0] = 'x';
    expect(uio_snprintf(got, 0, "%s", "abcdef") == 6 && got[0] == 'x', "no room, nothing written");
}

static void strings(void) {
    uint64_t u = 1;
    int64_t i = 1;
    expect(uio_strlen("") == 0 && uio_strlen("abc") == 3, "uio_strlen");
    expect(uio_equal("ab", "ab") && !uio_equal("ab", "abc") && !uio_equal("abc", "ab") && uio_equal("", ""), "uio_equal");
    expect(uio_starts_with("abc", "ab") && uio_starts_with("a", "") && !uio_starts_with("a", "ab"), "uio_starts_with");
    expect(uio_parse_u64("18446744073709551615", &u) && u == UINT64_MAX, "largest");
    expect(!uio_parse_u64("18446744073709551616", &u) && !uio_parse_u64("99999999999999999999", &u), "too large");
    expect(uio_parse_u64("0xFfff800000000000", &u) && u == 0xffff800000000000u, "hexadecimal");
    expect(!uio_parse_u64("0x10000000000000000", &u), "too large in hexadecimal");
    expect(!uio_parse_u64("", &u) && !uio_parse_u64("0x", &u) && !uio_parse_u64("12a", &u) && !uio_parse_u64("-1", &u),
           "not numbers");
    expect(u == 0xffff800000000000u, "a failure leaves the value");
    expect(uio_parse_i64("-9223372036854775808", &i) && i == INT64_MIN, "smallest");
    expect(uio_parse_i64("9223372036854775807", &i) && i == INT64_MAX, "largest signed");
    expect(!uio_parse_i64("9223372036854775808", &i) && !uio_parse_i64("-9223372036854775809", &i), "out of range");
    expect(uio_parse_i64("-0", &i) && i == 0 && uio_parse_i64("+5", &i) && i == 5, "signs");
}

int main(void) {
    for (unsigned flags = 0; flags < 32; flags++) {
        for (size_t width = 0; width < sizeof WIDTHS / sizeof *WIDTHS; width++) {
            for (size_t precision = 0; precision < sizeof PRECISIONS / sizeof *PRECISIONS; precision++) {
                combine(flags, WIDTHS[width], PRECISIONS[precision]);
            }
        }
    }
    gates();
    own();
    strings();
    printf("%ld comparisons\n", comparisons);
    return failures != 0;
}
