/* ziplist.h -- the flat formats of Redis before 7.0: ziplists, and zipmaps before 2.6.
 *
 * ziplist: <bytes, 4> <offset of the last item, 4> <items, 2; 65535 = unknown> item ... <0xff>
 *          item = <size of the item before: 1, or 254 and 4> <encoding and length> <data>
 * zipmap:  <pairs; 254 = unknown> { <length> field <length> <free> value <free bytes> } ... <0xff>
 *          length = 1 byte below 254, or 254 and 4 little end first
 *
 * Ziplists are written for old servers alone; zipmaps are not.
 * Hostile input: validate once, then walk. Source: ziplist.c and zipmap.c of Redis 6.2.
 */
#ifndef LIB_REDIS_ZIPLIST_H
#define LIB_REDIS_ZIPLIST_H

#include "lib/base/buf.h"
#include "lib/redis/listpack.h"

/* Whether all of BLOB is one well-formed ziplist; *COUNT items. */
MUST_CHECK bool ziplist_validate(struct slice blob, uint32_t *count);

/* The item at *AT, which moves on to the next; false at the end. Start with ZIPLIST_START. */
#define ZIPLIST_START 10u
bool ziplist_next(const uint8_t *ziplist, uint32_t *at, struct lp_item *item);

/* Append a ziplist of the items of LISTPACK, which is checked. At most 1 GB and 2 %. */
void ziplist_put(struct buf *out, const uint8_t *listpack);
/* The same of one item. */
void ziplist_put_one(struct buf *out, struct slice text);

/* Whether all of BLOB is one well-formed zipmap; *COUNT pairs, which may be 0. */
MUST_CHECK bool zipmap_validate(struct slice blob, uint32_t *count);

#define ZIPMAP_START 1u
bool zipmap_next(const uint8_t *zipmap, uint32_t *at, struct slice *field, struct slice *value);

#endif
