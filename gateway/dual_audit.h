/* dual_audit.h -- audits in the lanes: the shell around lane_audit.h, and what all loops found.
 *
 *   GATEWAY AUDIT START, or state's AUDIT START
 *       --> each loop audits its lanes --> its board --> GATEWAY AUDIT SHOW, AUDITED
 *
 * A board is written by its loop and read by the main loop, under a lock. A gateway audits the
 * slots of its own lanes only; whoever asked several gateways adds up.
 */
#ifndef GATEWAY_DUAL_AUDIT_H
#define GATEWAY_DUAL_AUDIT_H

#include "gateway/lane_audit.h"
#include "gateway/worker.h"

/* ---- a loop's ---- */
struct dual_audit;

struct dual_audit *dual_audit_open(struct dual *dual) __attribute__((returns_nonnull));
void dual_audit_close(struct dual_audit *audit); /* before the lanes are */
void dual_audit_turn(struct dual_audit *audit);  /* at the end of every callback */
void dual_audit_wrote(struct dual_audit *audit, const struct effect *effect);
/* The sides change roles: what was compared is another's. */
void dual_audit_swapped(struct dual_audit *audit);
void dual_audit_moved(struct dual_audit *audit); /* slots of a Cluster: listings may have missed keys */
/* An order of the main loop; DUAL may be NULL. */
void dual_audit_obey(struct worker *worker, const struct tell_message *message);

struct audit_board *audit_board_open(void) __attribute__((returns_nonnull));
void audit_board_close(struct audit_board *board); /* NULL is fine */

/* ---- the main loop's ---- */

struct audit_wish { /* 0: as lane_audit_rules_default */
    uint64_t keys_per_s, bytes_per_s, whole_bytes;
};

/* ID is the asker's. Told again, it is one audit. ERR_STATE: there are no lanes, or another runs.
 */
MUST_CHECK enum err gateway_audit_start(struct gateway *gw, int64_t id,
                                        const struct audit_wish *wish, struct why *why);
void gateway_audit_stop(struct gateway *gw);
MUST_CHECK enum err gateway_audit_repair(struct gateway *gw, struct why *why);
/* The object of docs/CONTROL.md; *DONE: the audit has ended. */
void gateway_audit_json(struct gateway *gw, struct buf *out, bool *done);

/* AUDIT START|STOP|REPAIR of state; false: *WHY says what is wrong. */
MUST_CHECK enum err gateway_audit_obey(struct gateway *gw, size_t argc, const struct slice *argv,
                                       struct why *why);
/* GATEWAY AUDIT START|SHOW|REPAIR|STOP of the admin socket, ARGV from the verb on: *SHOW is to be
 * answered with the JSON. */
MUST_CHECK enum err gateway_audit_admin(struct gateway *gw, size_t argc, const struct slice *argv,
                                        bool *show, struct why *why);
void gateway_audit_tick(struct gateway *gw, bool second); /* reports to state */

#endif
