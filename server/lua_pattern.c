/* lua_pattern.c -- the matcher of Lua patterns. See lua_pattern.h.
 *
 * A pattern is a row of items: a class with an optional suffix (* + - ?), a capture, %b, %f, a back
 * reference. Items without choice are matched in a loop; one with a choice tries the rest of the
 * pattern by recursion. */
#include "server/lua_pattern.h"

#include "server/script_vm.h"

#include <ctype.h>
#include <string.h>

void pattern_init(struct pattern_match *m, lua_State *lua, const char *text, size_t size,
                  const char *pattern) {
    m->lua = lua;
    m->text = text;
    m->text_end = text + size;
    m->pattern_end = pattern + strlen(pattern);
    m->count = m->depth = 0;
}

/* ---- one character ---- */

static bool in_class(int c, int class) {
    bool yes;
    switch (tolower(class)) {
    case 'a': yes = isalpha(c); break;
    case 'c': yes = iscntrl(c); break;
    case 'd': yes = isdigit(c); break;
    case 'l': yes = islower(c); break;
    case 'p': yes = ispunct(c); break;
    case 's': yes = isspace(c); break;
    case 'u': yes = isupper(c); break;
    case 'w': yes = isalnum(c); break;
    case 'x': yes = isxdigit(c); break;
    case 'z': yes = c == 0; break;
    default: return class == c;
    }
    return isupper(class) ? !yes : yes;
}

/* One behind the item that begins at P (without its suffix). */
static const char *item_end(const struct pattern_match *m, const char *p) {
    char first = *p++;
    if (first == '%') {
        if (p >= m->pattern_end) luaL_error(m->lua, "malformed pattern (ends with '%%')");
        return p + 1;
    }
    if (first != '[') return p;
    if (p < m->pattern_end && *p == '^') p++;
    do { /* a ']' that comes first is a member */
        if (p >= m->pattern_end) luaL_error(m->lua, "malformed pattern (missing ']')");
        if (*p++ == '%' && p < m->pattern_end) p++;
    } while (p >= m->pattern_end || *p != ']');
    return p + 1;
}

/* P at '[', END at its ']'. */
static bool in_set(int c, const char *p, const char *end) {
    bool yes = true;
    if (p[1] == '^') {
        yes = false;
        p++;
    }
    while (++p < end) {
        if (*p == '%') {
            p++;
            if (in_class(c, (unsigned char)*p)) return yes;
        } else if (p[1] == '-' && p + 2 < end) {
            p += 2;
            if ((unsigned char)p[-2] <= c && c <= (unsigned char)*p) return yes;
        } else if ((unsigned char)*p == c)
            return yes;
    }
    return !yes;
}

static bool fits(const struct pattern_match *m, const char *at, const char *item, const char *end) {
    if (at >= m->text_end) return false;
    int c = (unsigned char)*at;
    switch (*item) {
    case '.': return true;
    case '%': return in_class(c, (unsigned char)item[1]);
    case '[': return in_set(c, item, end - 1);
    default: return (unsigned char)*item == c;
    }
}

/* ---- items with more than a character ---- */

static const char *match_balance(const struct pattern_match *m, const char *at, const char *p) {
    if (p + 1 >= m->pattern_end) luaL_error(m->lua, "unbalanced pattern");
    if (at >= m->text_end || *at != p[0]) return NULL;
    int open = 1;
    while (++at < m->text_end) {
        script_vm_tick(m->lua);
        if (*at == p[1]) {
            if (--open == 0) return at + 1;
        } else if (*at == p[0])
            open++;
    }
    return NULL;
}

static const char *expand_most(struct pattern_match *m, const char *at, const char *item,
                               const char *end) {
    ptrdiff_t count = 0;
    while (fits(m, at + count, item, end)) {
        count++;
        script_vm_tick(m->lua);
    }
    for (; count >= 0; count--) {
        const char *found = pattern_match(m, at + count, end + 1);
        if (found) return found;
    }
    return NULL;
}

static const char *expand_least(struct pattern_match *m, const char *at, const char *item,
                                const char *end) {
    for (;;) {
        const char *found = pattern_match(m, at, end + 1);
        if (found) return found;
        if (!fits(m, at, item, end)) return NULL;
        at++;
    }
}

static const char *begin_capture(struct pattern_match *m, const char *at, const char *p,
                                 ptrdiff_t kind) {
    if (m->count >= PATTERN_CAPTURES) luaL_error(m->lua, "too many captures");
    m->captures[m->count++] = (struct pattern_capture){at, kind};
    const char *found = pattern_match(m, at, p);
    if (found == NULL) m->count--;
    return found;
}

