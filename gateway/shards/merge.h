/* merge.h -- the answers of several nodes of a Cluster made into one, without I/O.
 *
 * Hostile input: each answer is one whole reply of RESP, and may be anything; what is not what was
 * asked for makes the whole an error of ours.
 */
#ifndef GATEWAY_SHARDS_MERGE_H
#define GATEWAY_SHARDS_MERGE_H

#include "gateway/shards/route.h"

/* COUNT > 0 answers, whole. OUT gets one reply: an error if any of them is one. *SPLIT: some were
 * errors and some were not, so that what was asked for is done in part. */
void shards_merge(enum shards_merge how, size_t count, const struct slice *answers, struct buf *out,
                  bool *split);

/* A cursor of SCAN names the node, by a number below 512, and that node's own cursor. */
bool shards_cursor_read(struct slice text, uint64_t *cursor, unsigned *node);

/* REPLY is a node's answer to SCAN. OUT gets it with a cursor that says NODE, or, when the node has
 * no more, the beginning of NEXT; NEXT < 0: the end. What does not look like such an answer is
 * copied as it is. */
void shards_scan_answer(struct slice reply, unsigned node, int next, struct buf *out);

#endif
