/* xstream_info.c -- XINFO. Fields and their order follow Redis 7.0 (t_stream.c). */
#include "server/types.h"
#include "server/xstream_args.h"

#define FULL_COUNT 10 /* entries and pending entries that FULL shows if not told */

static void field(struct client *c, const char *name, int64_t number) {
    reply_bulk_text(c, name);
    reply_int(c, number);
}

static void field_id(struct client *c, const char *name, struct stream_id id) {
    reply_bulk_text(c, name);
    reply_stream_id(c, id);
}

/* The stream under the key of XINFO, or NULL with the error replied. */
static const struct xstream *find(struct client *c) {
    struct typed t;
    enum found found = typed_read(c, c->argv[2], TYPE_STREAM, &t);
    if (found == ABSENT) reply_no_such_key(c);
    return found == FOUND ? t.value.ptr : NULL;
}

static void reply_progress(struct client *c, const struct xstream *stream,
                           const struct xstream_group *group) {
    int64_t lag;
    reply_bulk_text(c, "entries-read");
    if (group->entries_read == ENTRIES_READ_UNKNOWN)
        reply_null(c);
    else
        reply_int(c, group->entries_read);
    reply_bulk_text(c, "lag");
    if (xstream_lag(stream, group, &lag))
        reply_int(c, lag);
    else
        reply_null(c);
}

/* ---- XINFO STREAM ---- */

static void reply_edge(struct client *c, const struct xstream *stream, bool last) {
    struct xstream_iter iter;
    struct xstream_entry entry;
    xstream_iter_init(&iter, stream, STREAM_ID_MIN, STREAM_ID_MAX, last);
    if (xstream_next(&iter, &entry))
        reply_stream_entry(c, &entry);
    else
        reply_null(c);
}

/* What is pending, with the consumers' names if it is a group's. */
static void reply_pending(struct client *c, const struct idtree *tree, bool names, int64_t most) {
    struct stream_id at = STREAM_ID_MIN;
    size_t mark = reply_later(c);
    int64_t count = 0;
    for (const struct xstream_pending *p;
         (most == 0 || count < most) && (p = idtree_from(tree, at, &at)) != NULL;) {
        reply_array(c, names ? 4 : 3);
        reply_stream_id(c, at);
        if (names) reply_bulk(c, p->consumer->named.name);
        reply_int(c, p->delivered_ms);
        reply_int(c, (int64_t)p->deliveries);
        count++;
        if (!stream_id_next(&at)) break;
    }
    reply_later_array(c, mark, (size_t)count);
}

static void reply_full_group(struct client *c, const struct xstream *stream,
                             const struct xstream_group *group, int64_t most) {
    reply_map(c, 7);
    reply_bulk_text(c, "name");
    reply_bulk(c, group->named.name);
    field_id(c, "last-delivered-id", group->last_id);
    reply_progress(c, stream, group);
    field(c, "pel-count", (int64_t)group->pending.count);
    reply_bulk_text(c, "pending");
    reply_pending(c, &group->pending, true, most);
    reply_bulk_text(c, "consumers");
    reply_array(c, group->consumers.count);
    for (size_t i = 0; i < group->consumers.count; i++) {
        const struct xstream_consumer *consumer = xstream_consumer_at(&group->consumers, i);
        reply_map(c, 4);
        reply_bulk_text(c, "name");
        reply_bulk(c, consumer->named.name);
        field(c, "seen-time", consumer->seen_ms);
        field(c, "pel-count", (int64_t)consumer->pending.count);
        reply_bulk_text(c, "pending");
        reply_pending(c, &consumer->pending, false, most);
    }
}

static void reply_full(struct client *c, const struct xstream *stream, int64_t most) {
    reply_bulk_text(c, "entries");
    reply_stream_range(c, stream, STREAM_ID_MIN, STREAM_ID_MAX, (uint64_t)most, false);
    reply_bulk_text(c, "groups");
    reply_array(c, stream->groups.count);
    for (size_t i = 0; i < stream->groups.count; i++)
        reply_full_group(c, stream, xstream_group_at(&stream->groups, i), most);
}

