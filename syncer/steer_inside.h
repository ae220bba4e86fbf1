/* steer_inside.h -- what the files of the syncer's steering share; for steer*.c alone. */
#ifndef SYNCER_STEER_INSIDE_H
#define SYNCER_STEER_INSIDE_H

#include "lib/redis/resp.h"
#include "syncer/audit.h"
#include "syncer/steer.h"
#include "syncer/link.h"

#define STEER_LINKS 2 /* forward, reverse */

struct steer_link {
    struct link *link;      /* NULL: not open */
    struct link *leaving;   /* is being removed by `remover` */
    pthread_t remover;
    uint64_t report_due_ms;
    enum link_state told_state;
    char told_error[512];
    bool drain_told, activate_told; /* a report of it is due */
};

struct steer {
    const struct drawbridge_config *config;
    pthread_mutex_t lock; /* for links[].link, which /metrics reads from another thread */
    struct steer_link links[STEER_LINKS];
    uint64_t epoch; /* the highest that was obeyed */
    struct wire *wire;
    struct buf in, out;
    struct resp_request request;
    bool complained;
    struct audit *audit; /* the last one, running or not; NULL */
    bool audit_told;     /* its end was reported */
    uint64_t audit_due_ms;
    char repair_id[64]; /* of the audit whose keys are being copied again; "": none */
    uint64_t repairing, repair_due_ms;
    struct compare *compare; /* of a barrier; NULL: none */
};

/* Carry out one order and put its answer into c->out. */
void steer_obey(struct steer *c, size_t argc, const struct slice *argv);

void steer_report_link(struct steer *c, struct steer_link *slot);
void steer_push(struct steer *c, const char *name, const char *subject, struct slice json);
void steer_raise_epoch(struct steer *c, uint64_t epoch);
void steer_wait_removed(struct steer_link *slot);

void steer_obey_audit(struct steer *c, size_t argc, const struct slice *argv);
void steer_compare(struct steer *c, struct link *link, const char *barrier, uint64_t budget_ms);
void steer_report_audit(struct steer *c);
void steer_stop_audit(struct steer *c);

#endif
