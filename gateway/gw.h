/* gw.h -- what all loops of one gateway share, and how workers speak to the main loop. */
#ifndef GATEWAY_GW_H
#define GATEWAY_GW_H

#include "gateway/baseline_board.h"
#include "gateway/drain.h"
#include "gateway/hold.h"
#include "gateway/scripts.h"

#include "lib/control/config.h"
#include "lib/net/loop.h"

#include <stdatomic.h>

struct worker;
struct control;
struct admin;
struct metrics_http;
struct reads;
struct slot_table;
struct stats;

#define GATEWAY_LOOPS_MAX 64u
#define GATEWAY_LANE_LOOPS 1u /* the first ones, which have lanes (far.h) */

struct gateway {
    struct drawbridge_config *config;
    char name[64];
    bool standalone;     /* no state: forward to legacy with epoch 0 */
    bool capture_known;  /* from state's answer to HELLO, or standalone */
    _Atomic bool lanes;  /* capture `lane`: the latest that state said, which the loops are told with
                          * the next route or release (C1) */
    _Atomic bool pinned; /* GATEWAY PIN: state is not asked */
    struct scripts *scripts;
    struct reads *reads; /* which side answers reads (reads.h) */
    struct worker *workers[GATEWAY_LOOPS_MAX];
    unsigned loops;
    _Atomic uint64_t next_client, client_count;
    const struct slot_table *_Atomic slots; /* the latest of state; none is ever freed */
    _Atomic int32_t lane_versions[2]; /* of P and F, as effect.h counts; 0: not known (far.h) */
    _Atomic int64_t first_ids[2]; /* CLIENT ID of the first connection to each side (others.h) */
    struct loop *main;
    struct control *control;
    struct admin *admin;
    struct metrics_http *http;
    struct hold hold; /* the main loop's */
    unsigned drain_left; /* loops whose lanes are not drained yet (C23) */
    char drain_barrier[HOLD_BARRIER_BYTES];
    bool lanes_follow, lanes_level; /* the last that state said, and was told */
    bool lanes_told;                /* state has heard of these lanes */
    struct { /* gateway_audit.c */
        int64_t id;             /* state's, or below 0: of the admin socket */
        uint64_t order;         /* counts them; 0: there was none */
        bool told, repairing;   /* its end was reported; a repair's is to be */
        uint64_t repairs, repair_ms;
    } audit;
    unsigned prepare_left;
    char prepare_barrier[HOLD_BARRIER_BYTES];
    size_t prepare_scripts, prepare_refused, prepare_subs;
    struct loop_timer timer;
    uint64_t last_second_ms;
    bool stopping, failed;
    struct drain drain; /* the end of the process */
    struct stats *stats;
    struct baseline_board baseline;
};

/* ---- from a worker, to the main loop; copied, carried out there ---- */
enum report {
    REPORT_HELD,
    REPORT_RELEASED,
    REPORT_PREPARED,
    REPORT_DRAINED,
    REPORT_RESTED,
    REPORT_DOWNGRADED,
    REPORT_ASK,
    REPORT_ENDED,   /* TELL_END, TELL_CLOSE or TELL_SETTLE: it is so; `round` says which */
    REPORT_FAILED, /* this process cannot go on; why */
};
struct report_message {
    struct gateway *gw; /* set by gateway_tell() */
    enum report report;
    unsigned worker;
    uint64_t round, backend, epoch;
    enum side side;
    struct hold_totals totals;
    size_t scripts, refused, subs;
    char why[160];
};
void gateway_tell(struct gateway *gw, const struct report_message *message);

/* ---- on the main loop ---- */
void gateway_carry_out(struct gateway *gw, unsigned todo); /* a set of enum hold_do */
void gateway_prepare(struct gateway *gw, struct slice barrier, enum side side);
/* Read certificate and key of the TLS listeners (of clients, of other gateways) again, for the
 * connections to come; *NOT_AFTER_S is when the new one ends: the clients' one, if there is one. What cannot be used changes nothing. */
MUST_CHECK enum err gateway_reload(struct gateway *gw, int64_t *not_after_s, struct why *why);

#endif
