/* xstream.c -- entries of a stream: adding, walking, deleting, trimming. See xstream.h. */
#include "server/xstream.h"

#include "lib/base/mem.h"

#define NODES_FEW 3
#define ROOM_FIRST 4096 /* bytes; what Redis sets aside for a node at most */

struct xstream *xstream_new(void) {
    return NEW(struct xstream);
}

static uint8_t *node_from(const struct xstream *stream, struct stream_id from,
                          struct stream_id *first) {
    return idtree_from(&stream->nodes, from, first);
}

void xstream_free(struct xstream *stream) {
    struct stream_id at = STREAM_ID_MIN;
    for (uint8_t *lp; (lp = node_from(stream, at, &at)) != NULL;) {
        mem_free(lp);
        if (!stream_id_next(&at)) break;
    }
    idtree_close(&stream->nodes);
    xstream_groups_free(stream);
    mem_free(stream);
}

bool xstream_is_big(const struct xstream *stream) {
    return stream->nodes.count > NODES_FEW;
}

static void tell(struct xstream *stream, struct stream_id first, const uint8_t *lp,
                 enum value_change change) {
    struct xstream_change node = {first, lp};
    value_watch_tell(stream->watch, &node, change);
}

/* ---- adding ---- */

static size_t text_bytes(const struct slice *argv, int64_t fields) {
    size_t bytes = 0;
    for (int64_t i = 0; i < 2 * fields; i++) bytes += argv[i].size;
    return bytes;
}

bool xstream_takes(const struct slice *argv, int64_t fields) {
    uint8_t *lp = lp_new(0);
    bool fits = lp_fits(lp, text_bytes(argv, fields), (size_t)(2 * fields) + 16);
    mem_free(lp);
    return fits;
}

static bool node_is_full(const uint8_t *lp, const struct type_limits *limits, size_t bytes,
                         size_t items) {
    uint64_t most = (uint64_t)limits->stream_node_max_bytes;
    if (most == 0 || most > LP_BYTES_MAX) most = LP_BYTES_MAX;
    if (lp_bytes(lp) + bytes >= most || !lp_fits(lp, bytes, items)) return true;
    return limits->stream_node_max_entries &&
           xstream_node_live(lp) + xstream_node_deleted(lp) >= limits->stream_node_max_entries;
}

static uint8_t *begin_node(struct xstream *stream, const struct type_limits *limits,
                           struct stream_id id, const struct slice *argv, int64_t fields) {
    int64_t room = limits->stream_node_max_bytes;
    uint8_t *lp =
        xstream_node_new(argv, fields, room > 0 && room < ROOM_FIRST ? (size_t)room : ROOM_FIRST);
    tell(stream, id, NULL, WATCH_BORN);
    bool added = idtree_add(&stream->nodes, id, lp);
    ASSERT(added);
    return lp;
}

void xstream_append(struct xstream *stream, const struct type_limits *limits, struct stream_id id,
                    const struct slice *argv, int64_t fields) {
    struct stream_id first = id;
    uint8_t *old = idtree_up_to(&stream->nodes, STREAM_ID_MAX, &first), *lp = old;
    if (lp && node_is_full(lp, limits, text_bytes(argv, fields), (size_t)(2 * fields) + 16)) {
        lp_shrink(&lp);
        if (lp != old) idtree_replace(&stream->nodes, first, lp);
        old = lp = NULL;
    }
    if (lp) tell(stream, first, lp, WATCH_EDIT);
    if (lp == NULL) {
        old = lp = begin_node(stream, limits, id, argv, fields);
        first = id;
    }
    xstream_node_append(&lp, first, id, argv, fields);
    if (lp != old) idtree_replace(&stream->nodes, first, lp);
    stream->length++;
    stream->entries_added++;
    stream->last_id = id;
    if (stream->length == 1) stream->first_id = id;
}

void xstream_adopt_node(struct xstream *stream, struct stream_id first, uint8_t *lp) {
    bool added = idtree_add(&stream->nodes, first, lp);
    ASSERT(added);
    stream->length += (uint64_t)xstream_node_live(lp);
}

/* ---- walking ---- */

void xstream_iter_init(struct xstream_iter *iter, const struct xstream *stream,
                       struct stream_id from, struct stream_id up_to, bool backward) {
    *iter =
        (struct xstream_iter){.stream = stream, .from = from, .up_to = up_to, .backward = backward};
    /* The entry FROM may be in the node that begins before it. */
    struct stream_id first;
    iter->node = backward ? up_to : from;
    if (!backward && idtree_up_to(&stream->nodes, from, &first)) iter->node = first;
    if (stream_id_compare(from, up_to) > 0) iter->ended = true;
}

