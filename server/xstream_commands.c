/* xstream_commands.c -- XADD, XLEN, XRANGE, XREVRANGE, XDEL, XTRIM, XSETID. Behaviour and texts
 * follow Redis 7.0 (t_stream.c).
 *
 * What leaves for replicas says what happened: the id that was chosen, and instead of "about so
 * many" exactly those that stayed.
 */
#include "server/block.h"
#include "server/types.h"
#include "server/xstream_args.h"

#include "lib/base/mem.h"

#define LIMIT_NODES 100 /* an approximate trimming looks at so many nodes */

/* What XADD and XTRIM are asked for before the id. */
struct options {
    struct xstream_trim trim;
    bool trims, no_create;
    bool has_id, any_seq; /* has_id: not "*"; any_seq: "ms-*" */
    struct stream_id id;
    int trim_at; /* argument of the length or the id to keep */
    int id_at;
};

/* MAXLEN or MINID at argument AT with what follows; the last argument taken, or 0. */
static int read_trim(struct client *c, int at, struct options *o) {
    int64_t length = 0;
    bool by_id = arg_is(c->argv[at], "minid");
    if (o->trims) {
        reply_error(c, "ERR syntax error, MAXLEN and MINID options at the same time are not "
                       "compatible");
        return 0;
    }
    o->trim = (struct xstream_trim){.by_id = by_id, .limit = o->trim.limit};
    bool more = at + 2 < c->argc;
    if (more && slice_equal(c->argv[at + 1], SLICE("~"))) {
        o->trim.approximately = true;
        at++;
    } else if (more && slice_equal(c->argv[at + 1], SLICE("="))) {
        at++;
    }
    at++;
    if (by_id ? !arg_stream_id(c, c->argv[at], &o->trim.min_id)
              : !arg_int(c, c->argv[at], &length, NULL))
        return 0;
    if (length < 0) {
        reply_error(c, "ERR The MAXLEN argument must be >= 0.");
        return 0;
    }
    o->trim.length = (uint64_t)length;
    o->trims = true;
    o->trim_at = at;
    return at;
}

static int read_limit(struct client *c, int at, struct options *o) {
    int64_t limit;
    if (!arg_int(c, c->argv[at + 1], &limit, NULL)) return 0;
    if (limit < 0) {
        reply_error(c, "ERR The LIMIT argument must be >= 0.");
        return 0;
    }
    o->trim.limit = (uint64_t)limit;
    return at + 1;
}

static bool options_fit(struct client *c, struct options *o, bool adds, bool limited) {
    const char *error = NULL;
    if (o->trim.limit && !o->trims)
        error = "LIMIT cannot be used without specifying a trimming strategy";
    else if (!adds && !o->trims)
        error = "XTRIM must be called with a trimming strategy";
    else if (c->flags & (CLIENT_MASTER | CLIENT_LOADING | CLIENT_IMPORT_SOURCE))
        o->trim.limit = 0; /* what a source says has been limited already */
    else if (limited && !o->trim.approximately)
        error = "LIMIT cannot be used without the special ~ option";
    else if (!limited && o->trim.approximately) {
        int64_t entries = limits_of(c)->stream_node_max_entries;
        o->trim.limit = entries <= 0                      ? 10000
                        : entries > 1000000 / LIMIT_NODES ? 1000000
                                                          : (uint64_t)entries * LIMIT_NODES;
    }
    if (error) reply_error(c, "ERR syntax error, %s", error);
    return error == NULL;
}

static bool options_read(struct client *c, bool adds, struct options *o) {
    bool limited = false;
    *o = (struct options){0};
    int i = 2;
    for (; i < c->argc; i++) {
        bool more = i + 1 < c->argc;
        if (adds && slice_equal(c->argv[i], SLICE("*"))) break;
        if (more && (arg_is(c->argv[i], "maxlen") || arg_is(c->argv[i], "minid"))) {
            if ((i = read_trim(c, i, o)) == 0) return false;
        } else if (more && arg_is(c->argv[i], "limit")) {
            if ((i = read_limit(c, i, o)) == 0) return false;
            limited = true;
        } else if (adds && arg_is(c->argv[i], "nomkstream")) {
            o->no_create = true;
        } else if (adds) {
            if (!arg_stream_new_id(c, c->argv[i], &o->id, &o->any_seq)) return false;
            o->has_id = true;
            break;
        } else {
            reply_syntax_error(c);
            return false;
        }
    }
    o->id_at = i;
    return options_fit(c, o, adds, limited);
}

