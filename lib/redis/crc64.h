/* crc64.h -- the checksum of RDB files and DUMP payloads.
 *
 * CRC-64/Jones, reflected, start 0, no final change: "123456789" gives e9c6d914c4b8d9ca.
 * Sums chain: crc64_add(crc64_add(0, a), b) is the sum of a followed by b.
 * Source: RDB format; Redis 7.0 crc64.c (its comment about a start of all ones is not what it
 * does).
 */
#ifndef LIB_REDIS_CRC64_H
#define LIB_REDIS_CRC64_H

#include "lib/base/slice.h"

uint64_t crc64_add(uint64_t crc, struct slice bytes);

#endif
