/* types.h -- the value types list, hash, set, sorted set and stream, places and HyperLogLogs: their
 * commands, and SORT and the SCANs of a value, bound to an engine.
 *
 * types_register() once per process before any value is made; types_bind() once per engine.
 */
#ifndef SERVER_TYPES_H
#define SERVER_TYPES_H

struct engine;

void types_register(void);
void types_bind(struct engine *engine);

/* What types_bind() calls, one per file. */
void list_bind(struct engine *engine);
void list_block_bind(struct engine *engine);
void hash_bind(struct engine *engine);
void set_bind(struct engine *engine);
void set_algebra_bind(struct engine *engine);
void zset_bind(struct engine *engine);
void zset_range_bind(struct engine *engine);
void zset_pop_bind(struct engine *engine);
void zset_algebra_bind(struct engine *engine);
void xstream_bind(struct engine *engine);
void xstream_read_bind(struct engine *engine);
void xstream_group_bind(struct engine *engine);
void xstream_claim_bind(struct engine *engine);
void xstream_info_bind(struct engine *engine);
void geo_bind(struct engine *engine);
void geo_search_bind(struct engine *engine);
void hll_bind(struct engine *engine);
void bit_bind(struct engine *engine);
void bitfield_bind(struct engine *engine);
void random_bind(struct engine *engine);
void value_scan_bind(struct engine *engine);
void sort_bind(struct engine *engine);

#endif
