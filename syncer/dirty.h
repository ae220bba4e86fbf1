/* dirty.h -- the keys of which the target is not known to have the source's value, and their log.
 *
 * Every change is an entry of a log with its place in the stream (C7b). The set itself does no I/O:
 * entries gather in `log`; the owner appends them to the log file, and does so before it sends what
 * depends on them. After a crash, or at a target that fell back to older data, dirty_load() finds
 * the state at the checkpoint:
 *
 *   DIRTY p key    dirty from p on (the place *before* the batch that made it so)
 *   CLEAN p key    a copy took effect at p
 *   SEEN p         all answers up to p were looked at
 *   REWIND p       the target fell back to p: what stands before this entry with a place behind p is void
 *   CLEAR p db     FLUSHALL (db -1) or FLUSHDB took effect at p
 *
 * What lies between SEEN and the checkpoint was applied by a process that died before it read the
 * answers: dirty_load() tells where that begins, and the owner makes its keys dirty.
 */
#ifndef SYNCER_DIRTY_H
#define SYNCER_DIRTY_H

#include "lib/base/buf.h"
#include "lib/base/why.h"
#include "syncer/checkpoint.h"
#include "syncer/keymap.h"

struct dirty_key {
    struct keymap_entry entry; /* first: database, key */
    uint32_t attempts;         /* copies that failed in a row */
    bool quarantined;          /* could not be copied; still tried, rarely */
    bool asked;                /* a copy was asked for or waits for its place */
    bool foreign;              /* somebody else wrote it at the target (C26) */
    int64_t next_try_ms;       /* monotonic; 0: at once */
    char reason[96];           /* why it is dirty, or why it cannot be copied */
};

struct dirty {
    struct keymap keys; /* struct dirty_key */
    size_t quarantined, foreign;
    struct buf log; /* entries that the owner has not yet taken to the file */
};

void dirty_init(struct dirty *dirty);
void dirty_close(struct dirty *dirty);

static inline size_t dirty_count(const struct dirty *dirty) { return dirty->keys.count; }
struct dirty_key *dirty_find(const struct dirty *dirty, int db, struct slice key);

/* Make KEY dirty from PLACE on. Nothing is logged when it is dirty already. */
void dirty_mark(struct dirty *dirty, struct place place, int db, struct slice key, const char *reason);
void dirty_mark_foreign(struct dirty *dirty, struct place place, int db, struct slice key); /* and count it as such */
void dirty_clean(struct dirty *dirty, struct place place, struct dirty_key *key);
void dirty_seen(struct dirty *dirty, struct place place);
void dirty_clear(struct dirty *dirty, struct place place, int db); /* -1: all databases */
/* SWAPDB: each dirty key of one of both databases makes its twin in the other one dirty. */
void dirty_mirror(struct dirty *dirty, struct place place, int a, int b);

/* A copy of KEY failed. After ATTEMPTS_MAX in a row it is quarantined, and tried each 30 s. */
void dirty_failed(struct dirty *dirty, struct dirty_key *key, const char *reason, int64_t now_ms);

/* Read the whole LOG and become what it says for the checkpoint AT. *SEEN <= AT: the answers from
 * there on were not read. *HIGHEST is the last place that the log knows; when it lies behind AT the
 * target fell back, and a new log entry notes it. A cut or damaged end is taken as the end:
 * *USED_BYTES of LOG are good, cut the file there. */
void dirty_load(struct dirty *dirty, struct slice log, struct place at, struct place *seen, struct place *highest,
                size_t *used_bytes);

/* The shortest log with the same meaning for every checkpoint at or behind HORIZON. */
void dirty_compact(struct slice log, struct place horizon, struct buf *out);

#endif
