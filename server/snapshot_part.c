/* snapshot_part.c -- one big value of a snapshot, captured element by element while it changes.
 *
 *     tables (hash, set, sorted set)   the walk goes up the hashes. Elements below it are out.
 *                                      One above it that changes is put out first; its name is
 *                                      kept, so that the walk passes it over when it comes.
 *     string                           the walk goes up the pages of 4 KB. One before it that
 *                                      changes leaves a copy behind.
 *     list                             the walk goes from node to node. A node before it that
 *                                      changes leaves a copy behind; one that goes leaves its copy
 *                                      to the next node, so that the order stays.
 *     stream                           snapshot_stream.c
 *
 * What this costs in memory is bounded by what changes while the value is being captured, and a
 * value that began to change is captured before others are.
 * An aborted snapshot puts nothing out; its list walks go on, so that all nodes are passed.
 */
#include "server/snapshot_part.h"

#include "lib/base/mem.h"
#include "server/hash.h"
#include "server/helper.h"
#include "server/list.h"
#include "server/set.h"
#include "server/snapshot_memory.h"
#include "server/value_rdb.h"
#include "server/xstream.h"
#include "server/zset.h"

#define ELEMENTS_MIN 16 /* a table with fewer is copied at once */
#define NODES_MIN 3     /* so is a list */
#define STRING_BYTES_MIN ((size_t)32 * 1024)
#define PAGE_BYTES ((size_t)4096)
#define PAGES_A_STEP 4
#define PAIR_USUAL 64
#define EARLY_BYTES ((size_t)64 * 1024)
#define PLACE_BYTES 12u /* of an item in a table, about */
#define SAMPLES 5       /* of a value that is measured */

void part_note(struct part *part) {
    snapshot_memory_note(&part->noted, sizeof *part + part->key.key.size + part->kept_bytes +
                                           part->orphan_bytes + tape_room(&part->early));
}

/* ---- tables ---- */

struct name {
    size_t size;
    uint8_t bytes[];
};

static struct slice name_key(const void *item) {
    const struct name *name = item;
    return slice_from(name->bytes, name->size);
}

static const struct table_type names = {.key = name_key};

static struct table *table_of(const struct part *part) {
    return part->value.type == TYPE_ZSET ? zset_members(&part->value) : part->value.ptr;
}

static void put_item(struct part *part, struct rdb_tape *tape, const void *item) {
    enum rdb_pack pack = snapshot_pack(part->snapshot);
    struct slice field, value;
    part->given++;
    if (part->value.type == TYPE_HASH) {
        hash_item(item, &field, &value);
        rdb_put_string(&tape->bytes, field, pack);
        rdb_put_string(&tape->bytes, value, pack);
    } else if (part->value.type == TYPE_SET) {
        rdb_put_string(&tape->bytes, set_item(item), pack);
    } else {
        rdb_put_string(&tape->bytes, zitem_member(item), pack);
        rdb_put_score(&tape->bytes, ((const struct zitem *)item)->score, part->key.rdb_type);
    }
}

static void item_changes(struct value_watch *watch, void *item, enum value_change change) {
    struct part *part = part_of_watch(watch);
    struct slice key = table_of(part)->type->key(item);
    uint64_t hash = table_hash(key);
    if (part_is_muted(part) || hash < part->cursor || table_find_hashed(&part->kept, key, hash))
        return;
    struct name *name = mem_alloc(sizeof *name + key.size);
    name->size = key.size;
    if (key.size) memcpy(name->bytes, key.data, key.size);
    table_add_hashed(&part->kept, name, hash);
    part->kept_bytes += mem_size(name) + PLACE_BYTES;
    part_note(part);
    if (change == WATCH_BORN) return;
    put_item(part, part->is_begun ? &part->snapshot->tape : &part->early, item);
    if (!part->is_begun && buf_size(&part->early.bytes) >= EARLY_BYTES)
        snapshot_writer_set_aside(part->snapshot->writer, &part->early, &part->earlier);
    snapshot_push(part->snapshot);
}

/* The items of a pair of buckets that are not out, by their hashes: the walk may stop between two.
 */
