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

/* The head of an array or a map of at least one level. */
static inline bool chunks_items(struct slice *rest, int64_t *items) {
    struct resp_token t;
    if (!reply_token(rest, &t) || (t.kind != RESP_ARRAY && t.kind != RESP_MAP)) return false;
    *items = t.number;
    return true;
}

static inline bool chunks_text(struct slice *rest, struct slice *text) {
    struct resp_token t;
    if (!reply_token(rest, &t) || (t.kind != RESP_BULK && t.kind != RESP_DOUBLE)) return false;
    *text = t.text;
    return true;
}

static inline bool chunks_int(struct slice *rest, int64_t *number) {
    struct resp_token t;
    if (!reply_token(rest, &t) || t.kind != RESP_INT) return false;
    *number = t.number;
    return true;
}

/* One whole reply of any nesting. */
static inline bool chunks_skip(struct slice *rest) {
    struct resp_skip skip = {0};
    struct why why;
    size_t used = 0;
    if (resp_skip_next(&skip, &resp_limits_server, *rest, &used, &why) != STEP_DONE) return false;
    *rest = slice_drop(*rest, used);
    return true;
}

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
