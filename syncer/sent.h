/* sent.h -- which keys a link itself made vanish at its target, for the other link to compare with (C8).
 *
 *   [apply thread of the active link]                       [apply thread of the standby link]
 *   before a batch is sent: sent_note() of each key that    a batch comes back in the target's stream: a DEL
 *   one of its commands may turn into a DEL                 of a key that !sent_has() is not ours
 *
 * A batch is known by the place in its checkpoint, which stands in the batch itself. Batches of an
 * earlier process, up to the place that sent_begin() was told, are not compared: nobody knows any more
 * what was in them.
 *
 * Bounded: a fixed table, in which new keys take the place of the oldest ones of their set. What was
 * forgotten, or is taken for another by its hash, costs at most a copy too many, or misses one in 2^64.
 *
 * One object for each link, made by who opens both. Any thread.
 */
#ifndef SYNCER_SENT_H
#define SYNCER_SENT_H

#include "syncer/checkpoint.h"

struct sent;

struct sent *sent_new(void);
void sent_free(struct sent *sent); /* NULL is fine */

/* The link goes on behind AT. Only the first call of a process counts, and one that goes back behind it (a new copy). */
void sent_begin(struct sent *sent, struct place at);

/* The batch that ends at AT may delete KEY. */
void sent_note(struct sent *sent, struct place at, int db, struct slice key);
/* It holds something that may delete any key. */
void sent_note_any(struct sent *sent, struct place at);

/* Whether the batch whose checkpoint says AT deletes KEY, or nobody can say. */
bool sent_has(struct sent *sent, struct place at, int db, struct slice key);

#endif
