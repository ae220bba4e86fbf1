/* args.c -- arguments of commands: numbers, timeouts, cursors, with the errors of Redis 7.0. */
#include "server/args.h"

#include "server/engine.h"
#include "server/reply.h"

#include <math.h>

bool arg_int(struct client *c, struct slice arg, int64_t *number, const char *error) {
    if (slice_to_int(arg, number)) return true;
    if (error)
        reply_error(c, "ERR %s", error);
    else
        reply_not_an_integer(c);
    return false;
}

bool arg_int_range(struct client *c, struct slice arg, int64_t min, int64_t max, int64_t *number,
                   const char *error) {
    if (!arg_int(c, arg, number, error)) return false;
    if (*number >= min && *number <= max) return true;
    if (error)
        reply_error(c, "ERR %s", error);
    else if (min == 0 && max == INT64_MAX)
        reply_error(c, "ERR value is out of range, must be positive");
    else
        reply_error(c, "ERR value is out of range, value must between %lld and %lld",
                    (long long)min, (long long)max);
    return false;
}

bool arg_double(struct client *c, struct slice arg, double *number, const char *error) {
    if (number_read_double(arg, number)) return true;
    reply_error(c, "ERR %s", error ? error : "value is not a valid float");
    return false;
}

bool arg_long_double(struct client *c, struct slice arg, long double *number, const char *error) {
    if (number_read_long_double(arg, number)) return true;
    reply_error(c, "ERR %s", error ? error : "value is not a valid float");
    return false;
}

bool arg_timeout(struct client *c, struct slice arg, bool milliseconds, int64_t *deadline_ms) {
    int64_t span = 0;
    if (milliseconds) {
        if (!arg_int(c, arg, &span, "timeout is not an integer or out of range")) return false;
    } else {
        long double seconds;
        if (!arg_long_double(c, arg, &seconds, "timeout is not a float or out of range"))
            return false;
        long double ms = ceill(seconds * 1000);
        bool fits = ms <= (long double)INT64_MAX && ms >= (long double)INT64_MIN;
        span = fits ? (int64_t)ms : INT64_MIN; /* refused below, in the words of Redis 7.0 */
    }
    if (span < 0) {
        reply_error(c, "ERR timeout is negative");
        return false;
    }
    if (span > 0 && __builtin_add_overflow(span, c->engine->now_ms, &span)) span = INT64_MAX;
    *deadline_ms = span;
    return true;
}

bool arg_cursor(struct client *c, struct slice arg, uint64_t *cursor) {
    uint64_t sum = 0;
    bool good = true, is_signed = arg.size > 0 && (arg.data[0] == '-' || arg.data[0] == '+');
    for (size_t i = is_signed; good && i < arg.size; i++) {
        uint8_t digit = (uint8_t)(arg.data[i] - '0');
        good = digit <= 9 && !__builtin_mul_overflow(sum, 10u, &sum) &&
               !__builtin_add_overflow(sum, digit, &sum);
    }
    good = good && !(is_signed && arg.size == 1);
    if (!good)
        reply_error(c, "ERR invalid cursor");
    else
        *cursor = is_signed && arg.data[0] == '-' ? 0 - sum : sum;
    return good;
}
