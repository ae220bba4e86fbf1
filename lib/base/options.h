/* options.h -- options as tables: name, type, bounds, default and help in one place, read from text
 * into a struct by offset.
 *
 *     struct gates { int64_t lag_ms; };
 *     static const struct option table[] = {
 *         {.name = "gates.lag", .type = OPTION_DURATION, .offset = offsetof(struct gates, lag_ms),
 *          .fallback = "200ms", .min = 1, .max = 3600000, .live = true,
 *          .help = "The lag at which both sides still count as level."},
 *     };
 *
 * Texts are untrusted. An error says what was found and what was expected:
 *     "gates.lag: found '5 parsecs', expected a duration between 1ms and 1h, such as 200ms"
 */
#ifndef LIB_BASE_OPTIONS_H
#define LIB_BASE_OPTIONS_H

#include "lib/base/buf.h"
#include "lib/base/secret.h"
#include "lib/base/why.h"

#include <stdbool.h>
#include <stdint.h>

enum option_type {
    OPTION_BOOL,     /* bool: true/false, yes/no, on/off */
    OPTION_INT,      /* int64_t */
    OPTION_SIZE,     /* int64_t bytes: 1048576, 100MB, 1.5GB (powers of 1024; also KiB, kb, k) */
    OPTION_DURATION, /* int64_t milliseconds: 200ms, 10s, 5m, 24h, 7d; a bare number is an error,
                        but for 0 */
    OPTION_STRING,   /* char *, owned; NULL when neither set nor defaulted */
    OPTION_CHOICE,   /* int: the place of the word in `choices` */
    OPTION_SECRET,   /* struct secret, from file: or env: */
};

struct option {
    const char *name; /* dotted path */
    enum option_type type;
    size_t offset;        /* of the field in the owner's struct */
    const char *fallback; /* default, as text; NULL: zero */
    int64_t min, max;     /* inclusive; both 0: any that is not negative */
    const char *choices;  /* OPTION_CHOICE: "text|json" */
    const char *zero;     /* a word that means 0 and is outside the bounds: "auto"; NULL: none */
    bool required;
    bool live;           /* may change while running */
    const char *help;    /* one sentence */
    const char *example; /* for the example file when there is no default */
};

struct options {
    const struct option *table;
    size_t count;
    const char *title; /* for the example file */
};

/* Fill the zeroed struct at BASE with the defaults. A default that does not parse is a bug. */
void options_default(const struct options *options, void *base);
void options_close(const struct options *options, void *base); /* frees strings, wipes secrets */

/* NULL when there is none. */
const struct option *options_find(const struct options *options, const char *name);
#define OPTION_NAME_BYTES 96

/* The nearest name, or section's name, into NEAREST (at most 3 edits away, or a third of the
 * length), for "did you mean". False: none is near. */
bool options_nearest(const struct options *options, const char *name,
                     char nearest[OPTION_NAME_BYTES]);

/* Read TEXT into the field of OPTION. On failure the field is as before. */
MUST_CHECK enum err option_set(const struct option *option, void *base, const char *text,
                               struct why *why);
/* By name, with a suggestion when there is none (ERR_ABSENT). */
MUST_CHECK enum err options_set(const struct options *options, void *base, const char *name,
                                const char *text, struct why *why);

/* The value as text that option_set() would read ("(set)" or "" for a secret). */
void option_format(const struct option *option, const void *base, struct buf *out);

/* Every required one is set; SEEN[i] says whether options->table[i] was given. */
MUST_CHECK enum err options_check(const struct options *options, const bool *seen, struct why *why);

/* Helpers for texts that come from elsewhere. */
MUST_CHECK enum err option_parse_size(const char *text, int64_t *bytes, struct why *why);
MUST_CHECK enum err option_parse_duration(const char *text, int64_t *ms, struct why *why);
void option_format_size(int64_t bytes, struct buf *out);
void option_format_duration(int64_t ms, struct buf *out);

#endif
