/* steer_inside.h -- what the files of the syncer's steering share; for steer*.c alone. */
#ifndef SYNCER_STEER_INSIDE_H
#define SYNCER_STEER_INSIDE_H

#include "lib/redis/resp.h"
#include "syncer/audit.h"
#include "syncer/compare.h"
#include "syncer/link.h"
#include "syncer/steer.h"

#include <stdatomic.h>

#define STEER_LINKS 2 /* forward, reverse */
#define STEER_ENDING 8

/* What LINK OPEN asked for. */
struct steer_opening {
    bool wanted; /* waits until the link before is removed */
    bool copy;
    uint64_t own_until;
    bool by_lanes;
};

struct steer_link {
    struct link *link;      /* NULL: not open */
    struct link *leaving;   /* to be removed, by `remover` when `removing` */
    pthread_t remover;
    bool removing;
    _Atomic bool removed;   /* the remover has done it */
    struct steer_opening opening;
    uint64_t report_due_ms;
    enum link_state told_state;
    char told_error[512];
    bool drain_told, activate_told; /* a report of it is due */
};

/* Was asked to end, and is freed when it has. One of both. */
struct steer_ending {
    struct link *link; /* whose it is; NULL: a free place */
    struct audit *audit;
    struct compare *compare;
};

struct steer {
    const struct drawbridge_config *config;
    pthread_mutex_t lock; /* for links[].link, which /metrics reads from another thread */
    struct steer_link links[STEER_LINKS];
    struct sent *sent[STEER_LINKS]; /* of each link */
    uint64_t epoch; /* the highest that was obeyed */
    struct wire *wire;
    struct buf in, out;
    struct resp_request request;
    bool complained;
    struct audit *audit; /* the last one, running or not; NULL */
    bool audit_told;     /* its end was reported */
    uint64_t audit_due_ms;
    char next_audit_id[64]; /* begins when the one before has ended; "": none */
    size_t next_audit_link; /* index */
    struct steer_ending ending[STEER_ENDING];
    char repair_id[64]; /* of the audit whose keys are being copied again; "": none */
    uint64_t repairing, repair_due_ms;
    struct compare *compare; /* of a barrier; NULL: none */
};

/* Carry out one order and put its answer into c->out. */
void steer_obey(struct steer *c, size_t argc, const struct slice *argv);

void steer_report_link(struct steer *c, struct steer_link *slot);
void steer_push(struct steer *c, const char *name, const char *subject, struct slice json);
void steer_raise_epoch(struct steer *c, uint64_t epoch);
/* Open the link as slot->opening says. */
MUST_CHECK enum err steer_open_link(struct steer *c, struct steer_link *slot, struct why *why);

void steer_obey_audit(struct steer *c, size_t argc, const struct slice *argv);
void steer_compare(struct steer *c, struct link *link, const char *barrier, uint64_t budget_ms);
void steer_report_audit(struct steer *c);
void steer_start_next_audit(struct steer *c);

/* steer_ending.c: ask to end; steer_go_on() carries on with what has ended. None of them waits. */
void steer_end_audit(struct steer *c);
void steer_end_compare(struct steer *c);
bool steer_audit_is_ending(const struct steer *c);
void steer_close_link(struct steer *c, struct steer_link *slot);
void steer_go_on(struct steer *c);
void steer_wait_ended(struct steer *c); /* waits, and closes all */

#endif
