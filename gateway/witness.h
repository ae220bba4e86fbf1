/* witness.h -- what a connection with CLIENT TRACKING ON BCAST tells of P, and what it means (C22).
 *
 *     lanes --names written--> set of this fence, and of the one before
 *                                              |
 *     P -----names changed-------------> window of names --fence answered--> explained, or dirty
 *
 * P names every key that changed, whoever did it: our own lanes, other gateways, scripts that write
 * keys which they do not declare, expiry, eviction, strangers. What our own lanes did in their order
 * is explained; every other name is dirty, by an event from outside the order (C13a).
 *
 * Order. P writes the names of a turn behind everything that W was answered before, and before the
 * answers of that turn's commands. So a fence (INFO, over the witness's own connection) that is sent
 * when a command's answer is here, is answered behind all names of that command. One fence is on
 * its way at a time. Names that come between the answers of fences k-1 and k were changed by
 * commands that were not answered when fence k-1 was sent.
 *
 * Explained is a name, then, if a lane sent a command that declares to write it, which was not
 * answered when fence k-1 was sent, and if nobody (no other gateway, no stranger) ran a script
 * meanwhile: P's own counts of EVAL, EVALSHA and FCALL were the same at fences k-2 and k. (Not k-1:
 * names of the turn in which a fence is answered come behind its answer.) Where P does not tell its
 * counts, nothing is explained: every written key is copied, too, at most once a second (C14).
 *
 * Not told by Redis 7.0: SWAPDB, and XREADGROUP, XACK, XCLAIM, XAUTOCLAIM. By a script on a key that it
 * does not declare, or by a stranger, those stay for the audit. A stranger's write of a key that one
 * of our commands writes in the same moment, in whatever database, is taken for ours.
 *
 * No database is named: the key is dirty in every one that was ever seen in use, or written by us.
 *
 * When names were missed (the connection broke, this is another process): if P counts as many scripts
 * as when all names were last here (witness_safe), only strangers and expiry may have been missed,
 * which an audit tells; else everything is dirty. In both cases a claim that is older is void.
 *
 * Slots that change hands (C22b): a name of a slot that is another gateway's is dropped, but for
 * those that come while clients are held. They are kept, and are dirty if the slot is ours by the
 * table that ends the hold: the owner before has handed on what its last fence covered, and each
 * gateway held before that fence was sent. So what a stranger writes in between is named here.
 *
 * Memory: two sets of WITNESS_SET_MAX hashes; beyond that nothing is explained. WITNESS_WINDOW_BYTES of
 * names, and of those that are kept; of what comes beyond that the slot is dirty at once. Decided without I/O.
 */
#ifndef GATEWAY_WITNESS_H
#define GATEWAY_WITNESS_H

#include "gateway/lanes.h"

#define WITNESS_DATABASES 1024u /* a name's slot is dirty if P uses more */
#define WITNESS_SET_MAX (1u << 20)
#define WITNESS_WINDOW_BYTES (8u << 20)

struct witness_set {
    uint64_t *at; /* hashes of names; 0 is free */
    size_t cap, count;
    bool flush; /* a command that may change every key was on its way */
    bool full;
};

/* What P says at a fence. */
struct witness_answer {
    bool scripts_known;
    uint64_t scripts; /* ever executed */
    bool databases_beyond;
    uint64_t databases[WITNESS_DATABASES / 64]; /* bits of those in use */
};

/* How many scripts P had executed when every name until then was here and judged. */
struct witness_safe {
    bool known;
    char run_id[41];
    uint64_t scripts;
};

struct witness_figures {
    uint64_t names, explained, dirtied, fences, answered, gaps;
    uint64_t everything; /* how often all keys became dirty because of it */
};

struct witness {
    struct lanes *lanes;
    bool watching; /* its side is P: else names are dropped */
    bool on;       /* P tells names */
    bool resuming; /* names may have been missed before; the first answer tells what that means */
    bool asked;    /* a fence is on its way */
    bool owed;     /* something happened that only a later fence covers */
    bool wished;   /* the owner wants one more */
    bool proved;   /* nothing happened since the fence that was answered last was sent */
    uint64_t asked_at_us;
    char run_id[41]; /* of the server that it is connected to */
    struct witness_set sets[2];
    unsigned now; /* the set since the last fence was sent */
    struct buf window; /* names: explained, size, bytes */
    bool flushed;
    bool keeping;    /* clients are held */
    struct buf kept; /* names of slots that are others': size, bytes */
    uint64_t kept_slots[LANE_SLOTS / 64]; /* of names without room */
    bool kept_flush;
    unsigned answers; /* since it is on, up to 2 */
    struct witness_answer last, before;
    uint64_t databases[WITNESS_DATABASES / 64]; /* ever in use */
    bool databases_beyond;
    struct witness_safe safe;
    struct witness_figures figures;
};

void witness_init(struct witness *witness, struct lanes *lanes);
void witness_close(struct witness *witness);

/* Its side is P from now on, or is it no longer. At the start, and when the sides change roles while
 * nothing is under way. */
void witness_watch(struct witness *witness, bool watching);

/* Every name comes from now on, from the server with this run id / none comes any more. */
void witness_begin(struct witness *witness, const char *run_id);
void witness_end(struct witness *witness);

/* EFFECT leaves for P down a lane. / Something simple, that writes the key NAME in DB. */
void witness_sent(struct witness *witness, const struct effect *effect);
void witness_sent_name(struct witness *witness, int32_t db, struct slice name);
/* A command that may have written was answered, or will not be: only a fence that is sent from now on
 * covers it. */
static inline void witness_owe(struct witness *witness) {
    witness->owed = true;
    witness->proved = false;
}

/* P says that NAME changed / that everything did. */
void witness_name(struct witness *witness, struct slice name);
void witness_flush(struct witness *witness);

/* Clients are held from now on, before that is confirmed / no longer. */
void witness_keep(struct witness *witness, bool keep);
/* The lanes own other slots now: what was kept of theirs is dirty. */
void witness_owned(struct witness *witness);

/* Whether a fence should be sent now: HURRY, not only every few milliseconds. */
bool witness_wants(const struct witness *witness, uint64_t now_us, bool hurry);
void witness_asked(struct witness *witness, uint64_t now_us);
/* Its answer; NULL: an error that proves nothing (BUSY, LOADING). */
void witness_told(struct witness *witness, const struct witness_answer *answer);

/* All names of everything that was answered before witness_owe() was last called are here and
 * judged. */
static inline bool witness_is_proved(const struct witness *w) {
    return w->on && !w->resuming && w->proved && buf_size(&w->window) == 0 && !w->flushed;
}
/* And nothing is left that the next process would have to doubt: `safe` is what P said last. */
static inline bool witness_is_safe(const struct witness *w) {
    return !w->last.scripts_known || (w->safe.known && w->safe.scripts == w->last.scripts);
}
/* Of a side that is not P: it is ready to become so without a gap. */
static inline bool witness_is_armed(const struct witness *w) {
    return w->on && w->answers > 0;
}

/* Read from the answers to INFO commandstats and INFO keyspace, one behind the other, in either
 * protocol. False: an error that proves nothing. */
MUST_CHECK bool witness_read(struct slice replies, struct witness_answer *answer);

/* What is to be remembered over the death of the process, as text of a fixed size, and read back. */
#define WITNESS_SAFE_SIZE 72u
void witness_safe_write(const struct witness_safe *safe, char text[WITNESS_SAFE_SIZE]);
void witness_safe_read(struct witness_safe *safe, struct slice text);

#endif
