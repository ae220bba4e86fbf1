/* lane_read.h -- a read of both sides at the same place of a lane's order (C29).
 *
 *   lane_read_send()  --request--> P --answer--> primary(): what is F to be asked?
 *                                                   |
 *                                     the same place of F's order
 *                                                   v
 *                                  F --answer--> follower(): both are told
 *
 * A read writes nothing: its loss makes no key dirty, an error is an answer, it is not in the
 * journal. But it stands in both queues as commands do, and so sees each side after exactly the
 * items that stand before it. What F says is worth something only if the key was clean at that
 * place (`clean`) and nothing before the read that F depended on was refused later (`spoiled`).
 *
 * The functions of `struct lane_read_ops` may not call the lane. Each read that was sent ends with
 * exactly one of: primary() that returned false, follower(), lost(). The owner keeps it until then.
 */
#ifndef GATEWAY_LANE_READ_H
#define GATEWAY_LANE_READ_H

#include "gateway/lane.h"

struct lane_read_ops {
    /* P answered. CLEAN: F will have P's value of the key at this place. True: ask F what was put
     * into OUT, whose answer has *REPLIES replies. False: the read has ended. */
    bool (*primary)(struct lane_read *read, struct slice answer, bool clean, struct buf *out,
                    uint32_t *replies);
    void (*follower)(struct lane_read *read, struct slice answer, bool spoiled);
    /* A connection broke, or F's queue was dropped: there is no answer. */
    void (*lost)(struct lane_read *read);
};

struct lane_read {
    const struct lane_read_ops *ops;
    int32_t db;
    uint8_t proto;     /* that F is to be asked in; 0: any */
    struct slice name; /* of the key, in this lane; the owner's memory */
};

/* A client's command that only reads may have a read, too (item->read): it goes to P as always, and
 * when its client has the answer, primary() is asked as above. */

/* Somebody who wants to know what passes a lane: lane->watch. */
struct lane_watch {
    /* P's value of a key was copied, and the key is clean now; VALUE is NULL: no such key. Returns
     * a read whose request for F was put into OUT, to stand directly behind the copy in F's order,
     * or NULL. */
    struct lane_read *(*copied)(struct lane_watch *watch, const struct lane *lane, int32_t db,
                                struct slice name, const struct lane_value *value, struct buf *out,
                                uint32_t *replies);
};

/* Needs lane_may_send(). */
void lane_read_send(struct lane *lane, struct lane_read *read, struct slice request,
                    uint32_t replies);

/* F only, at the present end of its order. */
void lane_read_follow(struct lane *lane, struct lane_read *read, struct slice request,
                      uint32_t replies);

#endif
