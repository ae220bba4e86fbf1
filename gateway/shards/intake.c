/* intake.c -- requests that are written to a connection to a whole Cluster. See shards.h. */
#include "gateway/shards/inside.h"

#include "lib/base/mem.h"

static struct unit *unit_new(struct shards_conn *c) {
    struct unit *u = NEW(struct unit);
    u->order.slot = SHARDS_NO_SLOT;
    u->replies = 1;
    u->proto = c->proto;
    u->to = SHARDS_TO_ANY;
    u->added_ms = shards_now_ms(c->shards);
    return u;
}

static void add(struct shards_conn *c, struct unit *u) {
    c->waiting_bytes += buf_size(&u->bytes);
    shards_order_add(&c->order, &u->order);
}

static void add_answered(struct shards_conn *c, struct unit *u, struct slice text) {
    add(c, u);
    shards_conn_answer_here(c, u, text);
}

static void add_error(struct shards_conn *c, struct unit *u, const char *error) {
    struct buf out = {0};
    resp_write_error(&out, slice_text(error));
    add_answered(c, u, buf_slice(&out));
    buf_close(&out);
}

/* ---- answered here ---- */

/* The command that waits on another connection like this one, by the number that we gave that. */
static bool unblock(struct shards_conn *c, size_t argc, const struct slice *argv) {
    int64_t id = 0;
    if (argc < 3 || !slice_to_int(argv[2], &id)) return false;
    LIST_EACH(&c->shards->conns, at) {
        struct shards_conn *other = LIST_OWNER(at, struct shards_conn, link);
        if (other->id != id || other->gone) continue;
        LIST_EACH(&other->branches, branch) {
            struct shards_branch *l = LIST_OWNER(branch, struct shards_branch, link);
            struct shards_ctl *ctl = c->shards->host[l->host].ctl;
            if (l->unanswered == 0 || !shards_ctl_is_ready(ctl)) continue;
            char text[24];
            struct buf out = {0};
            (void)snprintf(text, sizeof text, "%lld", (long long)l->server_id);
            resp_write_words(&out, "CLIENT", "UNBLOCK", text,
                             argc > 3 && slice_equal_nocase(argv[3], SLICE("error")) ? "ERROR"
                                                                                     : "TIMEOUT",
                             NULL);
            shards_ctl_tell(ctl, buf_slice(&out));
            buf_close(&out);
            return true;
        }
    }
    return false;
}

static void write_server(const struct shards *s, struct buf *out) {
    char text[256];
    int size = snprintf(text, sizeof text, "# Server\r\nredis_version:%s\r\nrun_id:%s\r\n",
                        s->version, s->run_id);
    resp_write_bulk(out, slice_from(text, (size_t)size));
}

static void write_here(struct shards_conn *c, enum shards_here here, size_t argc,
                       const struct slice *argv, struct buf *out) {
    int64_t number = 0;
    switch (here) {
    case SHARDS_HERE_PING:
        if (argc > 1)
            resp_write_bulk(out, argv[1]);
        else
            buf_add(out, SLICE("+PONG\r\n"));
        break;
    case SHARDS_HERE_ECHO: resp_write_bulk(out, argv[argc - 1]); break;
    case SHARDS_HERE_SELECT:
        if (argc == 2 && slice_to_int(argv[1], &number) && number == 0)
            resp_write_ok(out);
        else
            resp_write_error(out, SLICE("ERR SELECT is not allowed in cluster mode"));
        break;
    case SHARDS_HERE_HELLO:
        if (argc > 1 && slice_to_int(argv[1], &number) && (number == 2 || number == 3))
            c->proto = (uint8_t)number;
        resp_write_ok(out);
        break;
    case SHARDS_HERE_ID: resp_write_int(out, c->id); break;
    case SHARDS_HERE_SERVER: write_server(c->shards, out); break;
    case SHARDS_HERE_ROLE:
        if (argc == 1) {
            resp_write_array(out, 3);
            resp_write_text(out, "master");
            resp_write_int(out, 0);
            resp_write_array(out, 0);
        } else {
            resp_write_text(out, "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n");
        }
        break;
    case SHARDS_HERE_UNBLOCK: resp_write_int(out, unblock(c, argc, argv)); break;
    default: UNREACHABLE("here");
    }
}

/* ---- the name (C25) ---- */

/* Those that were not allowed yet have an old one: they begin again. */
static void rename_branches(struct shards_conn *c, struct slice name, struct slice raw) {
    size_t size = name.size < sizeof c->name ? name.size : sizeof c->name - 1;
    memcpy(c->name, name.data, size);
    c->name[size] = '\0';
    for (struct list *next, *at = c->branches.next; at != &c->branches; at = next) {
        struct shards_branch *l = LIST_OWNER(at, struct shards_branch, link);
        next = at->next;
        if (l->state == BRANCH_READY)
            shards_branch_drop(l, raw);
        else if (l->state != BRANCH_GONE)
            shards_branch_abort(l);
    }
}

/* ---- requests ---- */

