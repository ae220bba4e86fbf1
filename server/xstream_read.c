/* xstream_read.c -- XREAD and XREADGROUP, at once or when something comes. Behaviour and texts
 * follow Redis 7.0 (t_stream.c, blocked.c).
 *
 * A blocked command reads its arguments again when it is served; "$" was replaced in them by the id
 * that it meant. XREADGROUP never leaves for replicas as such: each entry given leaves as XCLAIM,
 * with NOACK the group's new place as XGROUP SETID.
 */
#include "server/block.h"
#include "server/types.h"
#include "server/xstream_args.h"

#include "lib/base/mem.h"

#define BLOCKED_COUNT 1000 /* what a blocked client gets at most if it did not say */

struct request {
    bool by_group, noack, blocks;
    struct slice group, consumer;
    int64_t count, deadline_ms;
    int first_key, keys; /* in argv; behind the keys their ids */
};

static bool reject(struct client *c, const char *error) {
    reply_error(c, "ERR %s", error);
    return false;
}

static bool for_groups_only(struct client *c, const struct request *r, const char *option) {
    if (r->by_group) return true;
    reply_error(c, "ERR The %s option is only supported by XREADGROUP. You called XREAD instead.",
                option);
    return false;
}

/* The option at argument *AT; false: an error was replied. */
static bool read_option(struct client *c, int *at, struct request *r) {
    const struct slice *arg = &c->argv[*at];
    int more = c->argc - *at - 1;
    if (more && arg_is(*arg, "block")) {
        if (c->flags & CLIENT_SCRIPT) {
            reply_error(c, "ERR %.*s command is not allowed with BLOCK option from scripts",
                        (int)c->argv[0].size, (const char *)c->argv[0].data);
            return false;
        }
        r->blocks = true;
        *at += 1;
        return arg_timeout(c, arg[1], true, &r->deadline_ms);
    }
    if (more && arg_is(*arg, "count")) {
        *at += 1;
        if (!arg_int(c, arg[1], &r->count, NULL)) return false;
        if (r->count < 0) r->count = 0;
        return true;
    }
    if (more && arg_is(*arg, "streams")) {
        r->first_key = *at + 1;
        r->keys = more / 2;
        *at = c->argc;
        if (more % 2 == 0) return true;
        return reject(c, "Unbalanced XREAD list of streams: for each stream key an ID or '$' must "
                         "be specified.");
    }
    if (more >= 2 && arg_is(*arg, "group")) {
        r->group = arg[1];
        r->consumer = arg[2];
        *at += 2;
        return for_groups_only(c, r, "GROUP");
    }
    if (arg_is(*arg, "noack")) {
        r->noack = true;
        return for_groups_only(c, r, "NOACK");
    }
    reply_syntax_error(c);
    return false;
}

static bool request_read(struct client *c, struct request *r) {
    bool grouped = false;
    *r = (struct request){.by_group = strcmp(c->command->name, "xreadgroup") == 0};
    for (int i = 1; i < c->argc; i++) {
        if (arg_is(c->argv[i], "group")) grouped = true;
        if (!read_option(c, &i, r)) return false;
    }
    if (r->first_key == 0) {
        reply_syntax_error(c);
        return false;
    }
    if (r->by_group && !grouped) return reject(c, "Missing GROUP option for XREADGROUP");
    return true;
}

/* ---- which ids are meant ---- */

/* The id behind which stream number I of the request is to be read; STREAM_ID_MAX for ">". */
static bool id_of(struct client *c, const struct request *r, int i, struct stream_id *id) {
    struct typed t;
    struct slice key = c->argv[r->first_key + i], arg = c->argv[r->first_key + r->keys + i];
    enum found found = typed_read(c, key, TYPE_STREAM, &t);
    if (found == WRONG_TYPE) return false;
    if (r->by_group && (found == ABSENT || !xstream_group_find(t.value.ptr, r->group))) {
        reply_no_such_group(c, key, r->group, " in XREADGROUP with GROUP option");
        return false;
    }
    if (slice_equal(arg, SLICE("$"))) {
        if (r->by_group)
            return reject(c, "The $ ID is meaningless in the context of XREADGROUP: you want to "
                             "read the history of this consumer by specifying a proper ID, or use "
                             "the > ID to get new messages. The $ ID would just return an empty "
                             "result set.");
        *id = found == FOUND ? ((const struct xstream *)t.value.ptr)->last_id : STREAM_ID_MIN;
        return true;
    }
    if (slice_equal(arg, SLICE(">"))) {
        *id = STREAM_ID_MAX;
        return r->by_group || reject(c, "The > ID can be specified only when calling XREADGROUP "
                                        "using the GROUP <group> <consumer> option.");
    }
    return arg_stream_id(c, arg, id);
}

