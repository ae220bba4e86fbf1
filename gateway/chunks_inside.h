/* chunks_inside.h -- what chunks.c and chunks_stream.c share; nobody else includes it. */
#ifndef GATEWAY_CHUNKS_INSIDE_H
#define GATEWAY_CHUNKS_INSIDE_H

#include "gateway/chunks.h"
#include "gateway/reply_token.h"

struct chunks_type {
    const char *name;             /* as TYPE says it */
    const char *length, *ask, *add; /* commands */
    bool scans, pairs;
};

#define CHUNKS_FULL_STREAMS 70000 /* entries added and read, max deleted id */

static inline struct slice chunks_key(const struct chunks *p) {
    return buf_slice(&p->key);
}

/* ---- chunks_stream.c ---- */

/* REST: XINFO STREAM and XINFO GROUPS. The groups are kept. */
bool chunks_stream_begin(struct chunks *p, struct slice rest);
/* Go on with the present group, or with the entries; may append requests. */
void chunks_stream_next_group(struct chunks *p, struct buf *out, uint32_t *requests);
void chunks_stream_ask_pending(const struct chunks *p, struct buf *out);
void chunks_stream_ask_consumers(const struct chunks *p, struct buf *out);
bool chunks_stream_pending(struct chunks *p, struct slice answer, struct buf *out,
                           uint32_t *requests);
bool chunks_stream_consumers(struct chunks *p, struct slice answer, struct buf *out,
                             uint32_t *requests);
void chunks_stream_ask_entries(const struct chunks *p, struct buf *out);
bool chunks_stream_entries(struct chunks *p, struct slice answer, struct buf *out,
                           uint32_t *requests);
/* ABOUT: XINFO STREAM. */
bool chunks_stream_end(struct chunks *p, struct slice about, struct buf *out, uint32_t *requests);

#endif
