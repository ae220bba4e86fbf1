/* xstream_claim.c -- XCLAIM and XAUTOCLAIM: pending entries change hands. Behaviour and texts
 * follow Redis 7.0 (t_stream.c).
 *
 * Each change leaves for replicas as an XCLAIM that says the outcome; the command itself never
 * does. A pending entry that was deleted from the stream is dropped, which leaves as an XCLAIM too:
 * a replica finds no such entry either, and drops it.
 */
#include "server/types.h"
#include "server/xstream_args.h"

#include "lib/base/buf.h"
#include "lib/base/mem.h"

struct claim {
    int64_t min_idle_ms, delivered_ms /* -1: not said */, deliveries /* -1: not said */;
    bool force, just_id;
    struct stream_id last_id;
    int ids_end; /* XCLAIM: argument behind the ids */
    struct xstream_group *group;
    const struct xstream *stream;
    struct xstream_consumer *consumer; /* NULL until the first entry is claimed */
};

/* The group in E, which may be NULL; false with the error replied. */
static bool find(struct client *c, struct entry *e, struct claim *claim) {
    if (e && entry_type(e) != TYPE_STREAM) {
        reply_wrong_type(c);
        return false;
    }
    claim->stream = e ? entry_ptr(e) : NULL;
    claim->group = e ? xstream_group_find(claim->stream, c->argv[2]) : NULL;
    if (claim->group) return true;
    reply_no_such_group(c, c->argv[1], c->argv[2], "");
    return false;
}

/* ---- what both do ---- */

static bool is_idle(const struct client *c, const struct claim *claim,
                    const struct xstream_pending *pending) {
    if (claim->min_idle_ms == 0) return true;
    uint64_t idle = (uint64_t)c->engine->now_ms - (uint64_t)pending->delivered_ms;
    return (int64_t)idle >= claim->min_idle_ms;
}

/* TEXT is the id as the client wrote it, or as we write it. */
static void tell(struct client *c, const struct claim *claim, struct slice text,
                 const struct xstream_pending *pending) {
    xstream_propagate_claim(c, c->argv[1], claim->group, text, pending);
    c->engine->dirty++;
}

/* ID is pending and gone from the stream. */
static void drop(struct client *c, const struct claim *claim, struct stream_id id,
                 struct slice text, const struct xstream_pending *pending) {
    tell(c, claim, text, pending);
    (void)xstream_pending_drop(claim->group, id);
}

/* Give ENTRY to the consumer that the command names, and reply it. */
static void take(struct client *c, struct claim *claim, const struct xstream_entry *entry,
                 struct slice text) {
    if (claim->consumer == NULL)
        claim->consumer = xstream_consumer_seen(c, c->argv[1], claim->group, c->argv[3], NULL);
    bool new = idtree_find(&claim->group->pending, entry->id) == NULL;
    struct xstream_pending *pending =
        xstream_pending_give(claim->group, entry->id, claim->consumer);
    if (new) pending->deliveries = 1;
    pending->delivered_ms = claim->delivered_ms;
    if (claim->deliveries >= 0)
        pending->deliveries = (uint64_t)claim->deliveries;
    else if (!claim->just_id)
        pending->deliveries++;
    if (claim->just_id)
        reply_stream_id(c, entry->id);
    else
        reply_stream_entry(c, entry);
    tell(c, claim, text, pending);
}

/* ---- XCLAIM ---- */