static struct stream_id *ids_read(struct client *c, const struct request *r) {
    struct stream_id *ids = NEW_ARRAY(struct stream_id, (size_t)r->keys + 1);
    for (int i = 0; i < r->keys; i++) {
        if (id_of(c, r, i, &ids[i])) continue;
        mem_free(ids);
        return NULL;
    }
    return ids;
}

/* ---- giving entries ---- */

/* New entries from START on to CONSUMER of GROUP. */
static void deliver(struct client *c, struct slice key, const struct xstream *stream,
                    struct xstream_group *group, struct xstream_consumer *consumer,
                    struct stream_id start, uint64_t most, bool noack) {
    struct xstream_iter iter;
    struct xstream_entry entry;
    char text[STREAM_ID_TEXT];
    size_t mark = reply_later(c), count = 0;
    bool moved = false;
    xstream_iter_init(&iter, stream, start, STREAM_ID_MAX, false);
    while ((most == 0 || count < most) && xstream_next(&iter, &entry)) {
        if (stream_id_compare(entry.id, group->last_id) > 0) {
            xstream_group_advance(stream, group, entry.id);
            moved = true;
        }
        reply_stream_entry(c, &entry);
        count++;
        if (noack) continue;
        struct xstream_pending *pending = xstream_pending_give(group, entry.id, consumer);
        pending->delivered_ms = c->engine->now_ms;
        pending->deliveries = 1;
        xstream_propagate_claim(c, key, group, xstream_id_text(text, entry.id), pending);
    }
    if (noack && moved) xstream_propagate_last_id(c, key, group);
    reply_later_array(c, mark, count);
}

/* What is pending for CONSUMER from START on. */
static void repeat(struct client *c, const struct xstream *stream,
                   const struct xstream_consumer *consumer, struct stream_id start, uint64_t most) {
    struct stream_id at = start;
    struct xstream_entry entry;
    size_t mark = reply_later(c), count = 0;
    for (struct xstream_pending *pending;
         (most == 0 || count < most) && (pending = idtree_from(&consumer->pending, at, &at));) {
        if (xstream_find(stream, at, &entry)) {
            reply_stream_entry(c, &entry);
            pending->delivered_ms = c->engine->now_ms;
            pending->deliveries++;
        } else { /* it was deleted meanwhile */
            reply_array(c, 2);
            reply_stream_id(c, at);
            reply_null_array(c);
        }
        count++;
        if (!stream_id_next(&at)) break;
    }
    reply_later_array(c, mark, count);
}

static struct xstream_consumer *consumer_of(struct client *c, struct slice key,
                                            const struct request *r, struct xstream_group *group) {
    bool created;
    struct xstream_consumer *consumer = xstream_consumer_seen(c, key, group, r->consumer, &created);
    if (created && r->noack)
        PROPAGATE_ALSO(c, SLICE("XGROUP"), SLICE("CREATECONSUMER"), key, r->group, r->consumer);
    return consumer;
}

/* One stream of the request, as key and array: entries behind ID; AGAIN: those that were given
 * before. */
static void serve_stream(struct client *c, const struct request *r, struct slice key,
                         struct xstream *stream, struct stream_id id, bool again) {
    (void)stream_id_next(&id);
    reply_bulk(c, key);
    if (!r->by_group) {
        reply_stream_range(c, stream, id, STREAM_ID_MAX, (uint64_t)r->count, false);
        return;
    }
    struct xstream_group *group = xstream_group_find(stream, r->group);
    struct xstream_consumer *consumer = consumer_of(c, key, r, group);
    if (again)
        repeat(c, stream, consumer, id, (uint64_t)r->count);
    else
        deliver(c, key, stream, group, consumer, id, (uint64_t)r->count, r->noack);
    c->engine->dirty++;
}