static bool enter_node(struct xstream_iter *iter) {
    struct stream_id first;
    const struct idtree *nodes = &iter->stream->nodes;
    const uint8_t *lp = iter->backward ? idtree_up_to(nodes, iter->node, &first)
                                       : idtree_from(nodes, iter->node, &first);
    iter->in_node = lp != NULL;
    iter->ended = lp == NULL;
    if (lp == NULL) return false;
    xstream_walk_init(&iter->walk, first, lp, iter->backward);
    iter->node = first;
    return true;
}

/* Where the next node may begin; false behind the last one. */
static bool leave_node(struct xstream_iter *iter) {
    iter->in_node = false;
    iter->ended = !(iter->backward ? stream_id_previous(&iter->node) : stream_id_next(&iter->node));
    return !iter->ended;
}

bool xstream_next(struct xstream_iter *iter, struct xstream_entry *entry) {
    while (!iter->ended) {
        if (!iter->in_node && !enter_node(iter)) return false;
        if (!xstream_walk_next(&iter->walk, entry)) {
            (void)leave_node(iter);
            continue;
        }
        if (!iter->with_deleted && entry->flags & XSTREAM_ENTRY_DELETED) continue;
        bool below = stream_id_compare(entry->id, iter->from) < 0;
        bool above = stream_id_compare(entry->id, iter->up_to) > 0;
        if (iter->backward ? below : above) {
            iter->ended = true;
            return false;
        }
        if (!below && !above) return true;
    }
    return false;
}

bool xstream_find(const struct xstream *stream, struct stream_id id, struct xstream_entry *entry) {
    struct xstream_iter iter;
    xstream_iter_init(&iter, stream, id, id, false);
    return xstream_next(&iter, entry);
}

bool xstream_edge(const struct xstream *stream, bool last, struct stream_id *id) {
    struct xstream_iter iter;
    struct xstream_entry entry;
    xstream_iter_init(&iter, stream, STREAM_ID_MIN, STREAM_ID_MAX, last);
    if (!xstream_next(&iter, &entry)) return false;
    *id = entry.id;
    return true;
}

/* ---- deleting ---- */

void xstream_refresh_first(struct xstream *stream) {
    stream->first_id = STREAM_ID_MIN;
    if (stream->length > 0) (void)xstream_edge(stream, false, &stream->first_id);
}

static void remove_node(struct xstream *stream, struct stream_id first) {
    uint8_t *lp = idtree_find(&stream->nodes, first);
    tell(stream, first, lp, WATCH_GONE);
    (void)idtree_remove(&stream->nodes, first);
    mem_free(lp);
}

bool xstream_delete(struct xstream *stream, struct stream_id id) {
    struct xstream_iter iter;
    struct xstream_entry entry;
    xstream_iter_init(&iter, stream, id, id, false);
    if (!xstream_next(&iter, &entry)) return false;
    stream->length--;
    if (iter.walk.live == 1) {
        remove_node(stream, iter.walk.first);
        return true;
    }
    uint8_t *lp = idtree_find(&stream->nodes, iter.walk.first);
    tell(stream, iter.walk.first, lp, WATCH_EDIT);
    xstream_node_mark(&lp, &entry);
    xstream_node_count(&lp, 1);
    idtree_replace(&stream->nodes, iter.walk.first, lp);
    return true;
}

/* Whether all of the node at FIRST goes. */
static bool goes(const struct xstream *stream, const struct xstream_trim *trim,
                 struct stream_id first, const uint8_t *lp, uint64_t live) {
    if (!trim->by_id) return stream->length - live >= trim->length;
    struct xstream_walk walk;
    struct xstream_entry last;
    xstream_walk_init(&walk, first, lp, true);
    return !xstream_walk_next(&walk, &last) || stream_id_compare(last.id, trim->min_id) < 0;
}

