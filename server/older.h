/* older.h -- the stream in words that older Redis execute (option oldest-replica).
 *
 *     propagate() --> older_say() --> as it is; in other words; not at all; or not to be said
 *
 * A replica that does not know a command logs the error, goes on, and differs for ever; it does not
 * tell its version either. So who has older replicas says so, and every change leaves for all of
 * them in words of that version: what the command did stands in the keyspace when it is propagated,
 * and can be told by older commands (ZADD GT as ZADD of the scores that came out). Where there are
 * none, the keys that it wrote are sent whole (DEL, RESTORE, PEXPIREAT). The AOF is not concerned.
 *
 * What a version lacks altogether: functions and SPUBLISH are left out, as the RDB leaves functions
 * out. Streams below 5.0 and SWAPDB below 4.0 are OLDER_UNSAID: the replicas need a full sync.
 */
#ifndef SERVER_OLDER_H
#define SERVER_OLDER_H

#include "lib/base/slice.h"

struct engine;

enum older_version { OLDER_2_8, OLDER_3_2, OLDER_4_0, OLDER_5_0, OLDER_6_0, OLDER_6_2, OLDER_7_0 };

enum older { OLDER_SAME, OLDER_SAID, OLDER_UNSAID };

typedef void older_say_fn(void *ctx, int db, int argc, const struct slice *argv);

/* The op as propagate() has it, for replicas of VERSION. OLDER_SAID: SAY was called for each command
 * instead (perhaps never); the bytes are valid during the call. Right after the op's effect. */
enum older older_say(struct engine *engine, enum older_version version, int db, int argc,
                     const struct slice *argv, older_say_fn *say, void *ctx);

/* The RDB that a VERSION loads. */
unsigned older_rdb_version(enum older_version version);
const char *older_name(enum older_version version);

#endif
