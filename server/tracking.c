/* tracking.c -- the table of keys that clients may have cached, and the messages to them. */
#include "server/tracking_inside.h"

#include "lib/base/mem.h"
#include "server/output.h"
#include "server/reply.h"

#define EFFORT 100 /* keys thrown out per turn, when there are too many */
#define KEYS_USUAL 16

struct tracked_key {
    uint64_t *ids; /* ascending */
    size_t count, room;
    size_t size;
    uint8_t bytes[];
};

/* For a client whose command was running. */
struct told_later {
    struct told_later *next;
    uint64_t id;
    bool all; /* every key */
    size_t size;
    uint8_t bytes[];
};

static struct slice key_of_tracked(const void *item) {
    const struct tracked_key *key = item;
    return slice_from(key->bytes, key->size);
}

static const struct table_type tracked_type = {key_of_tracked};

static struct engine_tracking *of(struct engine *engine) {
    if (engine->tracking == NULL) {
        engine->tracking = NEW(struct engine_tracking);
        table_init(&engine->tracking->keys, &tracked_type);
        engine->tracking->pending_end = &engine->tracking->pending;
    }
    return engine->tracking;
}

/* ---- on and off ---- */

void tracking_start(struct client *c, const struct client_tracking *options,
                    const struct slice *prefixes, size_t count) {
    struct engine_tracking *t = of(c->engine);
    if (c->tracking == NULL) c->tracking = NEW(struct client_tracking);
    struct client_tracking *mine = c->tracking;
    if (!mine->on) t->clients++;
    mine->on = true;
    mine->broken = false;
    mine->bcast = options->bcast;
    mine->optin = options->optin;
    mine->optout = options->optout;
    mine->noloop = options->noloop;
    mine->redirect = options->redirect;
    if (!mine->bcast) return;
    if (count == 0) tracking_bcast_join(c, SLICE(""));
    for (size_t i = 0; i < count; i++) tracking_bcast_join(c, prefixes[i]);
}

/* The ids of this client stay in the table; whoever meets them finds it has no tracking. */
void tracking_forget(struct client *c) {
    struct client_tracking *mine = c->tracking;
    if (mine == NULL) return;
    if (mine->on) of(c->engine)->clients--;
    tracking_bcast_leave(c);
    mem_free(mine);
    c->tracking = NULL;
}

/* ---- messages ---- */

static void push(struct client *c, const char *what) {
    reply_push(c, 2);
    reply_bulk_text(c, what);
}

void tracking_send(struct client *c, struct slice value) {
    const uint64_t muting = CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP;
    struct client *to = c;
    if (c->tracking->redirect) to = client_by_id(c->engine, c->tracking->redirect);
    uint64_t muted = (to ? to : c)->flags & muting; /* what is pushed is no reply */
    (to ? to : c)->flags &= ~muting;
    if (to == NULL) {
        c->tracking->broken = true;
        if (c->resp > 2) {
            push(c, "tracking-redir-broken");
            reply_int(c, (int64_t)c->tracking->redirect);
        }
        to = c;
    } else if (to->resp > 2) {
        push(to, "invalidate");
        reply_raw(to, value);
    } else if (to != c && to->flags & CLIENT_PUBSUB) {
        reply_push(to, 3);
        reply_bulk_text(to, "message");
        reply_bulk_text(to, "__redis__:invalidate");
        reply_raw(to, value);
    }
    to->flags |= muted;
    output_check_limit(to);
}

static void send_key(struct client *c, struct slice key) {
    struct buf value = {0};
    buf_printf(&value, "*1\r\n$%zu\r\n", key.size);
    buf_add(&value, key);
    buf_append(&value, "\r\n", 2);
    tracking_send(c, buf_slice(&value));
    buf_close(&value);
}

static void send_all(struct client *c) {
    tracking_send(c, c->resp == 2 ? SLICE("$-1\r\n") : SLICE("_\r\n"));
}

static bool is_busy(const struct client *c) {
    return c->engine->nesting > 0 && (c == c->engine->current || c->flags & CLIENT_EXECUTING);
}

static void tell_later(struct client *c, const struct slice *key) {
    struct engine_tracking *t = of(c->engine);
    size_t size = key ? key->size : 0;
    struct told_later *later = mem_alloc(sizeof *later + size);
    *later = (struct told_later){.id = c->id, .all = key == NULL, .size = size};
    if (size) memcpy(later->bytes, key->data, size);
    *t->pending_end = later;
    t->pending_end = &later->next;
}

static void tell_pending(struct engine *engine) {
    struct engine_tracking *t = engine->tracking;
    while (t->pending) {
        struct told_later *later = t->pending;
        t->pending = later->next;
        if (t->pending == NULL) t->pending_end = &t->pending;
        struct client *c = client_by_id(engine, later->id);
        if (c && c->tracking && c->tracking->on) {
            if (later->all)
                send_all(c);
            else
                send_key(c, slice_from(later->bytes, later->size));
        }
        mem_free(later);
    }
}

void tracking_command_over(struct client *c) {
    struct engine *engine = c->engine;
    if (engine->nesting == 0 && engine->tracking->pending) tell_pending(engine);
    /* CLIENT CACHING is meant for the command after it, or for a whole transaction. */
    struct client_tracking *mine = c->tracking;
    if (mine && mine->caching && !(c->flags & CLIENT_MULTI) && c->command &&
        strncmp(c->command->name, "client", 6) != 0)
        mine->caching = false;
}

/* ---- keys ---- */

