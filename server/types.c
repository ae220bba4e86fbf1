/* types.c -- make the value types and their commands known. See types.h. */
#include "server/types.h"

#include "server/hash.h"
#include "server/list.h"
#include "server/set.h"
#include "server/xstream.h"
#include "server/zset.h"

void types_register(void) {
    value_register(TYPE_LIST, &list_ops);
    value_register(TYPE_SET, &set_ops);
    value_register(TYPE_ZSET, &zset_ops);
    value_register(TYPE_HASH, &hash_ops);
    value_register(TYPE_STREAM, &xstream_ops);
}

void types_bind(struct engine *engine) {
    list_bind(engine);
    list_block_bind(engine);
    hash_bind(engine);
    set_bind(engine);
    set_algebra_bind(engine);
    zset_bind(engine);
    zset_range_bind(engine);
    zset_pop_bind(engine);
    zset_algebra_bind(engine);
    xstream_bind(engine);
    xstream_read_bind(engine);
    xstream_group_bind(engine);
    xstream_claim_bind(engine);
    xstream_info_bind(engine);
    geo_bind(engine);
    geo_search_bind(engine);
    hll_bind(engine);
    bit_bind(engine);
    bitfield_bind(engine);
    random_bind(engine);
    value_scan_bind(engine);
    sort_bind(engine);
}
