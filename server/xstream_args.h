/* xstream_args.h -- what the commands on streams share: ids as arguments and in replies, entries in
 * replies, what leaves for replicas. Texts follow Redis 7.0 (t_stream.c).
 */
#ifndef SERVER_XSTREAM_ARGS_H
#define SERVER_XSTREAM_ARGS_H

#include "server/typed.h"
#include "server/xstream.h"

#define STREAM_ID_TEXT 44

/* "ms-seq", not terminated; returns the size. */
size_t xstream_id_write(char text[STREAM_ID_TEXT], struct stream_id id);
struct slice xstream_id_text(char text[STREAM_ID_TEXT], struct stream_id id);

/* "ms-seq" or "ms", which gets MISSING_SEQ. Without a reply. */
MUST_CHECK bool xstream_id_read(struct slice arg, uint64_t missing_seq, struct stream_id *id);
/* The same, and the error is replied. */
MUST_CHECK bool arg_stream_id(struct client *c, struct slice arg, struct stream_id *id);
/* The same, and "-" and "+" are the ends. */
MUST_CHECK bool arg_stream_id_or_end(struct client *c, struct slice arg, uint64_t missing_seq,
                                     struct stream_id *id);
/* What XADD takes: "ms-*" too; *ANY_SEQ says so. */
MUST_CHECK bool arg_stream_new_id(struct client *c, struct slice arg, struct stream_id *id,
                                  bool *any_seq);
/* The bounds of an interval, inclusive, from "(" forms too. */
MUST_CHECK bool arg_stream_start(struct client *c, struct slice arg, struct stream_id *id);
MUST_CHECK bool arg_stream_end(struct client *c, struct slice arg, struct stream_id *id);
/* All of ARGV, in a block to be freed with mem_free(); NULL: the error was replied. */
MUST_CHECK struct stream_id *arg_stream_ids(struct client *c, int count, const struct slice *argv);

void reply_stream_id(struct client *c, struct stream_id id);
/* [id, [field, value, ...]] */
void reply_stream_entry(struct client *c, const struct xstream_entry *entry);
/* The entries from START up to END, up to MOST of them (0: all), as an array. */
void reply_stream_range(struct client *c, const struct xstream *stream, struct stream_id start,
                        struct stream_id end, uint64_t most, bool backward);

/* "NOGROUP No such key 'KEY' or consumer group 'GROUP'" and what follows. */
void reply_no_such_group(struct client *c, struct slice key, struct slice group, const char *more);

/* A change that is none for WATCH: counted and notified (EVENT may be NULL). */
void xstream_noted(struct client *c, struct slice key, const char *event, uint64_t dirty);

/* Find CONSUMER and note that it was seen, or make it (counted and notified). *CREATED may be NULL.
 */
struct xstream_consumer *xstream_consumer_seen(struct client *c, struct slice key,
                                               struct xstream_group *group, struct slice name,
                                               bool *created);

/* What Redis sends for a pending entry that is new, changed or gone. */
void xstream_propagate_claim(struct client *c, struct slice key, const struct xstream_group *group,
                             struct slice id, const struct xstream_pending *pending);
void xstream_propagate_last_id(struct client *c, struct slice key,
                               const struct xstream_group *group);

#endif
