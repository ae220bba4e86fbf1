/* xstream_group_commands.c -- XGROUP, XACK, XPENDING. Behaviour and texts follow Redis 7.0
 * (t_stream.c).
 */
#include "server/block.h"
#include "server/types.h"
#include "server/xstream_args.h"

#include "lib/base/mem.h"

/* ---- XGROUP ---- */

static bool no_stream(struct client *c) {
    reply_error(c, "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you "
                   "may want to use the MKSTREAM option to create an empty stream automatically.");
    return false;
}

static bool no_group(struct client *c) {
    reply_error(c, "NOGROUP No such consumer group '%.*s' for key name '%.*s'",
                (int)c->argv[3].size, (const char *)c->argv[3].data, (int)c->argv[2].size,
                (const char *)c->argv[2].data);
    return false;
}

/* The stream of XGROUP and, if it must exist, the group. */
static bool find(struct client *c, struct xstream **stream, struct xstream_group **group) {
    struct typed t;
    enum found found = typed_write(c, c->argv[2], TYPE_STREAM, &t);
    if (found == WRONG_TYPE) return false;
    if (found == ABSENT) return no_stream(c);
    *stream = t.value.ptr;
    *group = xstream_group_find(*stream, c->argv[3]);
    return true;
}

/* [MKSTREAM] [ENTRIESREAD n]; MKSTREAM NULL: is no option here. */
static bool options(struct client *c, bool *mkstream, int64_t *entries_read) {
    *entries_read = ENTRIES_READ_UNKNOWN;
    for (int i = 5; i < c->argc; i++) {
        if (mkstream && arg_is(c->argv[i], "mkstream")) {
            *mkstream = true;
        } else if (arg_is(c->argv[i], "entriesread") && i + 1 < c->argc) {
            if (!arg_int(c, c->argv[++i], entries_read, NULL)) return false;
            if (*entries_read >= 0 || *entries_read == ENTRIES_READ_UNKNOWN) continue;
            reply_error(c, "ERR value for ENTRIESREAD must be positive or -1");
            return false;
        } else {
            reply_unknown_subcommand(c);
            return false;
        }
    }
    return true;
}

/* The group's new place: an id, or "$" for the last one of STREAM (may be NULL). */
static bool place(struct client *c, const struct xstream *stream, bool ends, struct stream_id *id) {
    if (!slice_equal(c->argv[4], SLICE("$")))
        return ends ? arg_stream_id_or_end(c, c->argv[4], 0, id) : arg_stream_id(c, c->argv[4], id);
    *id = stream ? stream->last_id : STREAM_ID_MIN;
    return true;
}

static void xgroup_create(struct client *c) {
    bool mkstream = false;
    int64_t entries_read;
    struct typed t;
    struct stream_id id;
    if (!options(c, &mkstream, &entries_read)) return;
    enum found found = typed_write(c, c->argv[2], TYPE_STREAM, &t);
    if (found == WRONG_TYPE) return;
    if (found == ABSENT && !mkstream) {
        (void)no_stream(c);
        return;
    }
    if (c->argc > 8) {
        reply_unknown_subcommand(c);
        return;
    }
    struct xstream *stream = found == FOUND ? t.value.ptr : NULL;
    if (!place(c, stream, false, &id)) return;
    if (stream == NULL) {
        struct value value = value_container(TYPE_STREAM, ENC_STREAM, stream = xstream_new());
        key_add(c, c->argv[2], &value);
        key_changed(c, c->argv[2], NOTIFY_NONE, NULL, 0);
    }
    if (xstream_group_add(stream, c->argv[3], id, entries_read)) {
        reply_ok(c);
        xstream_noted(c, c->argv[2], "xgroup-create", 1);
    } else {
        reply_error(c, "BUSYGROUP Consumer Group name already exists");
    }
}