static void add_id(struct engine_tracking *t, struct slice name, uint64_t id) {
    struct tracked_key *key = table_find(&t->keys, name);
    if (key == NULL) {
        key = mem_alloc(sizeof *key + name.size);
        *key = (struct tracked_key){.size = name.size};
        if (name.size) memcpy(key->bytes, name.data, name.size);
        table_add(&t->keys, key);
    }
    size_t low = 0, high = key->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (key->ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < key->count && key->ids[low] == id) return;
    if (key->count == key->room) {
        key->room = key->room ? key->room * 2 : 2;
        key->ids = mem_realloc(key->ids, key->room * sizeof *key->ids);
    }
    memmove(key->ids + low + 1, key->ids + low, (key->count - low) * sizeof *key->ids);
    key->ids[low] = id;
    key->count++;
    t->items++;
}

void tracking_remember(struct client *c) {
    struct engine *engine = c->engine;
    struct client *who = c->flags & CLIENT_SCRIPT && engine->current ? engine->current : c;
    struct client_tracking *mine = who->tracking;
    if (mine == NULL || !mine->on || mine->bcast || c->command->flags & COMMAND_PUBSUB) return;
    if ((mine->optin && !mine->caching) || (mine->optout && mine->caching)) return;
    /* EVAL_RO and its kin: only when their script reads; then all keys that they declare. */
    if (who == c && c->command->group == COMMAND_GROUP_SCRIPTING) return;
    c = who;
    if (!command_has_keys(c->command)) return;
    struct command_key usual[KEYS_USUAL], *keys = usual;
    size_t count = 0, argc = (size_t)c->argc;
    struct why why;
    enum err err = command_keys(c->command, argc, c->argv, keys, KEYS_USUAL, &count, &why);
    if (err == ERR_LIMIT) {
        keys = NEW_ARRAY(struct command_key, argc);
        err = command_keys(c->command, argc, c->argv, keys, argc, &count, &why);
    }
    for (size_t i = 0; err == OK && i < count; i++)
        add_id(of(engine), c->argv[keys[i].at], who->id);
    if (keys != usual) mem_free(keys);
}

/* Tell the clients that know KEY, and forget it. */
static void invalidate(struct engine *engine, struct tracked_key *key) {
    struct engine_tracking *t = engine->tracking;
    struct slice name = key_of_tracked(key);
    (void)table_take(&t->keys, name);
    t->items -= key->count;
    for (size_t i = 0; i < key->count; i++) {
        struct client *c = client_by_id(engine, key->ids[i]);
        if (c == NULL || c->tracking == NULL || !c->tracking->on || c->tracking->bcast) continue;
        if (c->tracking->noloop && c == engine->current) continue;
        if (is_busy(c))
            tell_later(c, &name);
        else
            send_key(c, name);
    }
    mem_free(key->ids);
    mem_free(key);
}

void tracking_key_changed(struct engine *engine, struct client *c, struct slice key) {
    struct engine_tracking *t = engine->tracking;
    if (c && c->flags & CLIENT_SCRIPT) c = engine->current;
    if (t->prefixes) tracking_bcast_changed(engine, c ? c->id : 0, key);
    struct tracked_key *tracked = table_find(&t->keys, key);
    if (tracked) invalidate(engine, tracked);
}

void tracking_limit(struct engine *engine) {
    struct engine_tracking *t = engine->tracking;
    uint64_t max = (uint64_t)engine->settings.tracking_table_max_keys;
    if (max == 0 || table_count(&t->keys) <= max) {
        t->over_limit = 0;
        return;
    }
    t->over_limit++;
    for (unsigned effort = EFFORT * t->over_limit; effort > 0 && table_count(&t->keys) > max;
         effort--)
        invalidate(engine, table_random(&t->keys, &engine->rng));
}

static void forget_keys(struct engine_tracking *t) {
    struct table_iter iter;
    table_iter_init(&iter, &t->keys);
    for (struct tracked_key *key; (key = table_iter_next(&iter)) != NULL;) {
        mem_free(key->ids);
        mem_free(key);
    }
    table_close(&t->keys);
    t->items = 0;
}

void tracking_flushed(struct engine *engine) {
    if (engine->tracking == NULL) return;
    for (struct client *c = engine->clients; c && engine->tracking->clients; c = c->next) {
        if (c->tracking == NULL || !c->tracking->on || c->flags & CLIENT_CLOSE_NOW) continue;
        if (is_busy(c))
            tell_later(c, NULL);
        else
            send_all(c);
    }
    forget_keys(engine->tracking);
}

/* ---- for INFO, and the end of a turn ---- */

struct tracking_totals tracking_totals(const struct engine *engine) {
    const struct engine_tracking *t = engine->tracking;
    if (t == NULL) return (struct tracking_totals){0};
    return (struct tracking_totals){t->clients, table_count(&t->keys), t->items, t->prefix_count};
}

size_t tracking_memory(const struct client *c) {
    size_t bytes = c->tracking ? sizeof *c->tracking : 0;
    for (size_t i = 0; c->tracking && i < c->tracking->prefix_count; i++)
        bytes += tracking_prefix_text(c->tracking->prefixes[i]).size + 2 * sizeof(void *);
    return bytes;
}

static void end_turn(struct engine *engine) {
    if (engine->tracking == NULL) return;
    tell_pending(engine);
    if (engine->tracking->prefixes) tracking_bcast_flush(engine);
}

static void tick(struct engine *engine) {
    if (engine->tracking) tracking_limit(engine);
}

void tracking_open(struct engine *engine) {
    engine_hook_add(engine, HOOK_TICK, tick);
    engine_hook_add(engine, HOOK_BEFORE_REPLY, end_turn);
}
