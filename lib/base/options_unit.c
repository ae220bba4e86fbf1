/* options_unit.c -- sizes and durations as text: 400GB, 1.5MB, 200ms, 24h. */
#include "lib/base/options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit sizes[] = {
    {"b", 1},         {"k", 1 << 10},    {"kb", 1 << 10},   {"kib", 1 << 10}, {"m", 1 << 20},
    {"mb", 1 << 20},  {"mib", 1 << 20},  {"g", 1 << 30},    {"gb", 1 << 30},  {"gib", 1 << 30},
    {"t", 1LL << 40}, {"tb", 1LL << 40}, {"tib", 1LL << 40}};
static const struct unit durations[] = {{"ms", 1},      {"s", 1000},    {"m", 60000},
                                        {"min", 60000}, {"h", 3600000}, {"d", 86400000}};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static int64_t factor_of(const struct unit *units, size_t count, struct slice name) {
    for (size_t i = 0; i < count; i++)
        if (slice_equal_nocase(slice_text(units[i].name), name)) return units[i].factor;
    return 0;
}

/* DIGITS[.DIGITS]UNIT exactly; NO_UNIT is the factor of a bare number, 0 to refuse it. */
static bool parse(const char *text, const struct unit *units, size_t count, int64_t no_unit,
                  int64_t *value) {
    size_t whole = strspn(text, "0123456789"), at = whole;
    if (whole == 0 || whole > 18) return false;
    int64_t number = strtoll(text, NULL, 10);
    double fraction = 0;
    if (text[at] == '.') {
        size_t digits = strspn(text + at + 1, "0123456789");
        if (digits == 0 || digits > 9) return false;
        double place = 0.1;
        for (size_t i = at + 1; i <= at + digits; i++, place /= 10)
            fraction += (text[i] - '0') * place;
        at += 1 + digits;
    }
    while (text[at] == ' ') at++;
    int64_t factor = text[at] ? factor_of(units, count, slice_text(text + at)) : no_unit;
    if (text[at] == '\0' && number == 0 && fraction <= 0) factor = 1;
    if (factor == 0 || number > INT64_MAX / factor - 1) return false;
    *value = number * factor + (int64_t)llround(fraction * (double)factor);
    return true;
}

enum err option_parse_size(const char *text, int64_t *bytes, struct why *why) {
    if (parse(text, sizes, COUNT(sizes), 1, bytes)) return OK;
    return why_set(why, ERR_CONFIG, "found '%.80s', expected a size such as 100MB", text);
}

enum err option_parse_duration(const char *text, int64_t *ms, struct why *why) {
    if (parse(text, durations, COUNT(durations), 0, ms)) return OK;
    return why_set(why, ERR_CONFIG, "found '%.80s', expected a duration such as 200ms, 10s or 24h",
                   text);
}

/* The largest unit that VALUE is a multiple of. */
static void format(int64_t value, const struct unit *units, size_t count, const char *const *shown,
                   struct buf *out) {
    size_t best = 0;
    for (size_t i = 0; i < count; i++)
        if (value != 0 && value % units[i].factor == 0 && units[i].factor >= units[best].factor)
            best = i;
    buf_printf(out, "%lld%s", (long long)(value / units[best].factor), shown[best]);
}

void option_format_size(int64_t bytes, struct buf *out) {
    static const struct unit units[] = {
        {"", 1}, {"", 1 << 10}, {"", 1 << 20}, {"", 1 << 30}, {"", 1LL << 40}};
    static const char *const shown[] = {"", "KB", "MB", "GB", "TB"};
    format(bytes, units, COUNT(units), shown, out);
}

void option_format_duration(int64_t ms, struct buf *out) {
    static const struct unit units[] = {
        {"", 1}, {"", 1000}, {"", 60000}, {"", 3600000}, {"", 86400000}};
    static const char *const shown[] = {"ms", "s", "m", "h", "d"};
    format(ms, units, COUNT(units), shown, out);
}