static bool claim_option(struct client *c, int *at, struct claim *claim) {
    struct slice arg = c->argv[*at];
    bool more = *at + 1 < c->argc;
    if (arg_is(arg, "force")) {
        claim->force = true;
    } else if (arg_is(arg, "justid")) {
        claim->just_id = true;
    } else if (more && arg_is(arg, "idle")) {
        if (!arg_int(c, c->argv[++*at], &claim->delivered_ms,
                     "Invalid IDLE option argument for XCLAIM"))
            return false;
        claim->delivered_ms =
            (int64_t)((uint64_t)c->engine->now_ms - (uint64_t)claim->delivered_ms);
    } else if (more && arg_is(arg, "time")) {
        return arg_int(c, c->argv[++*at], &claim->delivered_ms,
                       "Invalid TIME option argument for XCLAIM");
    } else if (more && arg_is(arg, "retrycount")) {
        return arg_int(c, c->argv[++*at], &claim->deliveries,
                       "Invalid RETRYCOUNT option argument for XCLAIM");
    } else if (more && arg_is(arg, "lastid")) {
        return arg_stream_id(c, c->argv[++*at], &claim->last_id);
    } else {
        reply_error(c, "ERR Unrecognized XCLAIM option '%.*s'", (int)arg.size,
                    (const char *)arg.data);
        return false;
    }
    return true;
}

static bool claim_options(struct client *c, struct claim *claim) {
    struct stream_id id;
    int i = 5;
    if (!arg_int(c, c->argv[4], &claim->min_idle_ms, "Invalid min-idle-time argument for XCLAIM"))
        return false;
    if (claim->min_idle_ms < 0) claim->min_idle_ms = 0;
    while (i < c->argc && xstream_id_read(c->argv[i], 0, &id)) i++;
    claim->ids_end = i;
    claim->delivered_ms = claim->deliveries = -1;
    for (; i < c->argc; i++)
        if (!claim_option(c, &i, claim)) return false;
    int64_t now = c->engine->now_ms;
    if (claim->delivered_ms < 0 || claim->delivered_ms > now) claim->delivered_ms = now;
    return true;
}

/* The id in TEXT; true if it was claimed. */
static bool claim_one(struct client *c, struct claim *claim, struct slice text) {
    struct stream_id id;
    struct xstream_entry entry;
    if (!xstream_id_read(text, 0, &id)) return false;
    const struct xstream_pending *pending = idtree_find(&claim->group->pending, id);
    if (!xstream_find(claim->stream, id, &entry)) {
        if (pending) drop(c, claim, id, text, pending);
        return false;
    }
    if (pending ? !is_idle(c, claim, pending) : !claim->force) return false;
    take(c, claim, &entry, text);
    return true;
}

/* LASTID moves the group forward. What a source gives to a member of a group reaches us as such an
 * XCLAIM, which says nothing of entries_read: we count as the source did, at the same place of the
 * same order. (A replica of Redis 7.0 does not; audits would find the difference.) */
static bool move(struct client *c, struct claim *claim) {
    struct stream_id id;
    if (stream_id_compare(claim->last_id, claim->group->last_id) <= 0) return false;
    bool follows = c->flags & (CLIENT_MASTER | CLIENT_LOADING | CLIENT_IMPORT_SOURCE);
    if (follows && claim->ids_end == 6 && xstream_id_read(c->argv[5], 0, &id) &&
        stream_id_compare(id, claim->last_id) == 0)
        xstream_group_advance(claim->stream, claim->group, id);
    else
        claim->group->last_id = claim->last_id;
    return true;
}

static void xclaim(struct client *c) {
    struct claim claim = {0};
    struct entry *e = key_read(c, c->argv[1]);
    if (!find(c, e, &claim) || !claim_options(c, &claim)) return;
    db_edit(c->db, e);
    propagate_nothing(c);
    bool moved = move(c, &claim);
    uint64_t before = c->engine->dirty;
    size_t mark = reply_later(c), count = 0;
    for (int i = 5; i < claim.ids_end; i++) count += claim_one(c, &claim, c->argv[i]);
    if (moved && c->engine->dirty == before) { /* else an XCLAIM has said so */
        xstream_propagate_last_id(c, c->argv[1], claim.group);
        c->engine->dirty++;
    }
    reply_later_array(c, mark, count);
}

/* ---- XAUTOCLAIM ---- */

