/* slot.h -- which slot a key belongs to, in both schemes.
 *
 * cluster  CRC16 (XMODEM) of the key's tag mod 16384. The tag is what stands between the first `{`
 *          and the next `}`, if that is not empty; else the whole key. (Redis Cluster.)
 * codis    CRC32 (IEEE) of the key's tag mod 1024; there the tag may be empty.
 */
#ifndef LIB_REDIS_SLOT_H
#define LIB_REDIS_SLOT_H

#include "lib/base/slice.h"

#define SLOT_CLUSTER_COUNT 16384u
#define SLOT_CODIS_COUNT 1024u

uint16_t slot_crc16(struct slice bytes); /* "123456789": 0x31c3 */
uint32_t slot_crc32(struct slice bytes); /* "123456789": 0xcbf43926 */

uint16_t slot_cluster(struct slice key); /* < SLOT_CLUSTER_COUNT */
uint16_t slot_codis(struct slice key);   /* < SLOT_CODIS_COUNT */

#endif
