/* dump.h -- the payload of DUMP and RESTORE.
 *
 *     <RDB type, 1> <serialised value> <RDB version, 2, little end first> <CRC64 of all before, 8>
 *
 * Payloads are written with the lowest version whose readers know the type, because servers refuse
 * a version above their own (Redis 7.0 cluster.c, verifyDumpPayload).
 */
#ifndef LIB_REDIS_DUMP_H
#define LIB_REDIS_DUMP_H

#include "lib/base/buf.h"
#include "lib/redis/rdb.h"

#define DUMP_BYTES_MIN 11u /* type and ten bytes at the end; such a one has no value yet */

/* Append a payload of VALUE, the serialised form as value_raw() gives it. */
void dump_put(struct buf *out, uint8_t rdb_type, struct slice value);
/* The same with the version that Redis 7.0 writes, whatever the type: for whom bytes must be equal. */
void dump_put_as_redis(struct buf *out, uint8_t rdb_type, struct slice value);

/* Append a payload of VALUE, as value_raw() gives it, that a server knows which reads RDB up to
 * VERSION_MAX (6: Redis 2.6 and 2.8, 7: 3.2, 8: 4.0, 9: 5.0 to 6.2, 10: 7.0, 11: 7.2). A newer type
 * is written element by element in an older one, which every server turns into its own encoding.
 * What an old server has no word for (of streams: max deleted id, entries added and read) is left
 * out. OUT is untouched on failure. ERR_LIMIT: a stream for a server that knows none;
 * ERR_CORRUPT: VALUE is not a value of that type. */
MUST_CHECK enum err dump_put_for(struct buf *out, uint8_t rdb_type, struct slice value,
                                 unsigned version_max, struct why *why);

/* Check version (up to 11) and checksum, and tell type and serialised value (in PAYLOAD). The
 * value itself is not looked at. ERR_CORRUPT. */
MUST_CHECK enum err dump_open(struct slice payload, uint8_t *rdb_type, struct slice *value,
                              struct why *why);

/* dump_open(), check the whole value as a reader of files does, then call HANDLER's pieces for it:
 * all or none. KEY names the key (db, key, expiry ...); its types are set here. value_raw() and
 * the callbacks around keys are not called. */
MUST_CHECK enum err dump_read(struct slice payload, struct rdb_limits limits, struct rdb_key *key,
                              const struct rdb_handler *handler, struct why *why);

/* Whether dump_read() would take it. */
MUST_CHECK enum err dump_check(struct slice payload, struct rdb_limits limits, struct why *why);

#endif
