/* xstream_group.c -- groups, consumers, and what is pending. See xstream_group.h. */
#include "server/xstream.h"

#include "lib/base/mem.h"

/* ---- ordered names ---- */

/* The place of NAME; *THERE says whether it is taken by it. */
static size_t place_of(const struct xstream_names *names, struct slice name, bool *there) {
    size_t low = 0, high = names->count;
    *there = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = slice_compare(names->items[middle]->name, name);
        if (order == 0) *there = true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct xstream_named *names_find(const struct xstream_names *names, struct slice name) {
    bool there;
    size_t at = place_of(names, name, &there);
    return there ? names->items[at] : NULL;
}

/* Put ITEM, whose name is set here, in its place; false if the name is taken. */
static bool names_add(struct xstream_names *names, struct xstream_named *item, struct slice name) {
    bool there;
    size_t at = place_of(names, name, &there);
    if (there) return false;
    if (names->count == names->room) {
        names->room = names->room ? names->room * 2 : 2;
        names->items = mem_realloc(names->items, names->room * sizeof *names->items);
    }
    memmove(names->items + at + 1, names->items + at, (names->count - at) * sizeof *names->items);
    names->items[at] = item;
    names->count++;
    item->name =
        slice_from(mem_dup(name.size ? name.data : (const uint8_t *)"", name.size), name.size);
    return true;
}

static void names_remove(struct xstream_names *names, const struct xstream_named *item) {
    bool there;
    size_t at = place_of(names, item->name, &there);
    ASSERT(there && names->items[at] == item);
    names->count--;
    memmove(names->items + at, names->items + at + 1, (names->count - at) * sizeof *names->items);
}

static void name_free(struct xstream_named *named) {
    mem_free((void *)(uintptr_t)named->name.data);
}

/* ---- groups and consumers ---- */

static void consumer_free(struct xstream_consumer *consumer) {
    idtree_close(&consumer->pending);
    name_free(&consumer->named);
    mem_free(consumer);
}

static void group_free(struct xstream_group *group) {
    struct stream_id at = STREAM_ID_MIN;
    for (void *item; (item = idtree_from(&group->pending, at, &at)) != NULL;) {
        mem_free(item);
        if (!stream_id_next(&at)) break;
    }
    idtree_close(&group->pending);
    for (size_t i = 0; i < group->consumers.count; i++)
        consumer_free(xstream_consumer_at(&group->consumers, i));
    mem_free(group->consumers.items);
    name_free(&group->named);
    mem_free(group);
}

void xstream_groups_free(struct xstream *stream) {
    for (size_t i = 0; i < stream->groups.count; i++)
        group_free(xstream_group_at(&stream->groups, i));
    mem_free(stream->groups.items);
    stream->groups = (struct xstream_names){0};
}

struct xstream_group *xstream_group_find(const struct xstream *stream, struct slice name) {
    return (struct xstream_group *)names_find(&stream->groups, name);
}

struct xstream_group *xstream_group_add(struct xstream *stream, struct slice name,
                                        struct stream_id last_id, int64_t entries_read) {
    struct xstream_group *group = NEW(struct xstream_group);
    group->last_id = last_id;
    group->entries_read = entries_read;
    if (names_add(&stream->groups, &group->named, name)) return group;
    mem_free(group);
    return NULL;
}

void xstream_group_remove(struct xstream *stream, struct xstream_group *group) {
    names_remove(&stream->groups, &group->named);
    group_free(group);
}

struct xstream_consumer *xstream_consumer_find(const struct xstream_group *group,
                                               struct slice name) {
    return (struct xstream_consumer *)names_find(&group->consumers, name);
}

struct xstream_consumer *xstream_consumer_add(struct xstream_group *group, struct slice name,
                                              int64_t seen_ms) {
    struct xstream_consumer *consumer = NEW(struct xstream_consumer);
    consumer->seen_ms = seen_ms;
    if (names_add(&group->consumers, &consumer->named, name)) return consumer;
    mem_free(consumer);
    return NULL;
}

void xstream_consumer_remove(struct xstream_group *group, struct xstream_consumer *consumer) {
    struct stream_id at = STREAM_ID_MIN;
    while (idtree_from(&consumer->pending, at, &at) != NULL) {
        mem_free(idtree_remove(&group->pending, at));
        if (!stream_id_next(&at)) break;
    }
    names_remove(&group->consumers, &consumer->named);
    consumer_free(consumer);
}

/* ---- what is pending ---- */

struct xstream_pending *xstream_pending_give(struct xstream_group *group, struct stream_id id,
                                             struct xstream_consumer *consumer) {
    struct xstream_pending *pending = idtree_find(&group->pending, id);
    if (pending == NULL) {
        pending = NEW(struct xstream_pending);
        (void)idtree_add(&group->pending, id, pending);
    }
    if (pending->consumer == consumer) return pending;
    if (pending->consumer) (void)idtree_remove(&pending->consumer->pending, id);
    pending->consumer = consumer;
    (void)idtree_add(&consumer->pending, id, pending);
    return pending;
}

bool xstream_pending_drop(struct xstream_group *group, struct stream_id id) {
    struct xstream_pending *pending = idtree_remove(&group->pending, id);
    if (pending == NULL) return false;
    if (pending->consumer) (void)idtree_remove(&pending->consumer->pending, id);
    mem_free(pending);
    return true;
}

static void copy_consumer(struct xstream_group *to, const struct xstream_consumer *from) {
    struct xstream_consumer *consumer = xstream_consumer_add(to, from->named.name, from->seen_ms);
    struct stream_id at = STREAM_ID_MIN;
    for (const struct xstream_pending *old; (old = idtree_from(&from->pending, at, &at)) != NULL;) {
        struct xstream_pending *new = xstream_pending_give(to, at, consumer);
        new->delivered_ms = old->delivered_ms;
        new->deliveries = old->deliveries;
        if (!stream_id_next(&at)) break;
    }
}

void xstream_groups_copy(struct xstream *to, const struct xstream *from) {
    for (size_t i = 0; i < from->groups.count; i++) {
        const struct xstream_group *old = xstream_group_at(&from->groups, i);
        struct xstream_group *new =
            xstream_group_add(to, old->named.name, old->last_id, old->entries_read);
        for (size_t j = 0; j < old->consumers.count; j++)
            copy_consumer(new, xstream_consumer_at(&old->consumers, j));
    }
}

/* ---- how far a group has read ---- */

static bool is_zero(struct stream_id id) {
    return id.ms == 0 && id.seq == 0;
}

/* Whether an entry behind FROM may have been deleted, so that counting by difference fails. */
static bool has_holes(const struct xstream *stream, struct stream_id from) {
    if (stream->length == 0 || is_zero(stream->max_deleted_id)) return false;
    if (stream_id_compare(stream->first_id, stream->max_deleted_id) > 0) return false;
    return stream_id_compare(from, stream->max_deleted_id) <= 0;
}

int64_t xstream_distance(const struct xstream *stream, struct stream_id id) {
    int64_t added = (int64_t)stream->entries_added;
    if (added == 0) return 0;
    int order = stream_id_compare(id, stream->last_id);
    if (order == 0 || (order < 0 && stream->length == 0)) return added;
    if (order > 0) return ENTRIES_READ_UNKNOWN;
    bool whole = is_zero(stream->max_deleted_id) ||
                 stream_id_compare(stream->max_deleted_id, stream->first_id) < 0;
    int from_first = stream_id_compare(id, stream->first_id);
    if (!whole || from_first > 0) return ENTRIES_READ_UNKNOWN;
    return (int64_t)(stream->entries_added - stream->length + (from_first == 0));
}

bool xstream_lag(const struct xstream *stream, const struct xstream_group *group, int64_t *lag) {
    int64_t read = 0;
    if (stream->entries_added > 0) {
        read = group->entries_read;
        if (read == ENTRIES_READ_UNKNOWN || has_holes(stream, group->last_id))
            read = xstream_distance(stream, group->last_id);
        if (read == ENTRIES_READ_UNKNOWN) return false;
    }
    *lag = stream->entries_added > 0 ? (int64_t)(stream->entries_added - (uint64_t)read) : 0;
    return true;
}

void xstream_group_advance(const struct xstream *stream, struct xstream_group *group,
                           struct stream_id id) {
    if (group->entries_read != ENTRIES_READ_UNKNOWN && !has_holes(stream, id))
        group->entries_read = (int64_t)((uint64_t)group->entries_read + 1);
    else if (stream->entries_added > 0)
        group->entries_read = xstream_distance(stream, id);
    group->last_id = id;
}
