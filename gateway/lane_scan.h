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
 * The baseline may come from an RDB file of P instead, and P is not listed:
 *
 *   ... LISTING F --> SETTLING --> WAITING for a file that was --> FILE: items --> IDLE
 *                     no copies     begun after this moment        go to F
 *                     are under way
 *
 * From SETTLING on no copies leave. So a key that is written from then on is in the table of keys
 * that are not clean until the file was read, and its item is dropped; what is not in the table
 * was not written since, and the file has P's value of it. A slot whose keys the table cannot hold
 * leaves the pass, and is listed by the next one. Whatever empties P or F ends the pass:
 * lane_scan_flushed(), or lane_scan_restart(); the next one wants a later file. Only a pass over
 * all slots goes by a file, and only until one has come to its end.
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

enum lane_scan_state {
    LANE_SCAN_IDLE,
    LANE_SCAN_DRAINING,
    LANE_SCAN_F,
    LANE_SCAN_P,
    LANE_SCAN_SETTLING, /* with a file, instead of P */
    LANE_SCAN_WAITING,
    LANE_SCAN_FILE
};

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
    bool by_file;    /* the owner's wish; false once it was fulfilled */
    bool file_now;   /* this pass */
    uint64_t items;  /* of the file */
    uint64_t waits;  /* how often WAITING was reached: each time a later file is wanted */
};

void lane_scan_init(struct lane_scan *scan, struct lane *lanes, unsigned count);

/* True: a page of *SIDE is wanted, by "SCAN cursor COUNT n" in scan->db. */
MUST_CHECK bool lane_scan_turn(struct lane_scan *scan, enum lane_side *side);

/* The answer to what was asked in ROUND, whole. False: it is not an answer to SCAN, and the pass
 * began again. */
MUST_CHECK bool lane_scan_page(struct lane_scan *scan, uint64_t round, struct slice answer);

void lane_scan_restart(struct lane_scan *scan);

/* ---- by a file ---- */

/* WAITING: a file may be read now, if it was begun after the call that first said so. */
static inline bool lane_scan_wants_file(const struct lane_scan *scan) {
    return scan->state == LANE_SCAN_WAITING;
}
/* It is being read. The round is to be given with all that is told of it. */
uint64_t lane_scan_file_begins(struct lane_scan *scan);
bool lane_scan_may_take(const struct lane_scan *scan, uint64_t round); /* room for more items */
/* False: the pass began again since; the file is not wanted any more. VALUE as lane_pass_value(). */
MUST_CHECK bool lane_scan_item(struct lane_scan *scan, uint64_t round, int32_t db,
                               struct slice name, const struct lane_value *value);
/* WHOLE: the pass is over. Else another file, or the same once it is whole, is waited for. */
void lane_scan_file_ended(struct lane_scan *scan, uint64_t round, bool whole);
/* FLUSHALL and its like were asked for: an item of the file must not come back after them. */
void lane_scan_flushed(struct lane_scan *scan);

#endif
