/* stream_reply.h -- what a side answers about a stream: ids, and the facts of XINFO.
 *
 * Hostile input: false when it is not what it should be.
 * Source: Redis 7.0 XINFO, which answers maps to RESP3 and arrays to RESP2.
 */
#ifndef GATEWAY_STREAM_REPLY_H
#define GATEWAY_STREAM_REPLY_H

#include "gateway/reply_token.h"

#include "lib/redis/rdb.h"

#define STREAM_ID_BYTES 48

struct slice stream_id_write(struct stream_id id, char text[STREAM_ID_BYTES]);
bool stream_id_read(struct slice text, struct stream_id *id);
/* False: there is none behind the last possible one. */
bool stream_id_after(struct stream_id *id);

struct stream_fact {
    const char *name;
    struct slice value; /* a whole reply; empty: it was not told */
};

/* The values of COUNT facts in the map at the front of REST. False: it is none. */
bool stream_facts(struct slice *rest, struct stream_fact *facts, size_t count);
bool stream_fact_id(struct slice value, struct stream_id *id);

#endif
