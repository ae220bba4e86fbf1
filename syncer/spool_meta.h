/* spool_meta.h -- what a spool says about itself: one small text file, replaced as a whole.
 *
 * Positions. An offset counts the bytes of the source's stream *before* a place: after
 * `+FULLRESYNC id X` the stream's first byte stands at offset X, and a replica that has n bytes
 * of it asks for `PSYNC id X+n+1`.
 *
 * History. A source that fails over goes on under a new replication id. `history` names the ids
 * with the offset from which each holds; an offset where two ids meet belongs to both.
 */
#ifndef SYNCER_SPOOL_META_H
#define SYNCER_SPOOL_META_H

#include "lib/base/buf.h"
#include "lib/base/why.h"

#include <stdint.h>

#define REPLID_SIZE 40
#define SPOOL_HISTORY_MAX 64

enum spool_kind {
    SPOOL_EMPTY,     /* nothing was received yet, or what was received is of no use */
    SPOOL_RECEIVING, /* an RDB is on its way; after a break it is of no use */
    SPOOL_COPY,      /* a complete RDB, and the stream behind it */
    SPOOL_STREAM,    /* the stream alone: the RDB was not asked for, or has done its service */
};

struct spool_history {
    char replid[REPLID_SIZE + 1];
    uint64_t from; /* offset */
};

struct spool_meta {
    enum spool_kind kind;
    uint64_t generation;            /* counts the full copies and attachments of this link */
    uint64_t rdb_bytes;             /* SPOOL_COPY: the size of the RDB file */
    uint64_t begin;                 /* offset: nothing before it will be read again */
    int begin_db;                   /* the database that is selected at BEGIN; -1: not known */
    char copy_id[REPLID_SIZE + 1];  /* SPOOL_COPY: names this copy, in checkpoints too */
    char boot[40];                  /* the boot in which this was written */
    struct spool_history history[SPOOL_HISTORY_MAX];
    size_t histories; /* 0 only when EMPTY */
};

void spool_meta_encode(const struct spool_meta *meta, struct buf *text);

/* ERR_CORRUPT: not written by spool_meta_encode(). */
MUST_CHECK enum err spool_meta_decode(struct slice text, struct spool_meta *meta, struct why *why);

/* Whether TEXT has the form of a replication id: 40 hexadecimal characters. */
bool replid_valid(struct slice text);

/* Whether OFFSET of history REPLID lies between the meta's first history and END. */
bool spool_meta_holds(const struct spool_meta *meta, const char *replid, uint64_t offset, uint64_t end);

/* From OFFSET on the history is called REPLID. The oldest name is forgotten when there are too many. */
void spool_meta_rename(struct spool_meta *meta, const char *replid, uint64_t offset);

/* The stream was cut at END: names that begin behind it are void. */
void spool_meta_cut(struct spool_meta *meta, uint64_t end);

#endif
