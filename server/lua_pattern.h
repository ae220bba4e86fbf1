/* lua_pattern.h -- Lua 5.1 patterns, with limits.
 *
 * The matcher of Debian's Lua recurses as deep as the pattern is long and may run for ever; a
 * script could end the process by it (CVE-2024-31228 is the same idea with globs). This one counts
 * its steps, so that the script can be killed, and refuses to nest deeper than PATTERN_DEPTH.
 *
 * Hostile input: both strings are. A pattern ends at its first NUL, as in Lua 5.1. Errors are Lua
 * errors with the words of Lua 5.1.
 */
#ifndef SERVER_LUA_PATTERN_H
#define SERVER_LUA_PATTERN_H

#include <lua.h>

#include <stddef.h>

#define PATTERN_CAPTURES 32
#define PATTERN_DEPTH 200

struct pattern_capture {
    const char *at;
    ptrdiff_t size; /* or one of the two below */
};
enum { CAPTURE_OPEN = -1, CAPTURE_POSITION = -2 };

struct pattern_match {
    lua_State *lua;
    const char *text, *text_end; /* owned by the caller; terminated */
    const char *pattern_end;
    int count, depth;
    struct pattern_capture captures[PATTERN_CAPTURES];
};

void pattern_init(struct pattern_match *m, lua_State *lua, const char *text, size_t size,
                  const char *pattern);
/* Where the match of PATTERN that begins at AT ends, or NULL. */
const char *pattern_match(struct pattern_match *m, const char *at, const char *pattern);
/* Push one capture (I counts from 0), or all; WHOLE: from..to stands in when there is none (NULL
 * from: it does not). Returns how many. */
void pattern_push(struct pattern_match *m, int i, const char *from, const char *to);
int pattern_push_all(struct pattern_match *m, const char *from, const char *to);

#endif
