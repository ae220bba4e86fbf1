/* scan_commands.c -- KEYS and SCAN. (SSCAN, HSCAN, ZSCAN belong to their types.) */
#include "lib/base/mem.h"
#include "server/args.h"
#include "server/engine.h"
#include "server/groups.h"
#include "server/reply.h"

#define EMPTY_STEPS 10 /* buckets that may be looked at for each key that is asked for, as Redis   \
                        */

static void run_keys(struct client *c) {
    size_t mark = reply_later(c), count = 0;
    bool all = slice_equal(c->argv[1], SLICE("*"));
    struct db_iter iter;
    db_iter_init(&iter, c->db);
    for (struct entry *e; (e = db_iter_next(&iter)) != NULL;) {
        if (!all && !pattern_matches(c->argv[1], entry_key(e), false)) continue;
        if (entry_expires(e) && entry_is_expired(c->engine, e) &&
            !(c->flags & CLIENT_IMPORT_SOURCE))
            continue;
        reply_bulk(c, entry_key(e));
        count++;
    }
    reply_later_array(c, mark, count);
}

struct scan {
    struct client *c;
    bool has_pattern; /* else all */
    struct slice pattern;
    const char *type;     /* NULL: all */
    struct entry **found;
    size_t count, room;
};

static void note(void *ctx, struct entry *e) {
    struct scan *scan = ctx;
    if (scan->count == scan->room) {
        scan->room = scan->room ? scan->room * 2 : 64;
        scan->found = mem_realloc(scan->found, scan->room * sizeof(struct entry *));
    }
    scan->found[scan->count++] = e;
}

static bool read_options(struct client *c, struct scan *scan, int64_t *count) {
    static char type[32];
    for (int i = 2; i < c->argc; i++) {
        struct slice word = c->argv[i];
        if (i + 1 >= c->argc) {
            reply_syntax_error(c);
            return false;
        }
        struct slice value = c->argv[++i];
        if (arg_is(word, "count")) {
            if (!arg_int(c, value, count, NULL)) return false;
            if (*count < 1) {
                reply_syntax_error(c);
                return false;
            }
        } else if (arg_is(word, "match")) {
            scan->pattern = value;
            scan->has_pattern = !slice_equal(value, SLICE("*"));
        } else if (arg_is(word, "type")) {
            size_t size = value.size < sizeof type ? value.size : sizeof type - 1;
            memcpy(type, value.data, size);
            type[size] = '\0';
            scan->type = type;
        } else {
            reply_syntax_error(c);
            return false;
        }
    }
    return true;
}

static bool wanted(const struct scan *scan, const struct entry *e) {
    if (scan->has_pattern && !pattern_matches(scan->pattern, entry_key(e), false))
        return false;
    if (scan->type &&
        !slice_equal_nocase(slice_text(scan->type), slice_text(type_name(entry_type(e)))))
        return false;
    return true;
}

static void run_scan(struct client *c) {
    uint64_t cursor;
    int64_t count = 10;
    struct scan scan = {.c = c};
    if (!arg_cursor(c, c->argv[1], &cursor) || !read_options(c, &scan, &count)) return;
    int64_t steps = count > INT64_MAX / EMPTY_STEPS ? INT64_MAX : count * EMPTY_STEPS;
    do cursor = db_scan(c->db, cursor, note, &scan);
    while (cursor != 0 && scan.count < (uint64_t)count && --steps > 0);
    propagate_unwrapped(c);
    reply_array(c, 2);
    reply_bulk_printf(c, "%llu", (unsigned long long)cursor);
    size_t mark = reply_later(c), told = 0;
    for (size_t i = 0; i < scan.count; i++) {
        struct entry *e = scan.found[i];
        if (!wanted(&scan, e)) continue;
        if (entry_expires(e) && entry_is_expired(c->engine, e)) {
            struct slice key = entry_key(e);
            void *copy = mem_dup(key.data, key.size);
            bool there = key_lookup(c, slice_from(copy, key.size)) != NULL;
            mem_free(copy);
            if (!there) continue;
        }
        reply_bulk(c, entry_key(e));
        told++;
    }
    reply_later_array(c, mark, told);
    mem_free(scan.found);
}

void scan_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"keys", run_keys}, {"scan", run_scan}};
    command_bind(engine, bindings, COUNT(bindings));
}
