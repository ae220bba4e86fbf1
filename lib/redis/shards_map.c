/* shards_map.c -- the slots of a Redis Cluster. See shards_map.h. */
#include "lib/redis/shards_map.h"

#include <stdio.h>

static bool id_is_fine(struct slice id) {
    if (id.size != SHARDS_ID) return false;
    for (size_t i = 0; i < id.size; i++) {
        uint8_t c = id.data[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) return false;
    }
    return true;
}

/* A name or an address: nothing that could be something else in a log or a handshake. */
static bool host_is_fine(struct slice host) {
    if (host.size == 0 || host.size >= 256) return false;
    for (size_t i = 0; i < host.size; i++) {
        uint8_t c = host.data[i];
        bool fine = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    c == '.' || c == ':' || c == '-' || c == '_' || c == '%';
        if (!fine) return false;
    }
    return true;
}

static bool number_in(struct slice text, int64_t max, int64_t *number) {
    return slice_to_int(text, number) && *number >= 0 && *number <= max;
}

static void copy(char *to, size_t room, struct slice text) {
    size_t size = text.size < room ? text.size : room - 1;
    memcpy(to, text.data, size);
    to[size] = '\0';
}

size_t shards_map_find(const struct shards_map *map, const char *id) {
    for (size_t i = 0; i < map->count; i++)
        if (strcmp(map->node[i].id, id) == 0) return i;
    return map->count;
}

/* NULL: no room. */
static struct shards_node *node_of(struct shards_map *map, struct slice id) {
    char text[SHARDS_ID + 1];
    copy(text, sizeof text, id);
    size_t at = shards_map_find(map, text);
    if (at < map->count) return &map->node[at];
    if (map->count == SHARDS_NODES_MAX) return NULL;
    struct shards_node *node = &map->node[map->count++];
    *node = (struct shards_node){.master = false};
    memcpy(node->id, text, sizeof text);
    return node;
}

/* [endpoint, port, id, ...] */
static struct shards_node *read_node(struct shards_map *map, const struct resp_reply *of,
                                     const char *host) {
    if (of->kind != RESP_ARRAY || of->count < 3) return NULL;
    const struct resp_reply *name = &of->child[0], *port = &of->child[1], *id = &of->child[2];
    struct slice where = name->kind == RESP_NULL ? (struct slice){0} : name->text;
    if (where.size == 0 || slice_equal(where, SLICE("?"))) where = slice_text(host);
    if (port->kind != RESP_INT || port->number < 1 || port->number > 65535) return NULL;
    if (!host_is_fine(where) || !id_is_fine(id->text)) return NULL;
    struct shards_node *node = node_of(map, id->text);
    if (node == NULL) return NULL;
    copy(node->host, sizeof node->host, where);
    node->port = (uint16_t)port->number;
    return node;
}

static bool read_range(struct shards_map *map, const struct resp_reply *range, const char *host) {
    if (range->kind != RESP_ARRAY || range->count < 3) return false;
    const struct resp_reply *from = &range->child[0], *to = &range->child[1];
    if (from->kind != RESP_INT || to->kind != RESP_INT || from->number < 0 ||
        to->number >= (int64_t)SHARDS_SLOTS || from->number > to->number)
        return false;
    struct shards_node *owner = read_node(map, &range->child[2], host);
    if (owner == NULL) return false;
    owner->master = true;
    uint16_t index = (uint16_t)(owner - map->node);
    for (int64_t slot = from->number; slot <= to->number; slot++) {
        if (map->owner[slot] != SHARDS_NOBODY) return false;
        map->owner[slot] = index;
        owner->slots++;
    }
    for (size_t i = 3; i < range->count; i++)
        if (read_node(map, &range->child[i], host) == NULL) return false;
    return true;
}

enum err shards_map_read(struct shards_map *map, const struct resp_reply *reply, const char *host,
                         struct why *why) {
    map->count = 0;
    for (unsigned slot = 0; slot < SHARDS_SLOTS; slot++) map->owner[slot] = SHARDS_NOBODY;
    if (resp_reply_is_error(reply))
        return why_set(why, ERR_REFUSED, "CLUSTER SLOTS: %.*s",
                       (int)(reply->text.size > 200 ? 200 : reply->text.size),
                       (const char *)reply->text.data);
    if (reply->kind != RESP_ARRAY) return why_set(why, ERR_PROTO, "CLUSTER SLOTS is no array");
    if (reply->count == 0) return why_set(why, ERR_STATE, "the Cluster has no slots");
    for (size_t i = 0; i < reply->count; i++)
        if (!read_range(map, &reply->child[i], host))
            return why_set(why, ERR_PROTO, "CLUSTER SLOTS: range %zu is not understood", i);
    return OK;
}

