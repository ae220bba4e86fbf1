/* lane_scan.h -- a pass over both sides, after which slots that were dirty are clean (C15).
 *
 *   IDLE --a slot is dirty--> DRAINING --F has what was queued--> LISTING F --> LISTING P --> IDLE
 *             every lane notes            all databases,            likewise        the noted slots
 *             its dirty slots             SCAN to its end                           are clean
 *
 * Every name that either side tells, in a noted slot, is a dirty key, and is copied in its lane. A
 * key that neither side told was not there all the time, or was written meanwhile: then it is dirty
 * by that. The first pass is the baseline. Names come in pages, and the next page is asked for when
 * the lanes have room.
 *
 * The listing goes over connections that write nothing. When one breaks, or a server turns out to
 * be another process, the pass begins again: lane_scan_restart().
 *
 * Decided without I/O, over the lanes of one loop.
 */
#ifndef GATEWAY_LANE_SCAN_H
#define GATEWAY_LANE_SCAN_H

#include "gateway/lane.h"

#define LANE_SCAN_COUNT "256"

enum lane_scan_state { LANE_SCAN_IDLE, LANE_SCAN_DRAINING, LANE_SCAN_F, LANE_SCAN_P };

struct lane_scan {
    struct lane *lanes;
    unsigned count;
    enum lane_scan_state state;
    int32_t databases[2]; /* of P and F: SCAN goes through 0 .. n-1; enum lane_side */
    int32_t db;
    uint64_t cursor;
    bool put_off;    /* the owner's: no pass begins, for all would be dirty again at once */
    bool asked;      /* a page is on its way */
    uint64_t round;  /* of the page that is asked for: what was asked in an earlier one is void */
    uint64_t passes; /* that came to their end */
    uint64_t names;  /* of this pass */
};

void lane_scan_init(struct lane_scan *scan, struct lane *lanes, unsigned count);

/* True: a page of *SIDE is wanted, by "SCAN cursor COUNT n" in scan->db. */
MUST_CHECK bool lane_scan_turn(struct lane_scan *scan, enum lane_side *side);

/* The answer to what was asked in ROUND, whole. False: it is not an answer to SCAN, and the pass
 * began again. */
MUST_CHECK bool lane_scan_page(struct lane_scan *scan, uint64_t round, struct slice answer);

void lane_scan_restart(struct lane_scan *scan);

#endif
