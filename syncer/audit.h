/* audit.h -- an exact comparison of a link's two ends, while clients write (C28).
 *
 *     apply is held at a place P         no unit behind P is applied
 *     source: PSYNC, rdb-only            +FULLRESYNC tells X; P follows the source's offset until then
 *     apply goes on exactly to X
 *     target: PSYNC, rdb-only            +FULLRESYNC: its point in time is there; apply resumes
 *     both read -> sums of digests by slot; keys of the slots that differ -> sorted on disk -> merged
 *
 * A difference is a difference: both sides were looked at in the same place of the same order. Keys
 * whose deadline passes before the end count as absent at both sides; our checkpoint keys are left
 * out. Keys that were dirty at X are counted as undecided, not as different.
 * Of a bundled server it is not PSYNC that gives the point in time: it makes the digests itself, and
 * tells no keys but those of slots that differ (audit_end.h).
 * A thread of its own; what is asked of it here may be asked from any.
 */
#ifndef SYNCER_AUDIT_H
#define SYNCER_AUDIT_H

#include "lib/base/buf.h"
#include "syncer/link.h"

struct audit;

/* Begin to compare the ends of LINK, which must stay open until audit_free(). */
struct audit *audit_start(const char *id, struct link *link);

struct link *audit_link(struct audit *audit);
const char *audit_id(const struct audit *audit);
bool audit_is_done(struct audit *audit);

/* {keys, bytes, part} while it runs; the result of docs/CONTROL.md when it is done. */
void audit_json(struct audit *audit, struct buf *out);

/* Whether it is done, and every key was equal; *TARGET_OFFSET: where the target stood, in its own stream. */
bool audit_found_equal(struct audit *audit, uint64_t *target_offset);

/* Make the keys that differed dirty, so that they are copied again (C33); how many. */
uint64_t audit_repair(struct audit *audit);

/* Its thread ends soon; ask audit_is_done(). */
void audit_ask_stop(struct audit *audit);

/* Stops it first if it still runs, and waits for that. NULL is fine. */
void audit_free(struct audit *audit);

#endif
