/* snapshot_part.h -- one big value of a snapshot while it is being captured; for snapshot_part.c
 * and snapshot_stream.c only. */
#ifndef SERVER_SNAPSHOT_PART_H
#define SERVER_SNAPSHOT_PART_H

#include "server/idtree.h"
#include "server/snapshot_inside.h"

struct part {
    struct part *next_part; /* of the snapshot */
    struct snapshot *snapshot;
    struct value_watch watch;
    struct value value;
    bool is_orphan, is_begun;
    int origin;
    struct rdb_key key;     /* owned */
    uint64_t count;         /* elements, or nodes, at the start */
    uint64_t given;         /* of them */
    uint64_t items;         /* of a list, in its nodes */
    struct table kept;      /* struct name of elements that are out; struct heap of nodes */
    struct rdb_tape early;  /* elements that were put out before the record began, the last ones */
    struct tapes earlier;   /* those in front of them */
    uint64_t cursor;        /* tables: hashes below are out */
    struct list_node *next; /* lists: not out yet */
    struct tapes tail;      /* what stands behind all elements */
    struct entry *entry;    /* strings: where the bytes are */
    size_t kept_bytes;      /* of the items of `kept` */
    size_t orphan_bytes;    /* of the value, when it is there for its parts alone; one of them counts it */
    size_t noted;           /* snapshot_memory.h: of all this, but pieces */
    struct {
        struct idtree kept;          /* struct kept_node, not out yet */
        struct stream_id next, last; /* nodes below are out; of the last one at the start */
        bool is_over;                /* all nodes are out */
    } stream;
};

static inline bool part_is_muted(const struct part *part) {
    return part->snapshot->writer == NULL;
}

/* Tell how much memory the part takes now. */
void part_note(struct part *part);

static inline struct part *part_of_watch(struct value_watch *watch) {
    return (struct part *)(void *)((char *)watch - offsetof(struct part, watch));
}

/* ---- snapshot_stream.c ---- */
void stream_part_begin(struct part *part);
/* Put the next node out; true: the value is complete. TAPE NULL: put out nothing. */
bool stream_part_step(struct part *part, struct rdb_tape *tape);
void stream_part_end(struct part *part);
/* The watch's `changes`; ELEMENT is a struct xstream_change. */
void stream_part_hears(struct value_watch *watch, void *element, enum value_change change);

#endif