/* "SCAN cursor ...": the cursor names the node. */
static void take_scan(struct shards_conn *c, struct unit *u, size_t argc,
                      const struct slice *argv) {
    const struct shards *s = c->shards;
    uint64_t cursor = 0;
    unsigned node = 0;
    char text[24];
    if (argc < 2 || !shards_cursor_read(argv[1], &cursor, &node)) {
        add_error(c, u, "ERR invalid cursor");
        return;
    }
    while (node < s->count && (!s->host[node].present || s->host[node].at.slots == 0)) {
        node++;
        cursor = 0;
    }
    if (node >= s->count) { /* it has given its slots away meanwhile */
        add_answered(c, u, SLICE("*2\r\n$1\r\n0\r\n*0\r\n"));
        return;
    }
    struct slice *words = NEW_ARRAY(struct slice, argc);
    memcpy(words, argv, argc * sizeof *argv);
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)cursor);
    words[1] = slice_text(text);
    buf_clear(&u->bytes);
    resp_write_command(&u->bytes, argc, words);
    mem_free(words);
    u->node = node;
    add(c, u);
}

static void take_watch(struct shards_conn *c, struct unit *u, uint16_t slot) {
    if (c->watching && slot != c->watch_slot) {
        add_error(c, u, "CROSSSLOT drawbridge: over a Cluster, keys of one slot can be watched");
        return;
    }
    c->watching = true;
    c->watch_slot = slot;
    u->order.slot = slot;
    add(c, u);
}

static void take_one(struct shards_conn *c, struct slice raw, size_t argc,
                     const struct slice *argv) {
    struct shards_route route;
    struct buf out = {0};
    struct unit *u = unit_new(c);
    shards_route(argc, argv, &route);
    buf_add(&u->bytes, raw);
    u->to = (uint8_t)route.to;
    u->merge = (uint8_t)route.merge;
    switch (route.to) {
    case SHARDS_TO_ERROR: add_error(c, u, route.error); break;
    case SHARDS_TO_HERE:
        write_here(c, route.here, argc, argv, &out);
        add_answered(c, u, buf_slice(&out));
        break;
    case SHARDS_TO_NAME:
        if (argc == 3) rename_branches(c, argv[2], raw);
        add_answered(c, u, SLICE("+OK\r\n"));
        break;
    case SHARDS_TO_SCAN: take_scan(c, u, argc, argv); break;
    case SHARDS_TO_WATCH: take_watch(c, u, route.slot); break;
    case SHARDS_TO_UNWATCH:
        u->watched = c->watching;
        if (c->watching)
            add(c, u);
        else
            add_answered(c, u, SLICE("+OK\r\n"));
        break;
    case SHARDS_TO_SLOT: u->order.slot = route.slot; add(c, u); break;
    case SHARDS_TO_ANY:
    case SHARDS_TO_ALL:
    case SHARDS_TO_STREAM:
    default: add(c, u); break;
    }
    buf_close(&out);
}

/* ---- blocks ---- */

static void end_block(struct shards_conn *c) {
    struct unit *u = c->block;
    const struct shards_route *route = &c->block_route;
    c->block = NULL;
    u->watched = c->watching;
    u->to = (uint8_t)route->to;
    if (route->to == SHARDS_TO_SLOT) u->order.slot = route->slot;
    if (route->to == SHARDS_TO_ERROR) {
        add_error(c, u, route->error);
    } else if (u->watched && route->to == SHARDS_TO_SLOT && route->slot != c->watch_slot) {
        add_error(c, u, "CROSSSLOT drawbridge: over a Cluster, a block has the slot that is watched");
    } else {
        if (u->watched) u->order.slot = c->watch_slot;
        add(c, u);
    }
}

static void take(struct shards_conn *c, struct slice raw, size_t argc, const struct slice *argv) {
    if (c->block == NULL && argc == 1 && slice_equal_nocase(argv[0], SLICE("multi"))) {
        c->block = unit_new(c);
        c->block->block = true;
        c->block_route = (struct shards_route){.to = SHARDS_TO_ANY};
        buf_add(&c->block->bytes, raw);
    } else if (c->block != NULL) {
        buf_add(&c->block->bytes, raw);
        c->block->replies++;
        if (argc == 1 && slice_equal_nocase(argv[0], SLICE("exec")))
            end_block(c);
        else
            shards_route_block(argc, argv, &c->block_route);
    } else {
        take_one(c, raw, argc, argv);
    }
}

void shards_conn_write(struct shards_conn *c, struct slice bytes) {
    struct why why;
    if (c->gone) return;
    if (c->raw) {
        LIST_EACH(&c->branches, at) {
            struct shards_branch *l = LIST_OWNER(at, struct shards_branch, link);
            if (l->state != BRANCH_READY || l->host != c->raw_host) continue;
            stream_write(l->stream, bytes);
            return;
        }
        return;
    }
    bool kept = buf_size(&c->in) > 0;
    if (kept) buf_add(&c->in, bytes);
    struct slice rest = kept ? buf_slice(&c->in) : bytes;
    size_t all = rest.size;
    while (rest.size > 0) {
        size_t used = 0;
        enum step step =
            resp_request_next(&c->request, &resp_request_limits_open, rest, &used, &why);
        if (step == STEP_MORE) break;
        if (step == STEP_FAIL) { /* we write requests, or pass on what was read before */
            shards_conn_fail(c, ERR_PROTO, why.text);
            return;
        }
        if (c->request.argc > 0)
            take(c, slice_take(rest, used), c->request.argc, c->request.argv);
        rest = slice_drop(rest, used);
    }
    if (kept)
        buf_consume(&c->in, all - rest.size);
    else if (rest.size > 0)
        buf_add(&c->in, rest);
    shards_conn_pump(c);
}
