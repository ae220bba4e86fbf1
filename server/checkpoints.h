/* checkpoints.h -- how far links have applied, kept outside the keyspace (C5, C5a), and the epoch.
 *
 * A checkpoint is set inside the MULTI of the unit that it follows. In the replication stream and
 * in the AOF it travels as PUBLISH drawbridge:checkpoint <name>=<value> (empty value: deleted), the
 * epoch likewise under a name that no checkpoint may have; in an RDB they are aux fields. A stock
 * Redis passes over all of these. FLUSHALL leaves them alone.
 */
#ifndef SERVER_CHECKPOINTS_H
#define SERVER_CHECKPOINTS_H

#include "lib/base/slice.h"

#define CHECKPOINT_NAME_SIZE_MAX 64   /* bytes */
#define CHECKPOINT_VALUE_SIZE_MAX 512 /* bytes */
#define CHECKPOINTS_MAX 1024
#define CHECKPOINT_CHANNEL "drawbridge:checkpoint"
#define CHECKPOINT_AUX_PREFIX                                                                      \
    "drawbridge-checkpoint:" /* aux field "drawbridge-checkpoint:<name>" */
#define CHECKPOINT_AUX_EPOCH "drawbridge-epoch"
#define CHECKPOINT_EPOCH_NAME ":epoch" /* travels as a checkpoint; not a name that may be set */

struct checkpoint {
    char name[CHECKPOINT_NAME_SIZE_MAX + 1];
    char value[CHECKPOINT_VALUE_SIZE_MAX + 1];
};

struct checkpoints {
    struct checkpoint *list; /* sorted by name; owned */
    size_t count;
    uint64_t epoch; /* the highest seen */
};

/* All-zero is empty. */
void checkpoints_close(struct checkpoints *checkpoints);
void checkpoints_clear(
    struct checkpoints *checkpoints); /* new data came; the epoch stays, it never goes back */

/* Printable ASCII without '=' and not beginning with ':', 1 to 64 bytes. */
bool checkpoint_name_is_fine(struct slice name);
bool checkpoint_value_is_fine(struct slice value); /* printable ASCII, 1 to 512 bytes */

/* NAME and VALUE are fine. False when there are too many names. */
bool checkpoints_set(struct checkpoints *checkpoints, struct slice name, struct slice value);
bool checkpoints_remove(struct checkpoints *checkpoints, struct slice name); /* was it there? */

/* NULL when absent; valid until the next change. */
const char *checkpoints_get(const struct checkpoints *checkpoints, struct slice name);

/* What a message on CHECKPOINT_CHANNEL says. Anything that is not one is left out; false then. */
bool checkpoints_take_message(struct checkpoints *checkpoints, struct slice message);

#endif
