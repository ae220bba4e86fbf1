/* reads.h -- which side answers reads: the policy, and what shadow reads found.
 *
 *   primary   the primary side answers everything. How a gateway begins, unless gateway.reads says
 *             otherwise
 *   canary    a share of the reads is answered by the other side; what that does not answer at
 *             once, or with an error, is asked of the primary side as if nothing had been
 *   shadow    a share of the reads is also asked of the other side; the client gets the primary
 *             side's answer, the two are compared, and what differs is counted and kept
 *
 * Only plain reads take part: commands of one key, outside MULTI, WATCH, scripts and subscriptions,
 * that change nothing and whose answer depends on nothing but data (reads_fit()). A client sees its
 * own writes (C11): with capture `lane` reads of clean keys stand in the order of their lane; with
 * capture `stream` a client that wrote within `after_ms` is answered by the primary side. The first
 * answer to a canary read may be older than the last from the primary side by the link's lag.
 *
 * One struct reads for a gateway; all loops use it. Files: reads.c (what is kept), reads_compare.c,
 * reads_loop.h, reads_stream.c and dual_reads.c (the shells for each capture).
 */
#ifndef GATEWAY_READS_H
#define GATEWAY_READS_H

#include "lib/base/buf.h"
#include "lib/base/metrics.h"
#include "lib/control/reads_policy.h"
#include "lib/redis/command.h"

#include <jansson.h>

#define READS_CANARY_MS 200u        /* then the primary side is asked */
#define READS_BACK_OFF_MS 1000u     /* no further ones after such a one */
#define READS_OPEN_MAX 1024u        /* of a loop, on their way or to be looked at again */
#define READS_BYTES_MAX (1u << 20)  /* of an answer that is compared */

struct reads *reads_open(struct reads_policy policy) __attribute__((returns_nonnull));
void reads_close(struct reads *reads); /* NULL is fine */

void reads_set(struct reads *reads, struct reads_policy policy); /* any thread */
struct reads_policy reads_get(const struct reads *reads);        /* any thread */

/* Whether COMMAND may take part at all. */
bool reads_fit(const struct command *command);

/* Whether this one is of the share; DICE is the loop's, 0 at first. */
bool reads_pick(const struct reads *reads, enum reads_kind kind, uint32_t *dice);

/* ---- comparing ---- */

/* Whether two answers in the same protocol say the same: sets and hashes in any order, times to
 * live within what two clocks and a moment make, scores as numbers, errors by their code. */
bool reads_same(const struct command *command, struct slice one, struct slice other);

/* ---- what happened; any thread ---- */
enum reads_event {
    READS_CANARY_ANSWERED,
    READS_CANARY_RETURNED, /* asked of the primary side in the end */
    READS_SAME,
    READS_DIFFERENT,
    READS_LATE,      /* differed, and was the same after the lag */
    READS_UNDECIDED, /* changed in between, or could not be read again */
    READS_SKIPPED,   /* no connection, too many, or the key was not clean */
    READS_EVENTS
};
void reads_count(struct reads *reads, enum reads_event event, const struct command *command);
/* READS_DIFFERENT, with what they said. */
void reads_differ(struct reads *reads, const struct command *command, int32_t db, struct slice key,
                  struct slice primary, struct slice other, int64_t at_ms);

json_t *reads_json(struct reads *reads);    /* all of it */
json_t *reads_summary(struct reads *reads); /* without commands and differences */
void reads_add_metrics(struct reads *reads, struct metrics *metrics);

#endif
