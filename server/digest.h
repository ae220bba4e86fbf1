/* digest.h -- the SHA1 digests of DEBUG DIGEST and DEBUG DIGEST-VALUE, equal to those of Redis 7.0
 * for the same data. Sees neither the time of an expiry nor encodings. (For audits:
 * lib/redis/digest.h.)
 */
#ifndef SERVER_DIGEST_H
#define SERVER_DIGEST_H

#include "server/keyspace.h"

#define DIGEST_BYTES 20

struct sha_digest {
    uint8_t bytes[DIGEST_BYTES];
};

/* Of a value with whether it expires; what DIGEST-VALUE says. */
struct sha_digest digest_of_entry(const struct entry *e);
/* Of all databases. */
struct sha_digest digest_of_dbs(struct db *dbs, int count);

#endif