struct pair {
    struct found_item {
        uint64_t hash;
        void *item;
    } usual[PAIR_USUAL], *items;
    size_t count, room;
};

static void collect(void *ctx, void *item) {
    struct pair *pair = ctx;
    __builtin_prefetch(item);
    __builtin_prefetch((const char *)item + 64);
    if (pair->count == pair->room) {
        struct found_item *more = NEW_ARRAY(struct found_item, pair->room * 2);
        memcpy(more, pair->items, pair->count * sizeof *more);
        if (pair->items != pair->usual) mem_free(pair->items);
        pair->items = more;
        pair->room *= 2;
    }
    pair->items[pair->count++].item = item;
}

/* Leave those that are not out, in order; there are some ten. */
static void sort_out(struct part *part, struct pair *pair) {
    const struct table *table = table_of(part);
    size_t kept = 0;
    for (size_t i = 0; i < pair->count; i++) {
        struct found_item found = {.item = pair->items[i].item};
        struct slice key = table->type->key(found.item);
        found.hash = table_hash(key);
        if (found.hash < part->cursor || table_find_hashed(&part->kept, key, found.hash)) continue;
        size_t at = kept++;
        for (; at > 0 && pair->items[at - 1].hash > found.hash; at--)
            pair->items[at] = pair->items[at - 1];
        pair->items[at] = found;
    }
    pair->count = kept;
}

static bool table_step(struct part *part, struct rdb_tape *tape, const struct budget *budget) {
    if (tape == NULL) return true;
    struct pair pair;
    pair.items = pair.usual;
    pair.count = 0;
    pair.room = PAIR_USUAL;
    uint64_t next = table_scan(table_of(part), part->cursor, collect, &pair);
    sort_out(part, &pair);
    for (size_t i = 0; i < pair.count; i++) {
        put_item(part, tape, pair.items[i].item);
        bool may_stop = i + 1 < pair.count && pair.items[i + 1].hash > pair.items[i].hash;
        if (!may_stop || !budget_is_over(budget)) continue;
        next = pair.items[i].hash + 1;
        break;
    }
    if (pair.items != pair.usual) mem_free(pair.items);
    part->cursor = next;
    return next == 0;
}

/* ---- lists ---- */

/* What belongs in front of a node, and what the node was before it changed. */
struct heap {
    const struct list_node *node;
    struct tapes before, was;
    bool has_changed;
};

static struct slice heap_key(const void *item) {
    const struct heap *heap = item;
    return slice_from((const uint8_t *)&heap->node, sizeof heap->node);
}

static const struct table_type heaps = {.key = heap_key};

static struct heap *heap_find(struct part *part, const struct list_node *node) {
    return table_find(&part->kept, slice_from((const uint8_t *)&node, sizeof node));
}

static struct heap *heap_make(struct part *part, const struct list_node *node) {
    struct heap *heap = heap_find(part, node);
    if (heap) return heap;
    heap = NEW(struct heap);
    heap->node = node;
    table_add(&part->kept, heap);
    part->kept_bytes += sizeof *heap + PLACE_BYTES;
    part_note(part);
    return heap;
}

static void heap_free(struct part *part, struct heap *heap) {
    if (heap == NULL) return;
    (void)table_take(&part->kept, heap_key(heap));
    part->kept_bytes -= sizeof *heap + PLACE_BYTES;
    part_note(part);
    tapes_close(&heap->before);
    tapes_close(&heap->was);
    mem_free(heap);
}

static void put_node(struct part *part, struct rdb_tape *tape, const struct list_node *node) {
    part->given++;
    value_put_list_node(&tape->bytes, node, part->key.rdb_type, snapshot_pack(part->snapshot));
}

static void keep_node(struct part *part, struct tapes *tapes, const struct list_node *node) {
    struct rdb_tape tape = {0};
    put_node(part, &tape, node);
    tapes_add_tape(tapes, &tape);
}