/* [FULL [COUNT n]]; *MOST is -1 without FULL. */
static bool full_options(struct client *c, int64_t *most) {
    *most = -1;
    if (c->argc == 3) return true;
    bool good = (c->argc == 4 || c->argc == 6) && arg_is(c->argv[3], "full") &&
                (c->argc == 4 || arg_is(c->argv[4], "count"));
    if (!good) {
        reply_unknown_subcommand(c);
        return false;
    }
    *most = FULL_COUNT;
    if (c->argc == 4) return true;
    if (!arg_int(c, c->argv[5], most, NULL)) return false;
    if (*most < 0) *most = FULL_COUNT;
    return true;
}

static void xinfo_stream(struct client *c) {
    int64_t most;
    const struct xstream *stream = find(c);
    if (stream == NULL || !full_options(c, &most)) return;
    bool full = most >= 0;
    size_t nodes = stream->nodes.count;
    reply_map(c, full ? 9 : 10);
    field(c, "length", (int64_t)stream->length);
    field(c, "radix-tree-keys", (int64_t)nodes);
    field(c, "radix-tree-nodes", (int64_t)nodes + 1);
    field_id(c, "last-generated-id", stream->last_id);
    field_id(c, "max-deleted-entry-id", stream->max_deleted_id);
    field(c, "entries-added", (int64_t)stream->entries_added);
    field_id(c, "recorded-first-entry-id", stream->first_id);
    if (full) {
        reply_full(c, stream, most);
        return;
    }
    field(c, "groups", (int64_t)stream->groups.count);
    reply_bulk_text(c, "first-entry");
    reply_edge(c, stream, false);
    reply_bulk_text(c, "last-entry");
    reply_edge(c, stream, true);
}

/* ---- the others ---- */

static void xinfo_groups(struct client *c) {
    const struct xstream *stream = find(c);
    if (stream == NULL) return;
    reply_array(c, stream->groups.count);
    for (size_t i = 0; i < stream->groups.count; i++) {
        const struct xstream_group *group = xstream_group_at(&stream->groups, i);
        reply_map(c, 6);
        reply_bulk_text(c, "name");
        reply_bulk(c, group->named.name);
        field(c, "consumers", (int64_t)group->consumers.count);
        field(c, "pending", (int64_t)group->pending.count);
        field_id(c, "last-delivered-id", group->last_id);
        reply_progress(c, stream, group);
    }
}

static void xinfo_consumers(struct client *c) {
    const struct xstream *stream = find(c);
    if (stream == NULL) return;
    const struct xstream_group *group = xstream_group_find(stream, c->argv[3]);
    if (group == NULL) {
        reply_error(c, "NOGROUP No such consumer group '%.*s' for key name '%.*s'",
                    (int)c->argv[3].size, (const char *)c->argv[3].data, (int)c->argv[2].size,
                    (const char *)c->argv[2].data);
        return;
    }
    reply_array(c, group->consumers.count);
    for (size_t i = 0; i < group->consumers.count; i++) {
        const struct xstream_consumer *consumer = xstream_consumer_at(&group->consumers, i);
        int64_t idle = (int64_t)((uint64_t)c->engine->now_ms - (uint64_t)consumer->seen_ms);
        reply_map(c, 3);
        reply_bulk_text(c, "name");
        reply_bulk(c, consumer->named.name);
        field(c, "pending", (int64_t)consumer->pending.count);
        field(c, "idle", idle < 0 ? 0 : idle);
    }
}

static void xinfo_help(struct client *c) {
    static const char *const help[] = {"CONSUMERS <key> <groupname>",
                                       "    The consumers of the group.",
                                       "GROUPS <key>",
                                       "    The consumer groups of the stream.",
                                       "STREAM <key> [FULL [COUNT <count>]",
                                       "    What the stream knows of itself.",
                                       NULL};
    reply_help(c, help);
}

void xstream_info_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"xinfo|stream", xinfo_stream},
                                                      {"xinfo|groups", xinfo_groups},
                                                      {"xinfo|consumers", xinfo_consumers},
                                                      {"xinfo|help", xinfo_help}};
    command_bind(engine, bindings, COUNT(bindings));
}
