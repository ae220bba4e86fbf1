/* options.c -- option tables: reading, checking and showing values. Units are in options_unit.c. */
#include "lib/base/options.h"

#include "lib/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

static void *field(const struct option *option, void *base) {
    return (char *)base + option->offset;
}

/* ---- choices ---- */

/* The place of WORD in CHOICES ("a|b|c"), or -1. */
static int choice_find(const char *choices, struct slice word) {
    int place = 0;
    for (const char *at = choices;; place++) {
        const char *end = strchrnul(at, '|');
        if (slice_equal_nocase(slice_from(at, (size_t)(end - at)), word)) return place;
        if (*end == '\0') return -1;
        at = end + 1;
    }
}

static struct slice choice_at(const char *choices, int place) {
    const char *at = choices;
    for (; place > 0; place--) {
        at = strchr(at, '|');
        ASSERT(at != NULL);
        at++;
    }
    return slice_from(at, (size_t)(strchrnul(at, '|') - at));
}

/* ---- what was expected, in words ---- */

static void put_number(const struct option *option, int64_t value, struct buf *out) {
    if (option->type == OPTION_SIZE)
        option_format_size(value, out);
    else if (option->type == OPTION_DURATION)
        option_format_duration(value, out);
    else
        buf_printf(out, "%lld", (long long)value);
}

static void put_expected(const struct option *option, struct buf *out) {
    static const char *const kinds[] = {
        [OPTION_BOOL] = "true or false",
        [OPTION_INT] = "a whole number",
        [OPTION_SIZE] = "a size such as 100MB",
        [OPTION_DURATION] = "a duration such as 200ms, 10s or 24h",
        [OPTION_STRING] = "a text",
        [OPTION_CHOICE] = "one of ",
        [OPTION_SECRET] = "file:/path or env:NAME",
    };
    buf_printf(out, "%s", kinds[option->type]);
    if (option->type == OPTION_CHOICE) buf_printf(out, "%s", option->choices);
    bool is_number = option->type == OPTION_INT || option->type == OPTION_SIZE ||
                     option->type == OPTION_DURATION;
    if (is_number && (option->min || option->max)) {
        buf_printf(out, " between ");
        put_number(option, option->min, out);
        buf_printf(out, " and ");
        put_number(option, option->max, out);
    }
    if (option->zero) buf_printf(out, ", or %s", option->zero);
}

static enum err refuse(const struct option *option, const char *text, struct why *why) {
    struct buf expected = {0};
    put_expected(option, &expected);
    enum err err = why_set(why, ERR_CONFIG, "%s: found '%.80s', expected %s", option->name, text,
                           buf_text(&expected));
    buf_close(&expected);
    return err;
}

/* ---- reading ---- */

static bool parse_bool(const char *text, bool *value) {
    static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {"false", "no", "off"};
    for (size_t i = 0; i < 3; i++) {
        if (strcasecmp(text, yes[i]) == 0) return *value = true, true;
        if (strcasecmp(text, no[i]) == 0) return *value = false, true;
    }
    return false;
}

static bool parse_number(const struct option *option, const char *text, int64_t *value) {
    struct why ignored;
    if (option->zero && strcasecmp(text, option->zero) == 0) {
        *value = 0;
        return true;
    }
    int64_t number;
    bool good = false;
    if (option->type == OPTION_INT) good = slice_to_int(slice_text(text), &number);
    if (option->type == OPTION_SIZE) good = option_parse_size(text, &number, &ignored) == OK;
    if (option->type == OPTION_DURATION)
        good = option_parse_duration(text, &number, &ignored) == OK;
    if (!good) return false;
    bool bounded = option->min || option->max;
    if (bounded ? number < option->min || number > option->max : number < 0) return false;
    *value = number;
    return true;
}

static void set_string(char **at, const char *text) {
    char *copy = mem_strdup(text);
    mem_free(*at);
    *at = copy;
}

enum err option_set(const struct option *option, void *base, const char *text, struct why *why) {
    void *at = field(option, base);
    enum err err;
    int choice;
    switch (option->type) {
    case OPTION_BOOL:
        if (!parse_bool(text, at)) return refuse(option, text, why);
        return OK;
    case OPTION_INT:
    case OPTION_SIZE:
    case OPTION_DURATION:
        if (!parse_number(option, text, at)) return refuse(option, text, why);
        return OK;
    case OPTION_STRING: set_string(at, text); return OK;
    case OPTION_CHOICE:
        choice = choice_find(option->choices, slice_text(text));
        if (choice < 0) return refuse(option, text, why);
        *(int *)at = choice;
        return OK;
    case OPTION_SECRET:
        err = secret_load(at, text, why);
        return err ? why_add(why, ERR_CONFIG, "%s", option->name) : OK;
    }
    UNREACHABLE("unknown type of option");
}

