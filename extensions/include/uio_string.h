/* The little of <string.h> and <stdlib.h> that small extensions need. Header only.
 *
 * Compilers may call memcpy, memmove, memset, memcmp and strlen on their own; the guest provides those. */
#ifndef UIO_STRING_H
#define UIO_STRING_H

#include <stddef.h>
#include <stdint.h>

/* Bytes before the NUL. */
static inline size_t uio_strlen(const char *text) {
    size_t bytes = 0;
    while (text[bytes] != '\0') bytes++;
    return bytes;
}

/* Whether two strings are the same. */
static inline int uio_equal(const char *a, const char *b) {
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

/* Whether `text` begins with `prefix`. */
static inline int uio_starts_with(const char *text, const char *prefix) {
    while (*prefix != '\0' && *text == *prefix) {
        text++;
        prefix++;
    }
    return *prefix == '\0';
}

/* Value of a digit in bases up to 16, or 16 for anything else. */
static inline unsigned uio_digit(char digit) {
    if (digit >= '0' && digit <= '9') return (unsigned)(digit - '0');
    if (digit >= 'a' && digit <= 'f') return (unsigned)(digit - 'a') + 10;
    if (digit >= 'A' && digit <= 'F') return (unsigned)(digit - 'A') + 10;
    return 16;
}

/* Reads a number: decimal, or hexadecimal after "0x". Returns 1, or 0 if `text` is not a number, has
 * more behind it, or does not fit; then `*value` stays. */
static inline int uio_parse_u64(const char *text, uint64_t *value) {
    unsigned base = 10;
    uint64_t result = 0;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        base = 16;
        text += 2;
    }
    if (*text == '\0') return 0;
    for (; *text != '\0'; text++) {
        unsigned digit = uio_digit(*text);
        if (digit >= base || result > (UINT64_MAX - digit) / base) return 0;
        result = result * base + digit;
    }
    *value = result;
    return 1;
}

/* As uio_parse_u64, with an optional sign before the number. */
static inline int uio_parse_i64(const char *text, int64_t *value) {
    int negative = *text == '-';
    uint64_t magnitude = 0;
    if (*text == '-' || *text == '+') text++;
    if (!uio_parse_u64(text, &magnitude)) return 0;
    if (magnitude > (uint64_t)INT64_MAX + (uint64_t)negative) return 0;
    *value = negative ? -(int64_t)(magnitude - 1) - 1 : (int64_t)magnitude;
    return 1;
}

#endif