/* The node goes: what it and those before it were belongs to the next one. */
static void node_goes(struct part *part, struct list_node *node, bool is_passed) {
    struct heap *heap = heap_find(part, node);
    const struct list_node *next = list_node_next(part->value.ptr, node);
    if (part->next == node) part->next = (struct list_node *)(uintptr_t)next;
    if (is_passed && heap == NULL) return;
    struct tapes all = {0};
    if (heap) tapes_join(&all, &heap->before);
    if (!is_passed && heap && heap->has_changed)
        tapes_join(&all, &heap->was);
    else if (!is_passed)
        keep_node(part, &all, node);
    heap_free(part, heap);
    struct tapes *to = next ? &heap_make(part, next)->before : &part->tail;
    tapes_join(&all, to); /* what went from between came after it */
    *to = all;
}

static void node_changes(struct value_watch *watch, void *element, enum value_change change) {
    struct part *part = part_of_watch(watch);
    struct list_node *node = element;
    bool is_passed = list_node_is_passed(part->value.ptr, node, snapshot_bit(part->snapshot));
    if (part_is_muted(part)) {
        if (change == WATCH_GONE && part->next == node)
            part->next = (struct list_node *)(uintptr_t)list_node_next(part->value.ptr, node);
        return;
    }
    if (change == WATCH_GONE) {
        node_goes(part, node, is_passed);
        return;
    }
    if (is_passed) return;
    struct heap *heap = heap_make(part, node);
    if (heap->has_changed) return;
    heap->has_changed = true;
    keep_node(part, &heap->was, node);
}

static bool list_step(struct part *part, struct rdb_tape *tape) {
    struct list *list = part->value.ptr;
    struct list_node *node = part->next;
    uint8_t walk = snapshot_bit(part->snapshot);
    if (node == NULL) {
        snapshot_put_all(part->snapshot, &part->tail);
        return true;
    }
    struct heap *heap = heap_find(part, node);
    bool is_passed = list_node_is_passed(list, node, walk);
    if (heap) snapshot_put_all(part->snapshot, &heap->before);
    if (!is_passed && heap && heap->has_changed)
        snapshot_put_all(part->snapshot, &heap->was);
    else if (tape && !is_passed)
        put_node(part, tape, node);
    heap_free(part, heap);
    list_node_pass(list, node, walk);
    part->next = (struct list_node *)(uintptr_t)list_node_next(list, node);
    return false;
}

/* ---- strings ---- */

struct page {
    uint64_t number;
    uint8_t bytes[];
};

static struct slice page_key(const void *item) {
    const struct page *page = item;
    return slice_from((const uint8_t *)&page->number, sizeof page->number);
}

static const struct table_type pages = {.key = page_key};

static const struct page *page_find(const struct part *part, uint64_t number) {
    if (table_count(&part->kept) == 0) return NULL;
    return table_find(&part->kept, slice_from((const uint8_t *)&number, sizeof number));
}

/* The bytes of a page, as many as there were at the start. */
static size_t page_bytes(const struct part *part, uint64_t number) {
    uint64_t left = part->count - number * PAGE_BYTES;
    return left < PAGE_BYTES ? (size_t)left : PAGE_BYTES;
}

static struct part *part_of_string(const struct snapshot *s, const struct entry *e) {
    struct part *part = s->parts;
    while (part && part->entry != e) part = part->next_part;
    ASSERT(part);
    return part;
}

void part_edit_string(struct snapshot *s, const struct entry *e, size_t from, size_t to) {
    struct part *part = part_of_string(s, e);
    if (part_is_muted(part)) return;
    if (from < part->given) from = part->given;
    if (to > part->count) to = part->count;
    for (uint64_t number = from / PAGE_BYTES; number * PAGE_BYTES < to; number++) {
        if (page_find(part, number)) continue;
        size_t size = page_bytes(part, number);
        struct page *page = mem_alloc(sizeof *page + size);
        page->number = number;
        memcpy(page->bytes, entry_string(e, NULL).data + number * PAGE_BYTES, size);
        table_add(&part->kept, page);
        part->kept_bytes += mem_size(page) + PLACE_BYTES;
        part_note(part);
    }
}

void part_move_string(struct snapshot *s, const struct entry *old, struct entry *new) {
    part_of_string(s, old)->entry = new;
}