/* ---- names ---- */

const struct option *options_find(const struct options *options, const char *name) {
    for (size_t i = 0; i < options->count; i++)
        if (strcmp(options->table[i].name, name) == 0) return &options->table[i];
    return NULL;
}

/* How many letters must be added, removed or changed to make A into B (Levenshtein). */
static size_t edits(const char *a, struct slice b) {
    size_t a_size = strlen(a);
    if (a_size >= OPTION_NAME_BYTES || b.size >= OPTION_NAME_BYTES) return SIZE_MAX;
    size_t row[OPTION_NAME_BYTES];
    for (size_t j = 0; j <= b.size; j++) row[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.size; j++) {
            size_t change = diagonal + (a[i - 1] != (char)b.data[j - 1]);
            size_t least = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            diagonal = row[j];
            row[j] = change < least ? change : least;
        }
    }
    return row[b.size];
}

/* As much of NAME as has DOTS dots; all of it when it has fewer. */
static struct slice first_parts(const char *name, size_t dots) {
    const char *end = name;
    for (; *end; end++)
        if (*end == '.' && dots-- == 0) break;
    return slice_from(name, (size_t)(end - name));
}

bool options_nearest(const struct options *options, const char *name,
                     char nearest[OPTION_NAME_BYTES]) {
    size_t allowed = strlen(name) / 3 < 3 ? 3 : strlen(name) / 3, best = allowed + 1, dots = 0;
    for (const char *at = name; *at; at++) dots += *at == '.';
    for (size_t i = 0; i < options->count; i++) {
        struct slice candidate = first_parts(options->table[i].name, dots);
        size_t far = edits(name, candidate);
        if (far >= best) continue;
        best = far;
        memcpy(nearest, candidate.data, candidate.size);
        nearest[candidate.size] = '\0';
    }
    return best <= allowed;
}

enum err options_set(const struct options *options, void *base, const char *name, const char *text,
                     struct why *why) {
    const struct option *option = options_find(options, name);
    if (option) return option_set(option, base, text, why);
    char nearest[OPTION_NAME_BYTES];
    if (!options_nearest(options, name, nearest))
        return why_set(why, ERR_ABSENT, "%.100s: there is no such option", name);
    return why_set(why, ERR_ABSENT, "%.100s: there is no such option; did you mean %s?", name,
                   nearest);
}

/* ---- all of them ---- */

void options_default(const struct options *options, void *base) {
    struct why why;
    for (size_t i = 0; i < options->count; i++) {
        const struct option *option = &options->table[i];
        if (option->fallback == NULL) continue;
        enum err err = option_set(option, base, option->fallback, &why);
        ASSERT(err == OK);
    }
}

void options_close(const struct options *options, void *base) {
    for (size_t i = 0; i < options->count; i++) {
        void *at = field(&options->table[i], base);
        if (options->table[i].type == OPTION_SECRET) secret_close(at);
        if (options->table[i].type != OPTION_STRING) continue;
        mem_free(*(char **)at);
        *(char **)at = NULL;
    }
}

enum err options_check(const struct options *options, const bool *seen, struct why *why) {
    for (size_t i = 0; i < options->count; i++)
        if (options->table[i].required && !seen[i])
            return why_set(why, ERR_CONFIG, "%s is missing: %s", options->table[i].name,
                           options->table[i].help);
    return OK;
}

void option_format(const struct option *option, const void *base, struct buf *out) {
    const void *at = (const char *)base + option->offset;
    switch (option->type) {
    case OPTION_BOOL: buf_printf(out, "%s", *(const bool *)at ? "true" : "false"); break;
    case OPTION_INT:
    case OPTION_SIZE:
    case OPTION_DURATION:
        if (option->zero && *(const int64_t *)at == 0)
            buf_printf(out, "%s", option->zero);
        else
            put_number(option, *(const int64_t *)at, out);
        break;
    case OPTION_STRING:
        if (*(char *const *)at) buf_printf(out, "%s", *(char *const *)at);
        break;
    case OPTION_CHOICE: buf_add(out, choice_at(option->choices, *(const int *)at)); break;
    case OPTION_SECRET:
        if (secret_is_set(at)) buf_printf(out, "(set)");
        break;
    }
}
