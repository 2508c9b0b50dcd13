/* Formatted output for extensions. Header only; needs no library.
 *
 * Conversions: %d %i %u %x %X %o %c %s %p %%, with the length modifiers hh h l ll z j t, the flags - 0 + space #,
 * a width and a precision (numbers or *). They mean what they mean in C. Floating point and %n are not
 * there: such a conversion is printed as it stands in the format.
 *
 * uio_printf collects its output and calls uio_print once, or once every UIO_PRINTF_BUFFER_BYTES. */
#ifndef UIO_PRINTF_H
#define UIO_PRINTF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "uio.h"

/* Bytes on the stack while a uio_printf runs. */
#ifndef UIO_PRINTF_BUFFER_BYTES
#define UIO_PRINTF_BUFFER_BYTES 512
#endif

/* Where formatted text goes. */
struct uio_sink {
    char *buffer;
    size_t capacity;
    size_t used;
    size_t total; /* bytes produced, kept or not */
    int prints;   /* full: print and start over, instead of dropping the rest */
};

/* One conversion of a format. */
struct uio_conversion {
    int left, zero, plus, space, alternate;
    int width;
    int precision; /* -1: none given */
    int length;    /* -2 hh, -1 h, 0, 1 l, 2 ll and the others of 64 bits */
};

static inline void uio_sink_put(struct uio_sink *sink, char byte) {
    sink->total++;
    if (sink->used == sink->capacity) {
        if (!sink->prints) return;
        uio_print(sink->buffer, sink->used);
        sink->used = 0;
    }
    sink->buffer[sink->used++] = byte;
}

static inline void uio_sink_fill(struct uio_sink *sink, char byte, int count) {
    for (; count > 0; count--) uio_sink_put(sink, byte);
}

static inline void uio_sink_text(struct uio_sink *sink, const char *text, int bytes) {
    for (int index = 0; index < bytes; index++) uio_sink_put(sink, text[index]);
}

/* Prefix (sign, 0x), zeros up to the precision, digits; padded to the width. */
static inline void uio_sink_number(struct uio_sink *sink, const struct uio_conversion *how, const char *prefix,
                                   uint64_t value, unsigned base, int upper) {
    char digits[24]; /* 22 octal digits hold 64 bits */
    int count = 0, prefix_bytes = 0, zeros, padding;
    while (prefix[prefix_bytes] != '\0') prefix_bytes++;
    for (; value != 0; value /= base) {
        unsigned digit = (unsigned)(value % base);
        digits[count++] = (char)(digit < 10 ? '0' + digit : (upper ? 'A' : 'a') + digit - 10);
    }
    zeros = (how->precision >= 0 ? how->precision : 1) - count;
    if (base == 8 && how->alternate && zeros < 1) zeros = 1;
    if (zeros < 0) zeros = 0;
    padding = how->width - prefix_bytes - zeros - count;
    if (how->zero && !how->left && how->precision < 0 && padding > 0) {
        zeros += padding;
        padding = 0;
    }
    if (!how->left) uio_sink_fill(sink, ' ', padding);
    uio_sink_text(sink, prefix, prefix_bytes);
    uio_sink_fill(sink, '0', zeros);
    while (count > 0) uio_sink_put(sink, digits[--count]);
    if (how->left) uio_sink_fill(sink, ' ', padding);
}

static inline void uio_sink_string(struct uio_sink *sink, const struct uio_conversion *how, const char *text) {
    int bytes = 0;
    if (text == NULL) text = "(null)";
    while ((how->precision < 0 || bytes < how->precision) && text[bytes] != '\0') bytes++;
    if (!how->left) uio_sink_fill(sink, ' ', how->width - bytes);
    uio_sink_text(sink, text, bytes);
    if (how->left) uio_sink_fill(sink, ' ', how->width - bytes);
}

/* The value of a signed conversion, from the type that its length names. */
static inline int64_t uio_narrow_signed(int64_t value, int length) {
    if (length == -2) return (signed char)value;
    if (length == -1) return (short)value;
    return value;
}

static inline uint64_t uio_narrow_unsigned(uint64_t value, int length) {
    if (length == -2) return (unsigned char)value;
    if (length == -1) return (unsigned short)value;
    return value;
}

/* Reads a number of the format; stops growing where an int would overflow. */
static inline int uio_format_number(const char **format) {
    int value = 0;
    for (; **format >= '0' && **format <= '9'; (*format)++) {
        if (value < 100000000) value = value * 10 + (**format - '0');
    }
    return value;
}

/* A va_list that can be passed on by address: as a parameter, a va_list of this ABI is a pointer already. */
struct uio_arguments {
    va_list list;
};

