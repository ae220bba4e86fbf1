/* snapshot_stream.c -- a big stream of a snapshot, captured node by node.
 *
 *     out | next ... nodes ... last | born later
 *
 * The walk goes up the ids of the nodes. A node ahead of it that changes or goes leaves a copy
 * behind, and the walk takes the copy when it comes there; a node that is born on the way is passed
 * over. What the stream knows of itself, and its groups with what is pending, is copied when the
 * part begins, and stands behind the nodes.
 */
#include "server/snapshot_part.h"

#include "lib/base/mem.h"
#include "server/value_rdb.h"
#include "server/xstream.h"

#define PLACE_BYTES 32u /* of an item in the tree, about */

/* What stood at an id at the start. */
struct kept_node {
    size_t size; /* 0: nothing did */
    uint8_t bytes[];
};

static struct xstream *stream_of(const struct part *part) {
    return part->value.ptr;
}

void stream_part_begin(struct part *part) {
    struct xstream *stream = stream_of(part);
    struct rdb_tape tail = {0};
    part->count = stream->nodes.count;
    (void)idtree_up_to(&stream->nodes, STREAM_ID_MAX, &part->stream.last);
    value_put_stream_tail(&tail.bytes, stream, part->key.rdb_type);
    tapes_add_tape(&part->tail, &tail);
}

static struct kept_node *keep(const uint8_t *lp, enum value_change change) {
    size_t size = change == WATCH_BORN ? 0 : lp_bytes(lp);
    struct kept_node *kept = mem_alloc(sizeof *kept + size);
    kept->size = size;
    if (size) memcpy(kept->bytes, lp, size);
    return kept;
}

void stream_part_hears(struct value_watch *watch, void *element, enum value_change change) {
    struct part *part = part_of_watch(watch);
    const struct xstream_change *node = element;
    bool is_out = part->stream.is_over || stream_id_compare(node->first, part->stream.next) < 0;
    if (part_is_muted(part) || is_out || stream_id_compare(node->first, part->stream.last) > 0 ||
        idtree_find(&part->stream.kept, node->first))
        return;
    struct kept_node *kept = keep(node->lp, change);
    (void)idtree_add(&part->stream.kept, node->first, kept);
    part->kept_bytes += mem_size(kept) + PLACE_BYTES;
    part_note(part);
}

static void put_node(struct part *part, struct rdb_tape *tape, struct stream_id first,
                     struct slice lp) {
    rdb_put_stream_node(&tape->bytes, first, lp, snapshot_pack(part->snapshot));
    part->given++;
}

static void forget(struct part *part, struct kept_node *kept) {
    part->kept_bytes -= mem_size(kept) + PLACE_BYTES;
    part_note(part);
    mem_free(kept);
}

/* What stood at the lowest id of at least `next`: in the stream, or kept. False: nothing does. */
static bool put_lowest(struct part *part, struct rdb_tape *tape) {
    struct stream_id in_stream, in_kept;
    const uint8_t *lp = idtree_from(&stream_of(part)->nodes, part->stream.next, &in_stream);
    struct kept_node *kept = idtree_from(&part->stream.kept, part->stream.next, &in_kept);
    if (lp && stream_id_compare(in_stream, part->stream.last) > 0) lp = NULL;
    if (lp == NULL && kept == NULL) return false;
    bool takes_kept = kept && (lp == NULL || stream_id_compare(in_kept, in_stream) <= 0);
    struct stream_id at = takes_kept ? in_kept : in_stream;
    if (!takes_kept)
        put_node(part, tape, at, lp_slice(lp));
    else if (kept->size)
        put_node(part, tape, at, slice_from(kept->bytes, kept->size));
    if (takes_kept) forget(part, idtree_remove(&part->stream.kept, at));
    part->stream.is_over = !stream_id_next(&at);
    part->stream.next = at;
    return true;
}

bool stream_part_step(struct part *part, struct rdb_tape *tape) {
    if (tape == NULL) return true;
    if (!part->stream.is_over && put_lowest(part, tape)) return false;
    part->stream.is_over = true;
    snapshot_put_all(part->snapshot, &part->tail);
    return true;
}

void stream_part_end(struct part *part) {
    struct stream_id at = STREAM_ID_MIN;
    for (void *kept; (kept = idtree_from(&part->stream.kept, at, &at)) != NULL;) {
        mem_free(kept);
        if (!stream_id_next(&at)) break;
    }
    idtree_close(&part->stream.kept);
}
