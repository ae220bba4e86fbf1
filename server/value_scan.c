/* value_scan.c -- HSCAN, SSCAN, ZSCAN. Replies and texts follow Redis 7.0 (scanGenericCommand in
 * db.c); cursors are ours (table.h). A small value is given whole, with cursor 0.
 */
#include "server/hash.h"
#include "server/set.h"
#include "server/typed.h"
#include "server/types.h"
#include "server/zset.h"

#include "lib/base/buf.h"

/* What the walk found: RESP goes to the client only after the cursor, so it is collected first. */
struct scan {
    struct client *c;
    struct slice pattern;
    bool filtered;
    struct buf found; /* uint32 size, bytes; again and again */
    size_t count;     /* strings in it */
};

static bool scan_options(struct client *c, struct scan *scan, int64_t *want) {
    *want = 10;
    for (int i = 3; i < c->argc; i += 2) {
        bool more = i + 1 < c->argc;
        if (more && arg_is(c->argv[i], "count")) {
            if (!arg_int(c, c->argv[i + 1], want, NULL)) return false;
            if (*want >= 1) continue;
            reply_syntax_error(c);
            return false;
        }
        if (!more || !arg_is(c->argv[i], "match")) {
            reply_syntax_error(c);
            return false;
        }
        scan->pattern = c->argv[i + 1];
        scan->filtered = !slice_equal(scan->pattern, SLICE("*"));
    }
    return true;
}

static bool wanted(const struct scan *scan, struct slice name) {
    return !scan->filtered || pattern_matches(scan->pattern, name, false);
}

static void keep(struct scan *scan, struct slice text) {
    uint32_t size = (uint32_t)text.size;
    buf_append(&scan->found, &size, sizeof size);
    buf_add(&scan->found, text);
    scan->count++;
}

static void visit_field(void *ctx, struct slice field, struct slice value) {
    if (!wanted(ctx, field)) return;
    keep(ctx, field);
    keep(ctx, value);
}

static void visit_member(void *ctx, struct slice member) {
    if (wanted(ctx, member)) keep(ctx, member);
}

static void visit_scored(void *ctx, struct slice member, double score) {
    char text[NUMBER_TEXT];
    if (!wanted(ctx, member)) return;
    keep(ctx, member);
    keep(ctx, slice_from(text, number_write_double(text, score)));
}

/* A listpack's scores are given as they are stored: whole numbers without exponent. */
static void visit_stored(void *ctx, struct slice member, double score) {
    char text[NUMBER_TEXT];
    int64_t number;
    if (!zset_score_as_int(score, &number)) {
        visit_scored(ctx, member, score);
    } else if (wanted(ctx, member)) {
        keep(ctx, member);
        keep(ctx, slice_from(text, number_write_int(text, number)));
    }
}

static void scan_reply(struct client *c, struct scan *scan, uint64_t cursor) {
    reply_array(c, 2);
    reply_bulk_printf(c, "%llu", (unsigned long long)cursor);
    reply_array(c, scan->count);
    while (buf_size(&scan->found) > 0) {
        uint32_t size;
        memcpy(&size, buf_slice(&scan->found).data, sizeof size);
        buf_consume(&scan->found, sizeof size);
        reply_bulk(c, slice_take(buf_slice(&scan->found), size));
        buf_consume(&scan->found, size);
    }
}

static void value_scan(struct client *c, enum type type) {
    struct typed t;
    uint64_t cursor;
    int64_t want;
    struct scan scan = {.c = c};
    if (!arg_cursor(c, c->argv[2], &cursor)) return;
    enum found found = typed_read(c, c->argv[1], type, &t);
    if (found == WRONG_TYPE) return;
    if (found == ABSENT) {
        scan_reply(c, &scan, 0);
        return;
    }
    if (!scan_options(c, &scan, &want)) return;
    if (type == TYPE_HASH) {
        cursor = hash_scan(&t.value, cursor, (size_t)want, visit_field, &scan);
    } else if (type == TYPE_SET) {
        cursor = set_scan(&t.value, cursor, (size_t)want, visit_member, &scan);
    } else {
        bool stored = t.value.encoding == ENC_LISTPACK;
        cursor =
            zset_scan(&t.value, cursor, (size_t)want, stored ? visit_stored : visit_scored, &scan);
    }
    scan_reply(c, &scan, cursor);
    buf_close(&scan.found);
}

static void hscan(struct client *c) {
    value_scan(c, TYPE_HASH);
}
static void sscan(struct client *c) {
    value_scan(c, TYPE_SET);
}
static void zscan(struct client *c) {
    value_scan(c, TYPE_ZSET);
}

void value_scan_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"hscan", hscan}, {"sscan", sscan}, {"zscan", zscan}};
    command_bind(engine, bindings, COUNT(bindings));
}
