/* pattern.c -- glob patterns, without recursion and with a limit on steps.
 *
 * '*' any bytes, '?' one byte, [a-z] [^a-z] a class, '\' takes the next byte as it is. As
 * stringmatchlen in Redis 7.0 util.c, with its answers for patterns that are cut short; nothing but
 * the empty pattern matches the empty text.
 */
#include "server/args.h"

#include <ctype.h>

#define STEPS_MAX (1u << 22)

struct reader {
    struct slice pattern;
    size_t at;
    bool nocase;
};

static int fold(const struct reader *r, uint8_t byte) {
    return r->nocase ? tolower(byte) : byte;
}

/* A class begins at the '[' at r->at; whether BYTE is in it. Moves behind it. */
static bool match_class(struct reader *r, uint8_t byte) {
    const uint8_t *p = r->pattern.data;
    size_t end = r->pattern.size, i = r->at + 1;
    bool negated = i < end && p[i] == '^', hit = false;
    if (negated) i++;
    int want = fold(r, byte);
    for (;; i++) {
        if (i < end && p[i] == '\\' && end - i >= 2) {
            i++;
            if (p[i] == byte) hit = true;
        } else if (i < end && p[i] == ']') {
            i++;
            break;
        } else if (i >= end) {
            break;
        } else if (end - i >= 3 && p[i + 1] == '-') {
            int low = fold(r, p[i]), high = fold(r, p[i + 2]);
            if (low > high) {
                int swap = low;
                low = high;
                high = swap;
            }
            if (want >= low && want <= high) hit = true;
            i += 2;
        } else if (fold(r, p[i]) == want) {
            hit = true;
        }
    }
    r->at = i;
    return hit != negated;
}

/* One element of the pattern that is not '*' against BYTE; moves behind the element. */
static bool match_one(struct reader *r, uint8_t byte) {
    uint8_t c = r->pattern.data[r->at];
    if (c == '[') return match_class(r, byte);
    if (c == '?') {
        r->at++;
        return true;
    }
    if (c == '\\' && r->pattern.size - r->at >= 2) c = r->pattern.data[++r->at];
    r->at++;
    return fold(r, c) == fold(r, byte);
}

bool pattern_matches(struct slice pattern, struct slice text, bool nocase) {
    if (text.size == 0) return pattern.size == 0;
    struct reader r = {pattern, 0, nocase};
    size_t at = 0, star = SIZE_MAX,
           star_at = 0; /* the last '*': behind it, and where in the text it ends */
    for (unsigned steps = 0; at < text.size || r.at < pattern.size;) {
        if (++steps > STEPS_MAX) return false;
        if (r.at < pattern.size && pattern.data[r.at] == '*') {
            star = ++r.at;
            star_at = at;
            if (star == pattern.size) return true;
            continue;
        }
        if (r.at < pattern.size && at < text.size && match_one(&r, text.data[at])) {
            at++;
            continue;
        }
        if (star == SIZE_MAX || star_at >= text.size) return false;
        r.at = star;
        at = ++star_at;
    }
    return true;
}