void part_keep_string(struct snapshot *s, const struct entry *e) {
    struct part *part = part_of_string(s, e);
    bool is_counted = e->colours >> 4 & (snapshot_bit(s) - 1u); /* by the part of a slot before */
    part->is_orphan = true;
    if (!is_counted) part->orphan_bytes = entry_memory(e, SAMPLES);
    part_note(part);
}

static bool string_step(struct part *part, struct rdb_tape *tape) {
    if (tape == NULL) return true;
    for (int i = 0; i < PAGES_A_STEP && part->given < part->count; i++) {
        uint64_t number = part->given / PAGE_BYTES;
        size_t size = page_bytes(part, number);
        const struct page *page = page_find(part, number);
        const uint8_t *bytes =
            page ? page->bytes : entry_string(part->entry, NULL).data + number * PAGE_BYTES;
        buf_append(&tape->bytes, bytes, size);
        part->given += size;
    }
    return part->given == part->count;
}

/* ---- all ---- */

static void orphaned(struct value_watch *watch) {
    struct part *part = part_of_watch(watch);
    const struct value *value = &part->value;
    part->is_orphan = true;
    if (watch->next == NULL)
        part->orphan_bytes = value_ops(value->type)->memory(value->encoding, value->ptr, SAMPLES);
    part_note(part);
}

bool part_is_needed(const struct entry *e) {
    if (entry_type(e) == TYPE_STRING)
        return entry_encoding(e) != ENC_INT && entry_string(e, NULL).size >= STRING_BYTES_MIN;
    if (entry_type(e) == TYPE_LIST) return list_nodes(entry_ptr(e)) > NODES_MIN;
    if (entry_type(e) == TYPE_STREAM) return xstream_is_big(entry_ptr(e));
    struct value value = entry_value(e);
    return value_watches(&value) != NULL &&
           value_ops(value.type)->length(value.encoding, value.ptr) > ELEMENTS_MIN;
}

static void begin_watch(struct part *part) {
    part->watch =
        (struct value_watch){.changes = part->value.type == TYPE_LIST     ? node_changes
                                        : part->value.type == TYPE_STREAM ? stream_part_hears
                                                                          : item_changes,
                             .orphaned = orphaned};
    struct value_watch **watches = value_watches(&part->value);
    part->watch.next = *watches;
    *watches = &part->watch;
}

/* What it takes to go over the value of E, which may change meanwhile. */
static void begin_walk(struct part *part, struct entry *e) {
    struct snapshot *s = part->snapshot;
    table_init(&part->kept, &pages);
    if (part->value.type == TYPE_STRING) {
        part->count = part->value.bytes.size;
        part->entry = e;
        e->colours |= part_bit(s);
        return;
    }
    if (part->value.type == TYPE_LIST) {
        table_init(&part->kept, &heaps);
        part->count = list_nodes(part->value.ptr);
        part->items = list_count(part->value.ptr);
        list_walk_begin(part->value.ptr, snapshot_bit(s));
        part->next = (struct list_node *)(uintptr_t)list_node_next(part->value.ptr, NULL);
    } else if (part->value.type == TYPE_STREAM) {
        stream_part_begin(part);
    } else {
        table_init(&part->kept, &names);
        part->count = table_count(table_of(part));
    }
    begin_watch(part);
}

void part_begin(struct snapshot *s, int origin, struct entry *e) {
    struct part *part = NEW(struct part);
    struct slice key = entry_key(e);
    part->snapshot = s;
    part->value = entry_value(e);
    part->origin = origin;
    part->key = (struct rdb_key){.db = (uint32_t)origin,
                                 .key = slice_from(mem_dup(key.data, key.size), key.size),
                                 .expire_at_ms = entry_expiry(e),
                                 .idle_s = -1,
                                 .freq = -1,
                                 .rdb_type = value_rdb_type_for(&part->value, s->version)};
    begin_walk(part, e);
    part_note(part);
    *s->parts_end = part;
    s->parts_end = &part->next_part;
}

/* The value has other parts, which go on: one of them counts it from here on. */
static void pass_orphan(struct part *part, struct part *other) {
    other->orphan_bytes += part->orphan_bytes;
    part->orphan_bytes = 0;
    part_note(part);
    part_note(other);
}