/* Leave for replicas with the exact trimming, and with ID where XADD had to choose. */
static void propagate_exactly(struct client *c, const struct options *o,
                              const struct xstream *stream, const struct stream_id *id) {
    char text[STREAM_ID_TEXT], kept_text[STREAM_ID_TEXT];
    bool chosen = id && (!o->has_id || o->any_seq);
    if (!chosen && !(o->trims && o->trim.approximately)) return;
    struct slice *argv = mem_dup(c->argv, (size_t)c->argc * sizeof *argv);
    if (o->trims && o->trim.approximately) {
        struct stream_id first = STREAM_ID_MAX;
        struct xstream_iter iter;
        struct xstream_entry entry;
        xstream_iter_init(&iter, stream, STREAM_ID_MIN, STREAM_ID_MAX, false);
        iter.with_deleted = true;
        if (o->trim.by_id && xstream_next(&iter, &entry)) first = entry.id;
        argv[o->trim_at - 1] = SLICE("=");
        argv[o->trim_at] =
            o->trim.by_id
                ? xstream_id_text(kept_text, first)
                : slice_from(kept_text, number_write_int(kept_text, (int64_t)stream->length));
    }
    if (chosen) argv[o->id_at] = xstream_id_text(text, *id);
    propagate_instead(c, c->argc, argv);
    mem_free(argv);
}

/* ---- XADD ---- */

static struct stream_id id_of_now(const struct client *c, const struct xstream *stream) {
    struct stream_id now = {(uint64_t)c->engine->now_ms, 0};
    if (now.ms > stream->last_id.ms) return now;
    now = stream->last_id;
    (void)stream_id_next(&now);
    return now;
}

/* The id of the new entry; false with the error replied. */
static bool choose_id(struct client *c, const struct options *o, const struct xstream *stream,
                      struct stream_id *id) {
    if (stream_id_compare(stream->last_id, STREAM_ID_MAX) == 0) {
        reply_error(c, "ERR The stream has exhausted the last possible ID, "
                       "unable to add more items");
        return false;
    }
    *id = o->has_id ? o->id : id_of_now(c, stream);
    if (o->any_seq && id->ms == stream->last_id.ms) {
        *id = stream->last_id;
        if (id->seq < UINT64_MAX) id->seq++;
    }
    if (stream_id_compare(*id, stream->last_id) > 0) return true;
    reply_error(c, "ERR The ID specified in XADD is equal or smaller than "
                   "the target stream top item");
    return false;
}

static bool xadd_arguments(struct client *c, struct options *o) {
    if (!options_read(c, true, o)) return false;
    int left = c->argc - o->id_at - 1;
    if (left < 2 || left % 2) {
        reply_wrong_arity(c);
        return false;
    }
    if (o->has_id && !o->any_seq && stream_id_compare(o->id, STREAM_ID_MIN) == 0) {
        reply_error(c, "ERR The ID specified in XADD must be greater than 0-0");
        return false;
    }
    return true;
}

static void xadd(struct client *c) {
    struct options o;
    struct typed t;
    struct stream_id id;
    if (!xadd_arguments(c, &o)) return;
    const struct slice key = c->argv[1], *argv = c->argv + o.id_at + 1;
    int64_t fields = (c->argc - o.id_at - 1) / 2;
    enum found found = typed_write(c, key, TYPE_STREAM, &t);
    if (found == WRONG_TYPE) return;
    if (found == ABSENT && o.no_create) {
        reply_null(c);
        return;
    }
    struct xstream empty = {0}, *stream = found == FOUND ? t.value.ptr : &empty;
    if (!choose_id(c, &o, stream, &id)) return;
    if (!xstream_takes(argv, fields)) {
        reply_error(c, "ERR Elements are too large to be stored");
        return;
    }
    if (found == ABSENT) {
        struct value value = value_container(TYPE_STREAM, ENC_STREAM, stream = xstream_new());
        key_add(c, key, &value);
    }
    xstream_append(stream, limits_of(c), id, argv, fields);
    reply_stream_id(c, id);
    key_changed(c, key, NOTIFY_STREAM, "xadd", 1);
    if (o.trims && xstream_trim(stream, &o.trim) > 0) xstream_noted(c, key, "xtrim", 0);
    propagate_exactly(c, &o, stream, &id);
    block_key_ready(c->db, key);
}

/* ---- the others ---- */

static void xtrim(struct client *c) {
    struct options o;
    struct typed t;
    if (!options_read(c, false, &o)) return;
    enum found found = typed_write(c, c->argv[1], TYPE_STREAM, &t);
    if (found == ABSENT) reply_int(c, 0);
    if (found != FOUND) return;
    uint64_t deleted = xstream_trim(t.value.ptr, &o.trim);
    if (deleted > 0) {
        key_changed(c, c->argv[1], NOTIFY_STREAM, "xtrim", deleted);
        propagate_exactly(c, &o, t.value.ptr, NULL);
    }
    reply_int(c, (int64_t)deleted);
}

static void xlen(struct client *c) {
    struct typed t;
    enum found found = typed_read(c, c->argv[1], TYPE_STREAM, &t);
    if (found == WRONG_TYPE) return;
    reply_int(c, found == FOUND ? (int64_t)((const struct xstream *)t.value.ptr)->length : 0);
}