/* Flags, width, precision and length, from behind the '%'. */
static inline struct uio_conversion uio_format_conversion(const char **format, struct uio_arguments *arguments) {
    struct uio_conversion how = {0, 0, 0, 0, 0, 0, -1, 0};
    for (;; (*format)++) {
        if (**format == '-') how.left = 1;
        else if (**format == '0') how.zero = 1;
        else if (**format == '+') how.plus = 1;
        else if (**format == ' ') how.space = 1;
        else if (**format == '#') how.alternate = 1;
        else break;
    }
    if (**format == '*') {
        (*format)++;
        how.width = va_arg(arguments->list, int);
        if (how.width < 0) {
            how.left = 1;
            how.width = how.width == INT32_MIN ? 0 : -how.width;
        }
    } else {
        how.width = uio_format_number(format);
    }
    if (**format == '.') {
        (*format)++;
        if (**format == '*') {
            (*format)++;
            how.precision = va_arg(arguments->list, int);
            if (how.precision < 0) how.precision = -1;
        } else {
            how.precision = uio_format_number(format);
        }
    }
    for (;; (*format)++) {
        if (**format == 'h') how.length = how.length == -1 ? -2 : -1;
        else if (**format == 'l') how.length = how.length == 1 ? 2 : 1;
        else if (**format == 'z' || **format == 'j' || **format == 't') how.length = 2;
        else break;
    }
    return how;
}

/* Formats into the sink. Its buffer still holds the last bytes when it returns. */
static inline void uio_sink_format(struct uio_sink *sink, const char *format, va_list list) {
    struct uio_arguments arguments;
    va_copy(arguments.list, list);
    for (; *format != '\0'; format++) {
        const char *start = format;
        struct uio_conversion how;
        const char *prefix = "";
        if (*format != '%') {
            uio_sink_put(sink, *format);
            continue;
        }
        format++;
        how = uio_format_conversion(&format, &arguments);
        switch (*format) {
        case '%':
            uio_sink_put(sink, '%');
            break;
        case 'c': {
            char byte = (char)va_arg(arguments.list, int);
            if (!how.left) uio_sink_fill(sink, ' ', how.width - 1);
            uio_sink_put(sink, byte);
            if (how.left) uio_sink_fill(sink, ' ', how.width - 1);
            break;
        }
        case 's':
            uio_sink_string(sink, &how, va_arg(arguments.list, const char *));
            break;
        case 'd':
        case 'i': {
            int64_t value = how.length > 0 ? va_arg(arguments.list, int64_t) : va_arg(arguments.list, int);
            value = uio_narrow_signed(value, how.length);
            if (value < 0) prefix = "-";
            else if (how.plus) prefix = "+";
            else if (how.space) prefix = " ";
            uio_sink_number(sink, &how, prefix, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10, 0);
            break;
        }
        case 'u':
        case 'o':
        case 'x':
        case 'X': {
            uint64_t value = how.length > 0 ? va_arg(arguments.list, uint64_t) : va_arg(arguments.list, unsigned);
            unsigned base = *format == 'u' ? 10 : *format == 'o' ? 8 : 16;
            value = uio_narrow_unsigned(value, how.length);
            if (base == 16 && how.alternate && value != 0) prefix = *format == 'x' ? "0x" : "0X";
            uio_sink_number(sink, &how, prefix, value, base, *format == 'X');
            break;
        }
        case 'p':
            uio_sink_number(sink, &how, "0x", (uint64_t)(uintptr_t)va_arg(arguments.list, void *), 16, 0);
            break;
        default:
            /* Unknown, or the format ends here: show it. */
            for (; start <= format && *start != '\0'; start++) uio_sink_put(sink, *start);
            if (*format == '\0') format--;
            break;
        }
    }
    va_end(arguments.list);
}

/* As vsnprintf: at most `capacity` bytes with the NUL; returns the bytes that all of it would take without it. */
__attribute__((format(printf, 3, 0))) static inline size_t uio_vsnprintf(char *to, size_t capacity,
                                                                         const char *format, va_list list) {
    struct uio_sink sink = {to, capacity > 0 ? capacity - 1 : 0, 0, 0, 0};
    uio_sink_format(&sink, format, list);
    if (capacity > 0) to[sink.used] = '\0';
    return sink.total;
}

__attribute__((format(printf, 3, 4))) static inline size_t uio_snprintf(char *to, size_t capacity,
                                                                        const char *format, ...) {
    va_list list;
    size_t bytes;
    va_start(list, format);
    bytes = uio_vsnprintf(to, capacity, format, list);
    va_end(list);
    return bytes;
}

/* Prints to the shell that started this run; returns the bytes printed. */
__attribute__((format(printf, 1, 0))) static inline size_t uio_vprintf(const char *format, va_list list) {
    char buffer[UIO_PRINTF_BUFFER_BYTES];
    struct uio_sink sink = {buffer, sizeof buffer, 0, 0, 1};
    uio_sink_format(&sink, format, list);
    if (sink.used > 0) uio_print(buffer, sink.used);
    return sink.total;
}

__attribute__((format(printf, 1, 2))) static inline size_t uio_printf(const char *format, ...) {
    va_list list;
    size_t bytes;
    va_start(list, format);
    bytes = uio_vprintf(format, list);
    va_end(list);
    return bytes;
}

#endif