#define COUNT_USUAL 100
#define ATTEMPTS 10 /* pending entries looked at for each one that may be claimed */
#define COUNT_TOO_HIGH (INT64_C(1) << 36) /* Redis sets aside memory for so many ids, or cannot */

static bool autoclaim_options(struct client *c, struct claim *claim, struct stream_id *start,
                              int64_t *count) {
    *count = COUNT_USUAL;
    if (!arg_int(c, c->argv[4], &claim->min_idle_ms,
                 "Invalid min-idle-time argument for XAUTOCLAIM"))
        return false;
    if (claim->min_idle_ms < 0) claim->min_idle_ms = 0;
    if (!arg_stream_start(c, c->argv[5], start)) return false;
    for (int i = 6; i < c->argc; i++) {
        if (i + 1 < c->argc && arg_is(c->argv[i], "count")) {
            if (!arg_int_range(c, c->argv[++i], 1, INT64_MAX / 16, count, "COUNT must be > 0"))
                return false;
        } else if (arg_is(c->argv[i], "justid")) {
            claim->just_id = true;
        } else {
            reply_syntax_error(c);
            return false;
        }
    }
    claim->delivered_ms = c->engine->now_ms;
    claim->deliveries = -1;
    return true;
}

/* Claim up to COUNT from *AT on, which becomes where to go on, or 0-0; the ids that were dropped go
 * to DROPPED. */
static size_t autoclaim(struct client *c, struct claim *claim, int64_t count, struct stream_id *at,
                        struct buf *dropped) {
    size_t claimed = 0;
    bool more = true;
    struct xstream_entry entry;
    char text[STREAM_ID_TEXT];
    for (int64_t attempts = count * ATTEMPTS; attempts > 0 && count > 0 && more; attempts--) {
        const struct xstream_pending *pending = idtree_from(&claim->group->pending, *at, at);
        if (pending == NULL) break;
        struct stream_id id = *at;
        more = stream_id_next(at);
        if (!xstream_find(claim->stream, id, &entry)) {
            drop(c, claim, id, xstream_id_text(text, id), pending);
            buf_append(dropped, &id, sizeof id);
            count--;
        } else if (is_idle(c, claim, pending)) {
            take(c, claim, &entry, xstream_id_text(text, id));
            claimed++;
            count--;
        }
    }
    if (!more || idtree_from(&claim->group->pending, *at, at) == NULL) *at = STREAM_ID_MIN;
    return claimed;
}

static void reply_dropped(struct client *c, struct buf *dropped) {
    reply_array(c, buf_size(dropped) / sizeof(struct stream_id));
    while (buf_size(dropped) > 0) {
        struct stream_id id;
        memcpy(&id, buf_slice(dropped).data, sizeof id);
        buf_consume(dropped, sizeof id);
        reply_stream_id(c, id);
    }
}

static void xautoclaim(struct client *c) {
    struct claim claim = {0};
    struct stream_id at;
    int64_t count;
    struct entry *e = key_read(c, c->argv[1]); /* first, whatever the options say */
    if (!autoclaim_options(c, &claim, &at, &count) || !find(c, e, &claim)) return;
    if (count >= COUNT_TOO_HIGH) {
        reply_error(c, "ERR Insufficient memory, failed allocating transient memory, "
                       "COUNT too high.");
        return;
    }
    db_edit(c->db, e);
    propagate_nothing(c);
    struct buf dropped = {0};
    char text[STREAM_ID_TEXT];
    reply_array(c, 3);
    size_t mark = reply_later(c);
    size_t claimed = autoclaim(c, &claim, count, &at, &dropped);
    reply_later_array(c, mark, claimed);
    reply_later_bulk(c, mark, xstream_id_text(text, at)); /* in front of the array */
    reply_dropped(c, &dropped);
    buf_close(&dropped);
}

void xstream_claim_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"xclaim", xclaim},
                                                      {"xautoclaim", xautoclaim}};
    command_bind(engine, bindings, COUNT(bindings));
}