static const char *end_capture(struct pattern_match *m, const char *at, const char *p) {
    int i = m->count - 1;
    while (i >= 0 && m->captures[i].size != CAPTURE_OPEN) i--;
    if (i < 0) luaL_error(m->lua, "invalid pattern capture");
    m->captures[i].size = at - m->captures[i].at;
    const char *found = pattern_match(m, at, p);
    if (found == NULL) m->captures[i].size = CAPTURE_OPEN;
    return found;
}

static const char *match_again(const struct pattern_match *m, const char *at, int digit) {
    int i = digit - '1';
    if (i < 0 || i >= m->count || m->captures[i].size == CAPTURE_OPEN)
        luaL_error(m->lua, "invalid capture index");
    ptrdiff_t size = m->captures[i].size;
    if (size == CAPTURE_POSITION || m->text_end - at < size) return NULL;
    return memcmp(m->captures[i].at, at, (size_t)size) == 0 ? at + size : NULL;
}

static bool match_frontier(const struct pattern_match *m, const char *at, const char *p,
                           const char *end) {
    int before = at == m->text ? 0 : (unsigned char)at[-1];
    int here = at < m->text_end ? (unsigned char)*at : 0;
    return !in_set(before, p, end - 1) && in_set(here, p, end - 1);
}

/* ---- all of it ---- */

/* %b, %f and back references. *P moves behind the item; NULL: no match. *OTHER: it is a class. */
static const char *match_escaped(const struct pattern_match *m, const char *at, const char **p,
                                 bool *other) {
    const char *item = *p + 1;
    *other = false;
    if (*item == 'b') {
        *p += 4;
        return match_balance(m, at, item + 1);
    }
    if (*item == 'f') {
        if (item[1] != '[') luaL_error(m->lua, "missing '[' after '%%f' in pattern");
        const char *end = item_end(m, item + 1);
        *p = end;
        return match_frontier(m, at, item + 1, end) ? at : NULL;
    }
    if (isdigit((unsigned char)*item)) {
        *p += 2;
        return match_again(m, at, *item);
    }
    *other = true;
    return at;
}

static const char *match_row(struct pattern_match *m, const char *at, const char *p) {
    while (p < m->pattern_end) {
        script_vm_tick(m->lua);
        if (*p == '(')
            return p[1] == ')' ? begin_capture(m, at, p + 2, CAPTURE_POSITION)
                               : begin_capture(m, at, p + 1, CAPTURE_OPEN);
        if (*p == ')') return end_capture(m, at, p + 1);
        if (*p == '$' && p + 1 == m->pattern_end) return at == m->text_end ? at : NULL;
        if (*p == '%' && p + 1 < m->pattern_end) {
            bool other;
            const char *found = match_escaped(m, at, &p, &other);
            if (found == NULL) return NULL;
            at = found;
            if (!other) continue;
        }
        const char *end = item_end(m, p);
        char suffix = end < m->pattern_end ? *end : '\0';
        bool fit = fits(m, at, p, end);
        if (suffix == '*') return expand_most(m, at, p, end);
        if (suffix == '+') return fit ? expand_most(m, at + 1, p, end) : NULL;
        if (suffix == '-') return expand_least(m, at, p, end);
        if (suffix == '?') {
            const char *found = fit ? pattern_match(m, at + 1, end + 1) : NULL;
            if (found) return found;
            p = end + 1;
            continue;
        }
        if (!fit) return NULL;
        at++;
        p = end;
    }
    return at;
}

const char *pattern_match(struct pattern_match *m, const char *at, const char *pattern) {
    if (m->depth == PATTERN_DEPTH) luaL_error(m->lua, "pattern too complex");
    m->depth++;
    const char *end = match_row(m, at, pattern);
    m->depth--;
    return end;
}

/* ---- captures ---- */

void pattern_push(struct pattern_match *m, int i, const char *from, const char *to) {
    if (i >= m->count) {
        if (i != 0) luaL_error(m->lua, "invalid capture index");
        lua_pushlstring(m->lua, from, (size_t)(to - from));
        return;
    }
    ptrdiff_t size = m->captures[i].size;
    if (size == CAPTURE_OPEN) luaL_error(m->lua, "unfinished capture");
    if (size == CAPTURE_POSITION)
        lua_pushinteger(m->lua, m->captures[i].at - m->text + 1);
    else
        lua_pushlstring(m->lua, m->captures[i].at, (size_t)size);
}

int pattern_push_all(struct pattern_match *m, const char *from, const char *to) {
    int count = m->count == 0 && from ? 1 : m->count;
    luaL_checkstack(m->lua, count, "too many captures");
    for (int i = 0; i < count; i++) pattern_push(m, i, from, to);
    return count;
}