static void xgroup_setid(struct client *c) {
    struct xstream *stream;
    struct xstream_group *group;
    struct stream_id id;
    int64_t entries_read;
    if (!options(c, NULL, &entries_read) || !find(c, &stream, &group)) return;
    if (group == NULL) {
        (void)no_group(c);
        return;
    }
    if (c->argc != 5 && c->argc != 7) {
        reply_unknown_subcommand(c);
        return;
    }
    if (!place(c, stream, true, &id)) return;
    group->last_id = id;
    group->entries_read = entries_read;
    reply_ok(c);
    xstream_noted(c, c->argv[2], "xgroup-setid", 1);
}

static void xgroup_destroy(struct client *c) {
    struct xstream *stream;
    struct xstream_group *group;
    if (!find(c, &stream, &group)) return;
    if (group) {
        xstream_group_remove(stream, group);
        xstream_noted(c, c->argv[2], "xgroup-destroy", 1);
        block_key_ready(c->db, c->argv[2]); /* those that wait for the group get an error */
    }
    reply_int(c, group != NULL);
}

static void xgroup_createconsumer(struct client *c) {
    struct xstream *stream;
    struct xstream_group *group;
    if (!find(c, &stream, &group)) return;
    if (group == NULL) {
        (void)no_group(c);
        return;
    }
    bool created = xstream_consumer_add(group, c->argv[4], c->engine->now_ms) != NULL;
    if (created) xstream_noted(c, c->argv[2], "xgroup-createconsumer", 1);
    reply_int(c, created);
}

static void xgroup_delconsumer(struct client *c) {
    struct xstream *stream;
    struct xstream_group *group;
    if (!find(c, &stream, &group)) return;
    if (group == NULL) {
        (void)no_group(c);
        return;
    }
    struct xstream_consumer *consumer = xstream_consumer_find(group, c->argv[4]);
    size_t pending = consumer ? consumer->pending.count : 0;
    if (consumer) {
        xstream_consumer_remove(group, consumer);
        xstream_noted(c, c->argv[2], "xgroup-delconsumer", 1);
    }
    reply_int(c, (int64_t)pending);
}

static void xgroup_help(struct client *c) {
    static const char *const help[] = {
        "CREATE <key> <groupname> <id|$> [option]",
        "    Make a consumer group that reads on behind the id. Options are:",
        "    * MKSTREAM",
        "      Make an empty stream if the key does not exist.",
        "    * ENTRIESREAD entries_read",
        "      What the group's counter of entries read begins with (internal).",
        "CREATECONSUMER <key> <groupname> <consumer>",
        "    Make a consumer in the group.",
        "DELCONSUMER <key> <groupname> <consumer>",
        "    Remove the consumer with what is pending for it.",
        "DESTROY <key> <groupname>",
        "    Remove the group.",
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
        "    Move the group, and set its counter of entries read.",
        NULL};
    reply_help(c, help);
}

/* ---- XACK ---- */

static void xack(struct client *c) {
    struct typed t;
    enum found found = typed_read(c, c->argv[1], TYPE_STREAM, &t);
    if (found == WRONG_TYPE) return;
    struct xstream_group *group =
        found == FOUND ? xstream_group_find(t.value.ptr, c->argv[2]) : NULL;
    if (group == NULL) {
        reply_int(c, 0);
        return;
    }
    struct stream_id *ids = arg_stream_ids(c, c->argc - 3, c->argv + 3);
    if (ids == NULL) return;
    typed_edit(c, &t);
    uint64_t confirmed = 0;
    for (int i = 0; i < c->argc - 3; i++) confirmed += xstream_pending_drop(group, ids[i]);
    mem_free(ids);
    xstream_noted(c, c->argv[1], NULL, confirmed);
    reply_int(c, (int64_t)confirmed);
}

/* ---- XPENDING ---- */

struct pending_query {
    int64_t idle_ms, count;
    struct stream_id start, end;
    const struct slice *consumer; /* NULL: of all */
};

