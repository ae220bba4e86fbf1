/* lane_burst.h -- simple commands that leave one behind the other, as one item of their lane.
 *
 *     SET a 1 | INCR b | SET c 2          one block of memory: the requests as they came, a table of
 *     ------------------------- P ---->   their keys, and what the answer to each said
 *     answers: did it, nothing, did it
 *     ------------------------- F ---->   SET a 1 | SET c 2
 *
 * Most writes need no effect of their own (effect.h, effect_simple_of()), and for each of them an
 * item with its memory, a record in the journal and two queue entries would cost several times what
 * passing it on costs. A burst has these once. What becomes of each of its commands is decided one
 * by one, by the functions that decide it for any other (lane_inside.h): whether F may follow (C12,
 * C12a), when its key will vanish, what a refusal spoils (C12b), what a lost connection leaves
 * dirty (C21).
 *
 * That is decided when the last one is answered, for all of them in their order: as if all answers
 * had come at that moment. Clients have theirs before. Nothing else in the lane comes between, for
 * whatever was sent behind the burst is answered behind it.
 *
 * lane_burst_add() makes the owner write at once, so that a client's answers have their order; but
 * what was written must not leave the process before lane_burst_close() has put the keys into the
 * journal (C20). lane_tick(), and so lanes_turn(), does that; the owner calls it at the end of each
 * callback.
 *
 * Memory: blocks of LANE_BLOCK_BYTES, which bursts of one lane share in their order; a few are kept.
 * In F's queue a block counts whole (lane.h, queue_bytes_max), with the first burst that stands in it.
 */
#ifndef GATEWAY_LANE_BURST_H
#define GATEWAY_LANE_BURST_H

#include "gateway/lane.h"

#define LANE_BURST_MAX 128u          /* commands of a burst, and of a block */
#define LANE_BURST_BYTES_MAX 4096u   /* of a request; a longer one goes by itself */
#define LANE_BLOCK_BYTES (16u << 10) /* of requests */

/* A command of a burst. */
struct lane_simple {
    const struct effect_simple *simple;
    void *client; /* the owner's */
    uint32_t at, size; /* its request, in the block */
    uint8_t did;       /* enum effect_did, once it is answered */
};

struct lane_block {
    struct lane_block *next; /* of those that are free */
    struct lane *lane;
    unsigned refs;  /* of bursts, and of the lane while it is being filled */
    unsigned count; /* commands */
    size_t size;    /* bytes */
    bool weighed;   /* some burst of it has been queued for F */
    struct effect_key keys[LANE_BURST_MAX]; /* names in `bytes` */
    struct lane_simple commands[LANE_BURST_MAX];
    uint8_t bytes[LANE_BLOCK_BYTES];
};

/* Its keys are item.keys. For F those of its commands that did something. */
struct lane_burst {
    struct lane_item item;
    struct lane_block *block;
    struct lane_simple *commands; /* item.key_count */
    size_t nothing, unclear; /* how many did nothing, or may have done anything, as far as is known */
    size_t weight;  /* lane_item_weight() */
};

/* What the owner has to send for the command number I of it. */
static inline struct slice lane_burst_request(const struct lane_burst *burst, size_t i) {
    return slice_from(burst->block->bytes + burst->commands[i].at, burst->commands[i].size);
}

/* RAW goes down the lane: an array of bulk strings, and NAME the second of them. Needs
 * lane_may_send(), that it is the owner of the name, and at most LANE_BURST_BYTES_MAX. */
void lane_burst_add(struct lane *lane, const struct effect_simple *simple, int32_t db,
                    struct slice name, struct slice raw, void *client);

/* Before anything of it leaves the process. */
void lane_burst_close(struct lane *lane);

#endif
