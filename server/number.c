/* number.c -- numbers and their texts, as Redis 7.0 reads and writes them. */
#include "server/args.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define FLOAT_TEXT_MAX (5 * 1024)

/* The text as a C string without a leading space; NULL when no number can be in it. */
static const char *terminated(struct slice text, char *copy, size_t room) {
    if (text.size == 0 || text.size >= room || isspace(text.data[0])) return NULL;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    return copy;
}

bool number_read_double(struct slice text, double *number) {
    char copy[FLOAT_TEXT_MAX], *end;
    const char *from = terminated(text, copy, sizeof copy);
    if (from == NULL) return false;
    errno = 0;
    double value = strtod(from, &end);
    bool out = errno == ERANGE &&
               (value == HUGE_VAL || value == -HUGE_VAL || fpclassify(value) == FP_ZERO);
    if ((size_t)(end - from) != text.size || out || isnan(value)) return false;
    *number = value;
    return true;
}

bool number_read_long_double(struct slice text, long double *number) {
    char copy[FLOAT_TEXT_MAX], *end;
    const char *from = terminated(text, copy, sizeof copy);
    if (from == NULL) return false;
    errno = 0;
    long double value = strtold(from, &end);
    bool out = errno == ERANGE &&
               (value == HUGE_VALL || value == -HUGE_VALL || fpclassify(value) == FP_ZERO);
    if ((size_t)(end - from) != text.size || out || isnan(value)) return false;
    *number = value;
    return true;
}

size_t number_write_int(char *text, int64_t number) {
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
        "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
        "8081828384858687888990919293949596979899";
    char digits[24];
    size_t at = sizeof digits;
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    for (; rest >= 100; rest /= 100) {
        at -= 2;
        memcpy(digits + at, pairs + rest % 100 * 2, 2);
    }
    if (rest >= 10) {
        at -= 2;
        memcpy(digits + at, pairs + rest * 2, 2);
    } else
        digits[--at] = (char)('0' + rest);
    if (number < 0) digits[--at] = '-';
    memcpy(text, digits + at, sizeof digits - at);
    return sizeof digits - at;
}

size_t number_write_double(char *text, double number) {
    if (isnan(number)) return (size_t)sprintf(text, "nan");
    if (isinf(number)) return (size_t)sprintf(text, number > 0 ? "inf" : "-inf");
    if (number == 0) return (size_t)sprintf(text, signbit(number) ? "-0" : "0");
    const double whole = 4503599627370496.0; /* 2^52: every integer up to here is exact */
    if (number > -whole && number < whole && number == (double)(int64_t)number)
        return number_write_int(text, (int64_t)number);
    return (size_t)snprintf(text, NUMBER_TEXT, "%.17g", number);
}

size_t number_write_human(char *text, long double number) {
    if (isinf(number)) return (size_t)sprintf(text, number > 0 ? "inf" : "-inf");
    size_t size = (size_t)snprintf(text, LONG_DOUBLE_TEXT, "%.17Lf", number);
    if (memchr(text, '.', size) != NULL) {
        while (text[size - 1] == '0') size--;
        if (text[size - 1] == '.') size--;
    }
    if (size == 2 && text[0] == '-' && text[1] == '0') {
        text[0] = '0';
        size = 1;
    }
    return size;
}