/* ---- CLUSTER NODES ---- */

static bool has_flag(struct slice flags, struct slice flag) {
    while (flags.size > 0)
        if (slice_equal(slice_cut(&flags, ','), flag)) return true;
    return false;
}

/* "ip:port@bus,hostname": the last colon parts the port off. */
static bool read_address(struct slice text, struct slice *ip, uint16_t *port, struct slice *name) {
    struct slice first = slice_cut(&text, ',');
    *name = slice_cut(&text, ',');
    struct slice place = slice_cut(&first, '@');
    size_t at = place.size;
    while (at > 0 && place.data[at - 1] != ':') at--;
    int64_t number = 0;
    if (at == 0 || !number_in(slice_drop(place, at), 65535, &number) || number == 0) return false;
    *ip = slice_take(place, at - 1);
    *port = (uint16_t)number;
    return true;
}

static void add_line(struct shards_map *map, struct slice line) {
    struct slice id = slice_cut(&line, ' '), address = slice_cut(&line, ' '), flags = slice_cut(&line, ' ');
    struct slice ip, name;
    uint16_t port = 0;
    if (!id_is_fine(id) || has_flag(flags, SLICE("noaddr")) ||
        has_flag(flags, SLICE("handshake")) || !read_address(address, &ip, &port, &name))
        return;
    struct shards_node *node = node_of(map, id);
    if (node == NULL) return;
    if (ip.size < sizeof node->ip && host_is_fine(ip)) copy(node->ip, sizeof node->ip, ip);
    if (node->port == 0) {
        struct slice host = host_is_fine(name) ? name : ip;
        if (host_is_fine(host)) {
            copy(node->host, sizeof node->host, host);
            node->port = port;
        }
    }
    node->master = has_flag(flags, SLICE("master"));
    node->failed = has_flag(flags, SLICE("fail"));
}

void shards_map_add(struct shards_map *map, struct slice text) {
    while (text.size > 0) add_line(map, slice_cut(&text, '\n'));
}

/* "[93->-id]" or "[77-<-id]", behind eight fields, of the one that says "myself". */
void shards_moving(struct slice text, uint64_t moving[SHARDS_SLOTS / 64]) {
    while (text.size > 0) {
        struct slice line = slice_cut(&text, '\n');
        for (unsigned i = 0; i < 8; i++) (void)slice_cut(&line, ' ');
        while (line.size > 0) {
            struct slice word = slice_cut(&line, ' ');
            int64_t slot = 0;
            if (word.size < 4 || word.data[0] != '[') continue;
            word = slice_drop(word, 1);
            if (!number_in(slice_cut(&word, '-'), SHARDS_SLOTS - 1, &slot)) continue;
            moving[slot / 64] |= UINT64_C(1) << (slot % 64);
        }
    }
}

/* ---- redirections ---- */

static bool read_place(struct slice text, struct shards_redirect *to) {
    int64_t slot = 0, port = 0;
    if (!number_in(slice_cut(&text, ' '), SHARDS_SLOTS - 1, &slot)) return false;
    struct slice place = text;
    size_t at = place.size;
    while (at > 0 && place.data[at - 1] != ':') at--;
    if (at == 0 || !number_in(slice_drop(place, at), 65535, &port) || port == 0) return false;
    struct slice host = slice_take(place, at - 1);
    if (slice_equal(host, SLICE("?"))) host.size = 0;
    if (host.size > 0 && !host_is_fine(host)) return false;
    to->slot = (uint16_t)slot;
    to->port = (uint16_t)port;
    copy(to->host, sizeof to->host, host);
    return true;
}

void shards_redirect_read(struct slice line, struct shards_redirect *redirect) {
    *redirect = (struct shards_redirect){.kind = SHARDS_FINE};
    while (line.size > 0 && (line.data[line.size - 1] == '\n' || line.data[line.size - 1] == '\r'))
        line.size--;
    if (slice_starts(line, SLICE("-TRYAGAIN ")) || slice_starts(line, SLICE("-CLUSTERDOWN ")))
        redirect->kind = SHARDS_LATER;
    else if (slice_starts(line, SLICE("-MOVED ")))
        redirect->kind = read_place(slice_drop(line, 7), redirect) ? SHARDS_MOVED : SHARDS_FINE;
    else if (slice_starts(line, SLICE("-ASK ")))
        redirect->kind = read_place(slice_drop(line, 5), redirect) ? SHARDS_ASK : SHARDS_FINE;
}