/* Mark what goes at the front of the node at FIRST; how many. */
static uint64_t trim_node(struct xstream *stream, const struct xstream_trim *trim,
                          struct stream_id first, uint8_t *lp) {
    struct xstream_walk walk;
    struct xstream_entry entry;
    int64_t marked = 0;
    tell(stream, first, lp, WATCH_EDIT);
    xstream_walk_init(&walk, first, lp, false);
    while (xstream_walk_next(&walk, &entry)) {
        bool stays = trim->by_id ? stream_id_compare(entry.id, trim->min_id) >= 0
                                 : stream->length <= trim->length;
        if (stays) break;
        if (entry.flags & XSTREAM_ENTRY_DELETED) continue;
        uint32_t before = lp_bytes(lp);
        xstream_node_mark(&lp, &entry);
        if (walk.at != LP_NONE) walk.at = walk.at + lp_bytes(lp) - before;
        walk.lp = lp;
        marked++;
        stream->length--;
    }
    xstream_node_count(&lp, marked);
    idtree_replace(&stream->nodes, first, lp);
    return (uint64_t)marked;
}

uint64_t xstream_trim(struct xstream *stream, const struct xstream_trim *trim) {
    uint64_t deleted = 0;
    struct stream_id first = STREAM_ID_MIN;
    for (uint8_t *lp; (lp = node_from(stream, first, &first)) != NULL;) {
        if (!trim->by_id && stream->length <= trim->length) break;
        uint64_t live = (uint64_t)xstream_node_live(lp);
        if (trim->limit && deleted + live > trim->limit) break;
        if (goes(stream, trim, first, lp, live)) {
            remove_node(stream, first);
            stream->length -= live;
            deleted += live;
            continue;
        }
        if (!trim->approximately) deleted += trim_node(stream, trim, first, lp);
        break;
    }
    if (deleted > 0 || stream->length == 0) xstream_refresh_first(stream);
    return deleted;
}

/* ---- what every type must be able to do ---- */

static void ops_free(enum encoding encoding, void *ptr) {
    (void)encoding;
    xstream_free(ptr);
}

static size_t ops_effort(enum encoding encoding, const void *ptr) {
    (void)encoding;
    const struct xstream *stream = ptr;
    size_t effort = stream->nodes.count;
    for (size_t i = 0; i < stream->groups.count; i++)
        effort += 1 + xstream_group_at(&stream->groups, i)->pending.count;
    return effort;
}

static void *ops_copy(enum encoding encoding, const void *ptr) {
    (void)encoding;
    const struct xstream *from = ptr;
    struct xstream *to = xstream_new();
    struct stream_id at = STREAM_ID_MIN;
    for (const uint8_t *lp; (lp = node_from(from, at, &at)) != NULL;) {
        xstream_adopt_node(to, at, mem_dup(lp, lp_bytes(lp)));
        if (!stream_id_next(&at)) break;
    }
    to->last_id = from->last_id;
    to->first_id = from->first_id;
    to->max_deleted_id = from->max_deleted_id;
    to->entries_added = from->entries_added;
    xstream_groups_copy(to, from);
    return to;
}

static size_t groups_memory(const struct xstream_names *groups) {
    size_t bytes = groups->room * sizeof *groups->items;
    for (size_t i = 0; i < groups->count; i++) {
        const struct xstream_group *group = xstream_group_at(groups, i);
        bytes += mem_size(group) + group->pending.count * sizeof(struct xstream_pending);
        bytes += 2 * idtree_bytes(&group->pending);
        bytes += group->consumers.count * sizeof(struct xstream_consumer);
    }
    return bytes;
}

static size_t ops_memory(enum encoding encoding, const void *ptr, size_t samples) {
    (void)encoding;
    const struct xstream *stream = ptr;
    size_t seen = 0, bytes = 0;
    struct stream_id at = STREAM_ID_MIN;
    for (const uint8_t *lp;
         (samples == 0 || seen < samples) && (lp = node_from(stream, at, &at)) != NULL; seen++) {
        bytes += mem_size(lp);
        if (!stream_id_next(&at)) break;
    }
    if (seen) bytes = bytes / seen * stream->nodes.count;
    return sizeof *stream + bytes + idtree_bytes(&stream->nodes) + groups_memory(&stream->groups);
}

static size_t ops_length(enum encoding encoding, const void *ptr) {
    (void)encoding;
    return ((const struct xstream *)ptr)->length;
}

static struct value_watch **ops_watch(enum encoding encoding, void *ptr) {
    (void)encoding;
    return &((struct xstream *)ptr)->watch;
}

const struct value_ops xstream_ops = {ops_free,   ops_effort, ops_copy,
                                      ops_memory, ops_length, ops_watch};