static void leave_string(struct part *part) {
    struct entry *e = part->entry;
    e->colours &= (uint8_t)~part_bit(part->snapshot);
    if (!part->is_orphan) return;
    if (e->colours >> 4 == 0) {
        entry_free(e);
        return;
    }
    unsigned slot = (unsigned)__builtin_ctz(e->colours >> 4);
    pass_orphan(part, part_of_string(part->snapshot->all->slots[slot], e));
}

static void stop_watching(struct part *part) {
    if (part->entry) {
        leave_string(part);
        return;
    }
    struct value_watch **at = value_watches(&part->value);
    struct value_watch *const *first = at;
    while (*at != &part->watch) at = &(*at)->next;
    *at = part->watch.next;
    if (!part->is_orphan) return;
    if (*first == NULL)
        value_free(&part->value);
    else
        pass_orphan(part, part_of_watch(*first));
}

/* What is left of a part; freed beside the engine, as there is something of each change. */
struct remains {
    struct table kept;
    bool are_heaps;
};

static void free_remains(void *arg) {
    struct remains *remains = arg;
    struct table_iter iter;
    table_iter_init(&iter, &remains->kept);
    for (void *item; (item = table_iter_next(&iter)) != NULL;) {
        if (remains->are_heaps) {
            tapes_close(&((struct heap *)item)->before);
            tapes_close(&((struct heap *)item)->was);
        }
        mem_free(item);
    }
    table_close(&remains->kept);
    mem_free(remains);
}

static void part_end(struct part *part) {
    ASSERT(part_is_muted(part) || part->given == part->count); /* invariant 2 */
    stop_watching(part);
    stream_part_end(part);
    struct remains remains = {part->kept, part->value.type == TYPE_LIST};
    struct snapshot *s = part->snapshot; /* only its first part is ever stepped */
    s->parts = part->next_part;
    if (s->parts == NULL) s->parts_end = &s->parts;
    if (table_count(&remains.kept)) helper_run(free_remains, mem_dup(&remains, sizeof remains));
    snapshot_memory_forget_later(&part->noted);
    rdb_tape_close(&part->early);
    tapes_close(&part->earlier);
    tapes_close(&part->tail);
    mem_free((void *)(uintptr_t)part->key.key.data);
    mem_free(part);
}

static void begin_record(struct part *part) {
    struct snapshot *s = part->snapshot;
    struct rdb_tape *tape = snapshot_tape(s, part->origin);
    part->is_begun = true;
    if (tape == NULL) return;
    rdb_put_key(&tape->bytes, &part->key, snapshot_pack(s));
    rdb_put_length(&tape->bytes, part->key.rdb_type == RDB_LIST ? part->items : part->count);
    snapshot_put_all(s, &part->earlier);
    if (buf_size(&part->early.bytes)) {
        snapshot_writer_give(s->writer, tape);
        snapshot_writer_give(s->writer, &part->early);
    }
    s->part_is_open = true;
    s->side_db = -1;
}

static void end_record(struct snapshot *s) {
    if (!s->part_is_open) return;
    s->part_is_open = false;
    if (s->writer == NULL || s->side_db < 0) return; /* the side is empty */
    snapshot_writer_give(s->writer, &s->tape);
    snapshot_writer_give_all(s->writer, &s->aside);
    struct rdb_tape room = s->tape;
    s->tape = s->side;
    s->side = room;
    s->tape_db = s->side_db;
}

static bool walk_step(struct part *part, struct rdb_tape *tape, const struct budget *budget) {
    if (part->value.type == TYPE_STRING) return string_step(part, tape);
    if (part->value.type == TYPE_STREAM) return stream_part_step(part, tape);
    return part->value.type == TYPE_LIST ? list_step(part, tape) : table_step(part, tape, budget);
}

bool part_step(struct snapshot *s, const struct budget *budget) {
    struct part *part = s->parts;
    if (!part->is_begun) begin_record(part);
    struct rdb_tape *tape = s->writer ? &s->tape : NULL;
    bool is_over = walk_step(part, tape, budget);
    if (is_over) {
        part_end(part);
        end_record(s);
    }
    snapshot_push(s);
    return is_over;
}
