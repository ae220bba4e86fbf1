/* survey.h -- every key of one moment with its digest (C31), made beside the engine.
 *
 *     engine: snapshot --> its writer's thread --> [pipe, 1 MB] --> a thread: read, digest, key()
 *                                                                          engine: ended()
 *
 * The moment is that of survey_start(), and the engine does no more than for any snapshot. Keys
 * whose expiry has passed and which are still there are among them.
 */
#ifndef SERVER_SURVEY_H
#define SERVER_SURVEY_H

#include "lib/redis/digest.h"
#include "server/snapshot.h"

struct survey; /* owned by the module */

struct survey_want {
    const struct slot_set *slots; /* only their keys; NULL: all. Copied. */
    int db;                       /* only this database; -1: all */
    enum digest_streams streams;
    void *owner;
    /* On a thread of its own, one after the other. What it fails with ends the survey. */
    enum err (*key)(void *owner, const struct digest_key *key, struct why *why);
    /* On the engine's, once: no more come, and OK says that all did. The survey is gone. */
    void (*ended)(void *owner, enum err err, const char *why);
};

/* As snapshot_start(); nothing is called after a failure. */
MUST_CHECK enum err survey_start(struct engine *engine, const struct survey_want *want,
                                 struct survey **survey, struct why *why);
/* Nobody wants it any more: ended() comes soon, with an error. */
void survey_cancel(struct survey *survey);

#endif