static bool query_read(struct client *c, struct pending_query *q) {
    int at = 3;
    *q = (struct pending_query){0};
    if (c->argc != 3 && (c->argc < 6 || c->argc > 9)) {
        reply_syntax_error(c);
        return false;
    }
    if (c->argc == 3) return true;
    if (arg_is(c->argv[3], "idle")) {
        if (!arg_int(c, c->argv[4], &q->idle_ms, NULL)) return false;
        if (c->argc < 8) {
            reply_syntax_error(c);
            return false;
        }
        at = 5;
    }
    if (!arg_int(c, c->argv[at + 2], &q->count, NULL)) return false;
    if (!arg_stream_start(c, c->argv[at], &q->start)) return false;
    if (!arg_stream_end(c, c->argv[at + 1], &q->end)) return false;
    if (at + 3 < c->argc) q->consumer = &c->argv[at + 3];
    return true;
}

static void reply_summary(struct client *c, const struct xstream_group *group) {
    struct stream_id first, last;
    reply_array(c, 4);
    reply_int(c, (int64_t)group->pending.count);
    if (group->pending.count == 0) {
        reply_null(c);
        reply_null(c);
        reply_null_array(c);
        return;
    }
    (void)idtree_from(&group->pending, STREAM_ID_MIN, &first);
    (void)idtree_up_to(&group->pending, STREAM_ID_MAX, &last);
    reply_stream_id(c, first);
    reply_stream_id(c, last);
    size_t mark = reply_later(c), count = 0;
    for (size_t i = 0; i < group->consumers.count; i++) {
        const struct xstream_consumer *consumer = xstream_consumer_at(&group->consumers, i);
        if (consumer->pending.count == 0) continue;
        reply_array(c, 2);
        reply_bulk(c, consumer->named.name);
        reply_bulk_int(c, (int64_t)consumer->pending.count);
        count++;
    }
    reply_later_array(c, mark, count);
}

static int64_t idle_ms(const struct client *c, const struct xstream_pending *pending) {
    return (int64_t)((uint64_t)c->engine->now_ms - (uint64_t)pending->delivered_ms);
}

static void reply_pending(struct client *c, const struct idtree *tree,
                          const struct pending_query *q) {
    struct stream_id at = q->start;
    size_t mark = reply_later(c);
    int64_t count = 0;
    for (const struct xstream_pending *p;
         count < q->count && (p = idtree_from(tree, at, &at)) != NULL;) {
        if (stream_id_compare(at, q->end) > 0) break;
        int64_t idle = idle_ms(c, p);
        if (!q->idle_ms || idle >= q->idle_ms) {
            reply_array(c, 4);
            reply_stream_id(c, at);
            reply_bulk(c, p->consumer->named.name);
            reply_int(c, idle < 0 ? 0 : idle);
            reply_int(c, (int64_t)p->deliveries);
            count++;
        }
        if (!stream_id_next(&at)) break;
    }
    reply_later_array(c, mark, (size_t)count);
}

static void xpending(struct client *c) {
    struct pending_query q;
    struct typed t;
    if (!query_read(c, &q)) return;
    enum found found = typed_read(c, c->argv[1], TYPE_STREAM, &t);
    if (found == WRONG_TYPE) return;
    const struct xstream_group *group =
        found == FOUND ? xstream_group_find(t.value.ptr, c->argv[2]) : NULL;
    if (group == NULL) {
        reply_no_such_group(c, c->argv[1], c->argv[2], "");
        return;
    }
    if (c->argc == 3) {
        reply_summary(c, group);
        return;
    }
    const struct xstream_consumer *consumer =
        q.consumer ? xstream_consumer_find(group, *q.consumer) : NULL;
    if (q.consumer && consumer == NULL)
        reply_empty_array(c);
    else
        reply_pending(c, consumer ? &consumer->pending : &group->pending, &q);
}

void xstream_group_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"xgroup|create", xgroup_create},
        {"xgroup|setid", xgroup_setid},
        {"xgroup|destroy", xgroup_destroy},
        {"xgroup|createconsumer", xgroup_createconsumer},
        {"xgroup|delconsumer", xgroup_delconsumer},
        {"xgroup|help", xgroup_help},
        {"xack", xack},
        {"xpending", xpending},
    };
    command_bind(engine, bindings, COUNT(bindings));
}
