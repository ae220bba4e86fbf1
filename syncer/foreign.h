/* foreign.h -- what others wrote to the source of a standby link, until it is made good (C26).
 *
 *   [apply thread of the standby link]      [control thread]              [apply thread of the active link]
 *   a unit that is not the other link's ->  link_hand_over(): its keys -> dirty, copied from the primary side (C7a, C33)
 *   the gate is closed: open > 0            all clean again, and nobody wrote for FOREIGN_QUIET_MS: open = 0
 *
 * The standby link sees a unit after the server has carried it out, so a copy that takes effect
 * after that is the last word. What has no keys that we could name (FLUSHALL, SWAPDB, FUNCTION, a
 * command that is not in our table), and what does not fit into FOREIGN_BYTES_MAX, leaves the gate
 * closed until an audit finds both sides equal at an offset behind it.
 *
 * Durable. The standby link's spool is not trimmed while keys are on their way (foreign_is_waiting), so
 * that a restart finds the units there again. Where an audit is needed, the ledger knows: its last
 * claim is stale (C32).
 *
 * A key that is gone (C8): a DEL or UNLINK of one key, alone, is an expiry, an eviction, or a person.
 * The key becomes dirty, and the gate stays as it is; but no word is lost about the expiry of a
 * server that expires by its own clock, when the key's deadline has passed there: our side of that
 * bargain is kept elsewhere. The key is gone at the follower side before the primary side says so;
 * whatever of the stream touches it in between comes behind its deadline and makes it dirty
 * (apply.h); what replaces it is right as it is; and in the end comes the primary side's own DEL,
 * which finds nothing. So short-lived keys make nothing dirty, however many they are. What this
 * misses: a person who deletes a key shortly before its time, within the moment (100 ms) that the
 * standby link reads behind. Deadlines that are not known (keys set before the link attached and
 * not in the other link's file) cost a copy, once each.
 *
 * Inside the other link's own MULTI a DEL or UNLINK of one key is compared with what that link sent (sent.h);
 * a key that it did not delete is dirty. Expiry puts one there when a command of the link touches the key; where
 * the link knows the deadline, the answer to that command has told it already (apply_answer.c).
 *
 * Under the link's lock. All zero is ready.
 */
#ifndef SYNCER_FOREIGN_H
#define SYNCER_FOREIGN_H

#include "lib/base/buf.h"

#include <stdint.h>

#define FOREIGN_BYTES_MAX ((size_t)16 << 20)
#define FOREIGN_QUIET_MS 5000
#define FOREIGN_DIRTY_MAX 100000 /* of the active link; more is handed over when some are clean */

struct foreign {
    struct buf keys;      /* to be made dirty; see foreign_put_key() */
    bool handed;          /* some are with the other link, which has not yet noted them on disk */
    bool audit;           /* only an audit can tell whether all is good again */
    uint64_t total, open; /* units, since the start; not yet made good */
    uint64_t last_offset; /* behind the last of them */
    uint64_t last_ms;     /* monotonic */
};

void foreign_close(struct foreign *foreign);

/* Append database (4 bytes), size (4 bytes) and KEY to LIST: the form of all lists of keys of a link. */
void foreign_put_key(struct buf *list, int db, struct slice key);

/* The first key of LIST, and LIST without it; false at its end. KEY points into LIST. */
bool foreign_take_key(struct slice *list, int *db, struct slice *key);

/* KEY, written by a unit that ends at OFFSET, must become dirty. Without room only an audit can tell. */
void foreign_add_key(struct foreign *foreign, uint64_t offset, int db, struct slice key);

/* A unit of somebody else ended at OFFSET. KNOWN: foreign_add_key() was told all keys that it wrote. */
void foreign_add_unit(struct foreign *foreign, uint64_t offset, uint64_t now_ms, bool known);

/* It was nothing: the other link copies, and writes without its checkpoint. */
void foreign_forget(struct foreign *foreign);

static inline bool foreign_is_waiting(const struct foreign *foreign) { return foreign->handed || buf_size(&foreign->keys) > 0; }

/* NOTED: the other link has noted all that it was given; CLEAN: and none of it is dirty any more.
 * True when the last unit was made good by that. */
bool foreign_settle(struct foreign *foreign, bool noted, bool clean, uint64_t now_ms);

/* An audit found both sides equal at OFFSET of this link's source. */
void foreign_audited(struct foreign *foreign, uint64_t offset);

#endif