/* Serve stream number I if there is something for it now. */
static bool try_stream(struct client *c, const struct request *r, int i, struct stream_id id) {
    struct typed t;
    struct stream_id last;
    struct slice key = c->argv[r->first_key + i];
    if (typed_read(c, key, TYPE_STREAM, &t) != FOUND) return false;
    struct xstream *stream = t.value.ptr;
    bool again = r->by_group && stream_id_compare(id, STREAM_ID_MAX) != 0;
    if (r->by_group && !again) id = xstream_group_find(stream, r->group)->last_id;
    if (!again && !(xstream_edge(stream, true, &last) && stream_id_compare(last, id) > 0))
        return false;
    if (r->by_group) typed_edit(c, &t);
    if (c->resp == 2) reply_array(c, 2);
    serve_stream(c, r, key, stream, id, again);
    return true;
}

/* ---- waiting ---- */

static bool serve(struct client *c, struct slice key, struct entry *e) {
    struct request r;
    struct stream_id id = STREAM_ID_MIN;
    if (!request_read(c, &r)) return true;
    if (e == NULL || entry_type(e) != TYPE_STREAM) {
        if (r.by_group) reply_error(c, "UNBLOCKED the stream key no longer exists");
        return r.by_group;
    }
    struct xstream *stream = entry_ptr(e);
    if (r.by_group) {
        const struct xstream_group *group = xstream_group_find(stream, r.group);
        if (group == NULL) {
            reply_error(c,
                        "NOGROUP the consumer group this client was blocked on no longer exists");
            return true;
        }
        id = group->last_id;
    } else {
        int i = 0;
        while (i < r.keys - 1 && !slice_equal(c->argv[r.first_key + i], key)) i++;
        if (!xstream_id_read(c->argv[r.first_key + r.keys + i], 0, &id)) return false;
    }
    if (stream_id_compare(stream->last_id, id) <= 0) return false;
    if (r.by_group) db_edit(c->db, e);
    if (r.count == 0) r.count = BLOCKED_COUNT;
    if (c->resp == 2) reply_array(c, 1);
    if (c->resp == 2)
        reply_array(c, 2);
    else
        reply_map(c, 1);
    serve_stream(c, &r, key, stream, id, false);
    return true;
}

static const struct block_how xread_how = {serve, reply_null_array, TYPE_STREAM};

/* Wait, with the ids that are meant in place of "$". */
static void wait(struct client *c, const struct request *r, const struct stream_id *ids) {
    struct slice *argv = mem_dup(c->argv, (size_t)c->argc * sizeof *argv);
    char *texts = mem_alloc((size_t)r->keys * STREAM_ID_TEXT);
    for (int i = 0; !r->by_group && i < r->keys; i++)
        argv[r->first_key + r->keys + i] = xstream_id_text(texts + i * STREAM_ID_TEXT, ids[i]);
    c->argv = argv; /* copied by block_on_keys() */
    block_on_keys(c, argv + r->first_key, r->keys, r->deadline_ms, &xread_how);
    mem_free(texts);
    mem_free(argv);
}

static void xread(struct client *c) {
    struct request r;
    struct stream_id *ids;
    propagate_nothing(c);
    if (!request_read(c, &r) || (ids = ids_read(c, &r)) == NULL) return;
    size_t mark = reply_later(c), served = 0;
    for (int i = 0; i < r.keys; i++)
        if (try_stream(c, &r, i, ids[i])) served++;
    if (served > 0) {
        if (c->resp == 2)
            reply_later_array(c, mark, served);
        else
            reply_later_map(c, mark, served);
    } else if (r.blocks && !block_is_denied(c)) {
        wait(c, &r, ids);
    } else {
        reply_null_array(c);
    }
    mem_free(ids);
}

void xstream_read_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"xread", xread}, {"xreadgroup", xread}};
    command_bind(engine, bindings, COUNT(bindings));
}
