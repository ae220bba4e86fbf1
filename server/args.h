/* args.h -- read a command's arguments: numbers as Redis 7.0 reads them, with its errors.
 *
 * All reading is of untrusted bytes. The arg_ functions reply the error themselves and answer
 * false.
 */
#ifndef SERVER_ARGS_H
#define SERVER_ARGS_H

#include "lib/base/slice.h"

struct client;

/* ERROR (without "ERR "): what to reply; NULL for the usual sentence of the kind. */
MUST_CHECK bool arg_int(struct client *c, struct slice arg, int64_t *number, const char *error);
MUST_CHECK bool arg_int_range(struct client *c, struct slice arg, int64_t min, int64_t max,
                              int64_t *number, const char *error);
/* Not NaN. "value is not a valid float". */
MUST_CHECK bool arg_double(struct client *c, struct slice arg, double *number, const char *error);
MUST_CHECK bool arg_long_double(struct client *c, struct slice arg, long double *number,
                                const char *error);
/* A timeout in seconds with fraction, as BLPOP takes it, to a deadline on the engine's wall clock
 * in ms; 0: none. Negative, too big: replied. MILLISECONDS: the argument is an integer of ms
 * (WAIT). */
MUST_CHECK bool arg_timeout(struct client *c, struct slice arg, bool milliseconds,
                            int64_t *deadline_ms);
/* A SCAN cursor: an unsigned 64-bit number as strtoul() reads it: empty is 0, and a minus wraps.
 * "invalid cursor". */
MUST_CHECK bool arg_cursor(struct client *c, struct slice arg, uint64_t *cursor);

static inline bool arg_is(struct slice arg, const char *word) {
    return slice_equal_nocase(arg, slice_text(word));
}

/* Without replying. The whole of TEXT, no spaces in front, as Redis's strtod wrappers accept it. */
bool number_read_double(struct slice text, double *number);
bool number_read_long_double(struct slice text, long double *number);
/* Room for NUMBER_TEXT bytes; the size is returned, no NUL is counted. */
#define NUMBER_TEXT 48
#define LONG_DOUBLE_TEXT 5200
size_t number_write_int(char *text, int64_t number);
/* %.17g, but whole numbers without exponent, and inf, -inf, nan: as scores are written. */
size_t number_write_double(char *text, double number);
/* %.17Lf without trailing zeros, as INCRBYFLOAT and HINCRBYFLOAT write. Needs LONG_DOUBLE_TEXT
 * bytes. */
size_t number_write_human(char *text, long double number);

/* The glob patterns of KEYS, SCAN, PSUBSCRIBE, CONFIG GET. Iterative; gives up (false) on patterns
 * that would take more than a fixed number of steps. */
bool pattern_matches(struct slice pattern, struct slice text, bool nocase);

#endif
