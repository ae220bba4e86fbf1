/* compare.h -- the digests of the keys that were changed last, at both ends, while both rest (C23).
 *
 * For the barrier: it finds a broken link before the primary side changes. Runs in a thread of its
 * own, at most for its budget; keys that do not fit into it are left out, and told.
 */
#ifndef SYNCER_COMPARE_H
#define SYNCER_COMPARE_H

#include "lib/base/buf.h"
#include "syncer/link.h"

struct compare;

struct compare *compare_start(const char *barrier, struct link *link, uint64_t budget_ms);
struct link *compare_link(const struct compare *compare);
const char *compare_barrier(const struct compare *compare);
bool compare_is_done(struct compare *compare);
/* {compared, different, left_out, keys}; when it is done. */
void compare_json(struct compare *compare, struct buf *out);
void compare_free(struct compare *compare); /* waits for it; NULL is fine */

#endif
