/* tracking_bcast.c -- clients that want to hear of every change below a prefix. */
#include "server/tracking_inside.h"

#include "lib/base/mem.h"

struct changed_key {
    struct changed_key *next; /* in the order of the first change */
    uint64_t changer;         /* id of the client that changed it last; 0: none */
    size_t size;
    uint8_t bytes[];
};

struct prefix {
    struct prefix *next;
    struct client **clients;
    size_t count, room;
    struct table keys; /* of changed_key, of this turn */
    struct changed_key *first, **end;
    size_t size;
    uint8_t bytes[];
};

static struct slice key_of_changed(const void *item) {
    const struct changed_key *key = item;
    return slice_from(key->bytes, key->size);
}

static const struct table_type changed_type = {key_of_changed};

struct slice tracking_prefix_text(const struct prefix *prefix) {
    return slice_from(prefix->bytes, prefix->size);
}

static struct prefix *prefix_of(struct engine_tracking *t, struct slice text) {
    for (struct prefix *p = t->prefixes; p; p = p->next)
        if (slice_equal(tracking_prefix_text(p), text)) return p;
    struct prefix *p = mem_alloc(sizeof *p + text.size);
    *p = (struct prefix){.next = t->prefixes, .size = text.size};
    if (text.size) memcpy(p->bytes, text.data, text.size);
    p->end = &p->first;
    table_init(&p->keys, &changed_type);
    t->prefixes = p;
    t->prefix_count++;
    return p;
}

void tracking_bcast_join(struct client *c, struct slice text) {
    struct client_tracking *mine = c->tracking;
    struct prefix *p = prefix_of(c->engine->tracking, text);
    for (size_t i = 0; i < mine->prefix_count; i++)
        if (mine->prefixes[i] == p) return;
    if (p->count == p->room) {
        p->room = p->room ? p->room * 2 : 4;
        p->clients = mem_realloc(p->clients, p->room * sizeof *p->clients);
    }
    p->clients[p->count++] = c;
    mine->prefixes = mem_realloc(mine->prefixes, (mine->prefix_count + 1) * sizeof *mine->prefixes);
    mine->prefixes[mine->prefix_count++] = p;
}

static void forget_changes(struct prefix *p) {
    for (struct changed_key *key = p->first, *next; key; key = next) {
        next = key->next;
        mem_free(key);
    }
    table_close(&p->keys);
    p->first = NULL;
    p->end = &p->first;
}

static void free_prefix(struct engine_tracking *t, struct prefix *p) {
    struct prefix **at = &t->prefixes;
    while (*at != p) at = &(*at)->next;
    *at = p->next;
    t->prefix_count--;
    forget_changes(p);
    mem_free(p->clients);
    mem_free(p);
}

void tracking_bcast_leave(struct client *c) {
    struct client_tracking *mine = c->tracking;
    for (size_t i = 0; i < mine->prefix_count; i++) {
        struct prefix *p = mine->prefixes[i];
        size_t kept = 0;
        for (size_t n = 0; n < p->count; n++)
            if (p->clients[n] != c) p->clients[kept++] = p->clients[n];
        p->count = kept;
        if (kept == 0) free_prefix(c->engine->tracking, p);
    }
    mem_free(mine->prefixes);
    mine->prefixes = NULL;
    mine->prefix_count = 0;
}

void tracking_bcast_changed(struct engine *engine, uint64_t changer, struct slice name) {
    for (struct prefix *p = engine->tracking->prefixes; p; p = p->next) {
        if (!slice_starts(name, tracking_prefix_text(p))) continue;
        struct changed_key *key = table_find(&p->keys, name);
        if (key == NULL) {
            key = mem_alloc(sizeof *key + name.size);
            *key = (struct changed_key){.size = name.size};
            if (name.size) memcpy(key->bytes, name.data, name.size);
            table_add(&p->keys, key);
            *p->end = key;
            p->end = &key->next;
        }
        key->changer = changer;
    }
}

/* The array of keys, without those that the client EXCEPT (0: none) changed itself; how many. */
static size_t write_keys(const struct prefix *p, uint64_t except, struct buf *out) {
    size_t count = 0;
    for (const struct changed_key *key = p->first; key; key = key->next)
        count += except == 0 || key->changer != except;
    buf_printf(out, "*%zu\r\n", count);
    for (const struct changed_key *key = p->first; key; key = key->next) {
        if (except != 0 && key->changer == except) continue;
        buf_printf(out, "$%zu\r\n", key->size);
        buf_append(out, key->bytes, key->size);
        buf_append(out, "\r\n", 2);
    }
    return count;
}

static void tell_clients(struct prefix *p) {
    struct buf all = {0};
    (void)write_keys(p, 0, &all);
    for (size_t i = 0; i < p->count; i++) {
        struct client *c = p->clients[i];
        if (c->flags & CLIENT_CLOSE_NOW) continue;
        if (!c->tracking->noloop) {
            tracking_send(c, buf_slice(&all));
            continue;
        }
        struct buf some = {0};
        if (write_keys(p, c->id, &some) > 0) tracking_send(c, buf_slice(&some));
        buf_close(&some);
    }
    buf_close(&all);
}

void tracking_bcast_flush(struct engine *engine) {
    for (struct prefix *p = engine->tracking->prefixes; p; p = p->next) {
        if (p->first == NULL) continue;
        tell_clients(p);
        forget_changes(p);
    }
}
