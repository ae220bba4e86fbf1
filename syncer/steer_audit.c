/* steer_audit.c -- audits, repairs and the barrier's comparison, as `state` orders them. */
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "syncer/steer_inside.h"

#include <inttypes.h>
#include <stdio.h>

static uint64_t now_ms(void) { return clock_mono_ms(clock_real()); }

static bool is(struct slice word, const char *text) { return slice_equal_nocase(word, slice_text(text)); }

static void begin(struct steer *c, const char *id, struct link *link) {
    steer_end_audit(c); /* of which nobody asks any more */
    c->audit = audit_start(id, link);
    c->audit_told = false;
    c->audit_due_ms = 0;
}

void steer_start_next_audit(struct steer *c) {
    struct link *link = c->links[c->next_audit_link].link;
    if (!c->next_audit_id[0] || steer_audit_is_ending(c)) return;
    if (link) begin(c, c->next_audit_id, link);
    else steer_push(c, "AUDITED", c->next_audit_id, SLICE("{\"ok\":false,\"error\":\"the link was closed\"}"));
    c->next_audit_id[0] = '\0';
}

/* AUDIT START <id> <link>. Told again: its end is reported again. */
static void start(struct steer *c, const char *id, struct slice name) {
    size_t index = is(name, "reverse");
    bool known = index == 1 || is(name, "forward");
    if (!known || !c->links[index].link) {
        resp_write_errorf(&c->out, "ERR the link is not open");
        return;
    }
    if (c->audit && strcmp(audit_id(c->audit), id) == 0) {
        c->audit_told = false;
        resp_write_ok(&c->out);
        return;
    }
    if (c->audit && !audit_is_done(c->audit)) {
        resp_write_errorf(&c->out, "ERR audit %s is running", audit_id(c->audit));
        return;
    }
    snprintf(c->next_audit_id, sizeof c->next_audit_id, "%s", id);
    c->next_audit_link = index;
    steer_start_next_audit(c); /* unless another one has still to end */
    resp_write_ok(&c->out);
}

static void stop(struct steer *c, const char *id) {
    if (c->audit && strcmp(audit_id(c->audit), id) == 0 && !audit_is_done(c->audit)) steer_end_audit(c);
    if (strcmp(c->next_audit_id, id) == 0) c->next_audit_id[0] = '\0';
    resp_write_ok(&c->out);
}

static void repair(struct steer *c, const char *id) {
    if (!c->audit || strcmp(audit_id(c->audit), id) != 0 || !audit_is_done(c->audit)) {
        resp_write_errorf(&c->out, "ERR the keys of audit %s are not known any more; audit again", id);
        return;
    }
    c->repairing = audit_repair(c->audit);
    c->repair_due_ms = now_ms() + 500;
    snprintf(c->repair_id, sizeof c->repair_id, "%s", id);
    resp_write_ok(&c->out);
}

void steer_obey_audit(struct steer *c, size_t argc, const struct slice *argv) {
    char id[64];
    snprintf(id, sizeof id, "%.*s", (int)(argv[2].size < 60 ? argv[2].size : 60), (const char *)argv[2].data);
    if (is(argv[1], "start") && argc == 4) {
        start(c, id, argv[3]);
    } else if (is(argv[1], "stop") && argc == 3) {
        stop(c, id);
    } else if (is(argv[1], "repair") && argc == 3) {
        repair(c, id);
    } else {
        resp_write_errorf(&c->out, "ERR AUDIT START id link, AUDIT STOP id, AUDIT REPAIR id");
    }
}

/* The repaired keys are clean again when nothing is dirty any more. */
static void report_repair(struct steer *c) {
    struct link_status s;
    struct buf json = {0};
    struct link *link = c->audit ? audit_link(c->audit) : NULL;
    if (!c->repair_id[0] || !link || now_ms() < c->repair_due_ms) return;
    link_get_status(link, &s);
    if (s.dirty_keys > s.quarantined_keys) return;
    buf_printf(&json, "{\"keys\":%" PRIu64 ",\"failed\":%" PRIu64 "}", c->repairing, s.quarantined_keys);
    steer_push(c, "REPAIRED", c->repair_id, buf_slice(&json));
    buf_close(&json);
    c->repair_id[0] = '\0';
}

static void report_compare(struct steer *c) {
    struct buf json = {0};
    if (!c->compare || !compare_is_done(c->compare)) return;
    compare_json(c->compare, &json);
    steer_push(c, "COMPARED", compare_barrier(c->compare), buf_slice(&json));
    buf_close(&json);
    compare_free(c->compare);
    c->compare = NULL;
}

/* An audit that found nothing answers for what others wrote before it. Told before the audit's end, so that
 * nobody takes what was made good for a reason to doubt the audit. */
static void settle_foreign(struct steer *c) {
    uint64_t offset = 0;
    if (!audit_found_equal(c->audit, &offset)) return;
    for (size_t i = 0; i < STEER_LINKS; i++) {
        if (!c->links[i].link || c->links[i].link == audit_link(c->audit)) continue;
        link_audited(c->links[i].link, offset);
        steer_report_link(c, &c->links[i]);
    }
}

void steer_report_audit(struct steer *c) {
    struct buf json = {0};
    report_compare(c);
    report_repair(c);
    if (!c->audit || c->audit_told) return;
    bool done = audit_is_done(c->audit);
    if (!done && now_ms() < c->audit_due_ms) return;
    c->audit_due_ms = now_ms() + 1000;
    c->audit_told = done;
    if (done) settle_foreign(c);
    audit_json(c->audit, &json);
    steer_push(c, done ? "AUDITED" : "AUDIT", audit_id(c->audit), buf_slice(&json));
    buf_close(&json);
}

void steer_compare(struct steer *c, struct link *link, const char *barrier, uint64_t budget_ms) {
    steer_end_compare(c); /* of a barrier that is over */
    c->compare = compare_start(barrier, link, budget_ms);
}