static bool count_option(struct client *c, int64_t *count) {
    for (int i = 4; i < c->argc; i += 2) {
        if (i + 1 >= c->argc || !arg_is(c->argv[i], "count")) {
            reply_syntax_error(c);
            return false;
        }
        if (!arg_int(c, c->argv[i + 1], count, NULL)) return false;
        if (*count < 0) *count = 0;
    }
    return true;
}

static void range(struct client *c, bool backward) {
    struct stream_id start, end;
    struct typed t;
    int64_t count = -1;
    if (!arg_stream_start(c, c->argv[backward ? 3 : 2], &start) ||
        !arg_stream_end(c, c->argv[backward ? 2 : 3], &end) || !count_option(c, &count))
        return;
    enum found found = typed_read(c, c->argv[1], TYPE_STREAM, &t);
    if (found == WRONG_TYPE) return;
    if (found == ABSENT) {
        reply_empty_array(c);
    } else if (count == 0) {
        reply_null_array(c);
    } else {
        reply_stream_range(c, t.value.ptr, start, end, count < 0 ? 0 : (uint64_t)count, backward);
    }
}

static void xrange(struct client *c) {
    range(c, false);
}

static void xrevrange(struct client *c) {
    range(c, true);
}

static void xdel(struct client *c) {
    struct typed t;
    enum found found = typed_write(c, c->argv[1], TYPE_STREAM, &t);
    if (found == ABSENT) reply_int(c, 0);
    if (found != FOUND) return;
    struct stream_id *ids = arg_stream_ids(c, c->argc - 2, c->argv + 2);
    if (ids == NULL) return;
    struct xstream *stream = t.value.ptr;
    uint64_t deleted = 0;
    bool first = false;
    for (int i = 0; i < c->argc - 2; i++) {
        if (!xstream_delete(stream, ids[i])) continue;
        if (stream_id_compare(ids[i], stream->first_id) == 0) first = true;
        if (stream_id_compare(ids[i], stream->max_deleted_id) > 0) stream->max_deleted_id = ids[i];
        deleted++;
    }
    mem_free(ids);
    if (first || (deleted > 0 && stream->length == 0)) xstream_refresh_first(stream);
    if (deleted > 0) key_changed(c, c->argv[1], NOTIFY_STREAM, "xdel", deleted);
    reply_int(c, (int64_t)deleted);
}

/* [ENTRIESADDED n] [MAXDELETEDID id] of XSETID. */
static bool xsetid_options(struct client *c, struct stream_id id, int64_t *added,
                           struct stream_id *max_deleted) {
    for (int i = 3; i < c->argc; i += 2) {
        bool more = i + 1 < c->argc;
        const char *error = NULL;
        if (more && arg_is(c->argv[i], "entriesadded")) {
            if (!arg_int(c, c->argv[i + 1], added, NULL)) return false;
            if (*added < 0) error = "ERR entries_added must be positive";
        } else if (more && arg_is(c->argv[i], "maxdeletedid")) {
            if (!arg_stream_id(c, c->argv[i + 1], max_deleted)) return false;
            if (stream_id_compare(id, *max_deleted) < 0)
                error = "ERR The ID specified in XSETID is smaller than the provided "
                        "max_deleted_entry_id";
        } else {
            error = "ERR syntax error";
        }
        if (error == NULL) continue;
        reply_error(c, "%s", error);
        return false;
    }
    return true;
}

static void xsetid(struct client *c) {
    struct stream_id id, last, max_deleted = STREAM_ID_MIN;
    int64_t added = -1;
    struct typed t;
    if (!arg_stream_id(c, c->argv[2], &id) || !xsetid_options(c, id, &added, &max_deleted)) return;
    enum found found = typed_write(c, c->argv[1], TYPE_STREAM, &t);
    if (found == ABSENT) reply_no_such_key(c);
    if (found != FOUND) return;
    struct xstream *stream = t.value.ptr;
    if (xstream_edge(stream, true, &last) && stream_id_compare(id, last) < 0) {
        reply_error(c, "ERR The ID specified in XSETID is smaller than the target stream top item");
        return;
    }
    if (stream->length > 0 && added != -1 && stream->length > (uint64_t)added) {
        reply_error(c, "ERR The entries_added specified in XSETID is smaller than the target "
                       "stream length");
        return;
    }
    stream->last_id = id;
    if (added != -1) stream->entries_added = (uint64_t)added;
    if (stream_id_compare(max_deleted, STREAM_ID_MIN) != 0) stream->max_deleted_id = max_deleted;
    reply_ok(c);
    xstream_noted(c, c->argv[1], "xsetid", 1);
}

void xstream_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"xadd", xadd},           {"xtrim", xtrim}, {"xlen", xlen},     {"xrange", xrange},
        {"xrevrange", xrevrange}, {"xdel", xdel},   {"xsetid", xsetid},
    };
    command_bind(engine, bindings, COUNT(bindings));
}
