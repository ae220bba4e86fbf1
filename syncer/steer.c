/* steer.c -- the syncer as a member: its connection to `state`. See steer.h. */
#include "syncer/steer.h"

#include "lib/base/clock.h"
#include "lib/base/fs.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/redis/resp.h"
#include "syncer/steer_inside.h"
#include "syncer/disk.h"
#include "syncer/report.h"
#include "syncer/wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define REDIAL_MS 500
#define REPORT_MS 1000
#define POLL_MS 20
#define POLL_MS_IN_BARRIER 1 /* clients are held while we look */
#define IN_BYTES (64u << 10)
#define VERSION "0.1"

static uint64_t now_ms(void) { return clock_mono_ms(clock_real()); }

/* ---- reports ---- */

void steer_push(struct steer *c, const char *name, const char *subject, struct slice json) {
    if (!c->wire) return;
    resp_write_push(&c->out, 3, 3);
    resp_write_text(&c->out, name);
    resp_write_text(&c->out, subject);
    resp_write_bulk(&c->out, json);
}

void steer_report_link(struct steer *c, struct steer_link *slot) {
    struct buf json = {0};
    report_json(slot->link, &json);
    steer_push(c, "LINK", slot->link->name, buf_slice(&json));
    buf_close(&json);
    slot->report_due_ms = now_ms() + REPORT_MS;
}

static void report_drained(struct steer *c, struct steer_link *slot, const struct link_status *s, const struct link_orders *o) {
    struct buf json = {0};
    if (!slot->drain_told || !s->drained) return;
    slot->drain_told = false;
    buf_printf(&json, "{\"link\":\"%s\",\"applied_offset\":%" PRIu64 ",\"dirty\":%" PRIu64 ",\"quarantined\":%" PRIu64 "}",
               slot->link->name, s->applied.offset, s->dirty_keys - s->quarantined_keys, s->quarantined_keys);
    steer_push(c, "DRAINED", o->barrier, buf_slice(&json));
    buf_close(&json);
}

static void report_active(struct steer *c, struct steer_link *slot, const struct link_status *s, const struct link_orders *o) {
    struct buf json = {0};
    bool active = o->role == LINK_ACTIVE && !o->take_over && !o->activate && s->positioned && s->state == LINK_FOLLOWING;
    if (!slot->activate_told || !active) return;
    slot->activate_told = false;
    buf_printf(&json, "{\"offset\":%" PRIu64 "}", s->applied.offset);
    steer_push(c, "ACTIVE", slot->link->name, buf_slice(&json));
    buf_close(&json);
}

static void report(struct steer *c) {
    for (size_t i = 0; i < STEER_LINKS; i++) {
        struct steer_link *slot = &c->links[i];
        struct link_status status;
        struct link_orders orders;
        if (!slot->link) continue;
        link_get_status(slot->link, &status);
        link_get_orders(slot->link, &orders);
        report_drained(c, slot, &status, &orders);
        report_active(c, slot, &status, &orders);
        bool moved = status.state != slot->told_state || strcmp(status.error, slot->told_error) != 0;
        if (!moved && now_ms() < slot->report_due_ms) continue;
        slot->told_state = status.state;
        snprintf(slot->told_error, sizeof slot->told_error, "%s", status.error);
        steer_report_link(c, slot);
    }
    steer_report_audit(c);
}

/* ---- the connection ---- */

static enum err send_out(struct steer *c, struct why *why) {
    enum err err = buf_size(&c->out) ? wire_write(c->wire, buf_slice(&c->out), why) : OK;
    buf_clear(&c->out);
    return err;
}

static enum err read_some(struct steer *c, int wait_ms, struct why *why) {
    size_t got = 0;
    enum err err = wire_read(c->wire, buf_room(&c->in, IN_BYTES), IN_BYTES, wait_ms, &got, why);
    if (err == OK) buf_filled(&c->in, got);
    return err;
}

/* HELLO is answered by an array of names and values, or by an error. */
static enum err read_hello(struct steer *c, struct why *why) {
    uint64_t until = now_ms() + 3000;
    struct resp_skip skip = {0};
    size_t seen = 0;
    for (;;) {
        size_t used = 0;
        struct slice bytes = slice_drop(buf_slice(&c->in), seen);
        enum step step = resp_skip_next(&skip, &resp_limits_server, bytes, &used, why);
        seen += used;
        if (step == STEP_FAIL) return ERR_PROTO;
        if (step == STEP_DONE) break;
        if (now_ms() > until) return why_set(why, ERR_TIMEOUT, "state does not answer HELLO");
        enum err err = read_some(c, 100, why);
        if (err != OK) return err;
    }
    enum err err = OK;
    if (skip.first == '-')
        err = why_set(why, ERR_REFUSED, "state answers: %.*s", (int)(seen < 200 ? seen : 200), (const char *)buf_slice(&c->in).data);
    buf_consume(&c->in, seen);
    return err;
}

static enum err dial(struct steer *c, struct why *why) {
    char epoch[24], pid[24];
    enum err err = wire_open(&c->wire, &c->config->state.control.endpoint, 2000, why);
    if (err != OK) return err;
    snprintf(epoch, sizeof epoch, "%" PRIu64, c->epoch);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    resp_write_words(&c->out, "DRAWBRIDGE", "HELLO", "syncer", c->config->syncer.name, VERSION, epoch, pid, NULL);
    err = send_out(c, why);
    return err == OK ? read_hello(c, why) : err;
}

static enum err take_orders(struct steer *c, struct why *why) {
    for (;;) {
        size_t used = 0;
        enum step step = resp_request_next(&c->request, &resp_request_limits_open, buf_slice(&c->in), &used, why);
        if (step == STEP_MORE) return OK;
        if (step == STEP_FAIL) return ERR_PROTO;
        if (c->request.argc > 0) steer_obey(c, c->request.argc, c->request.argv);
        buf_consume(&c->in, used);
    }
}

/* What others wrote to the follower side (C26). */
static void hand_over(struct steer *c) {
    for (size_t i = 0; i < STEER_LINKS; i++)
        for (size_t j = 0; j < STEER_LINKS; j++)
            if (c->links[i].link && c->links[j].link) link_hand_over(c->links[i].link, c->links[j].link);
}

/* A barrier waits for a report of ours. */
static bool in_barrier(const struct steer *c) {
    bool waited_for = c->compare != NULL;
    for (size_t i = 0; i < STEER_LINKS; i++) waited_for = waited_for || c->links[i].drain_told || c->links[i].activate_told;
    return waited_for;
}

static enum err converse(struct steer *c, bool (*ended)(void *), void *self, struct why *why) {
    enum err err = dial(c, why);
    if (err != OK) return err;
    log_info("control.joined", LOG_S("name", c->config->syncer.name));
    c->complained = false;
    for (size_t i = 0; i < STEER_LINKS; i++) c->links[i].report_due_ms = 0;
    while (err == OK && !ended(self)) {
        err = read_some(c, in_barrier(c) ? POLL_MS_IN_BARRIER : POLL_MS, why);
        if (err == OK) err = take_orders(c, why);
        steer_go_on(c);
        hand_over(c);
        report(c);
        if (err == OK) err = send_out(c, why);
    }
    return err;
}

void steer_run(struct steer *steer, bool (*ended)(void *self), void *self) {
    while (!ended(self)) {
        struct why why = {0};
        enum err err = converse(steer, ended, self, &why);
        wire_close(steer->wire);
        steer->wire = NULL;
        buf_clear(&steer->in);
        buf_clear(&steer->out);
        resp_request_close(&steer->request);
        steer->request = (struct resp_request){0};
        if (err == OK) continue;
        if (!steer->complained) log_warn("control.lost", LOG_WHY(&why));
        steer->complained = true;
        for (uint64_t until = now_ms() + REDIAL_MS; now_ms() < until && !ended(self);) {
            steer_go_on(steer);
            hand_over(steer);
            usleep(POLL_MS * 1000);
        }
    }
}

/* ---- the highest epoch that was obeyed ---- */

void steer_raise_epoch(struct steer *c, uint64_t epoch) {
    char path[4352];
    struct buf text = {0};
    struct why why;
    if (epoch <= c->epoch) return;
    c->epoch = epoch;
    snprintf(path, sizeof path, "%s/epoch", c->config->syncer.spool.dir);
    buf_printf(&text, "%" PRIu64 "\n", epoch);
    if (fs_replace(path, buf_slice(&text), &why) != OK) log_warn("control.epoch", LOG_WHY(&why));
    buf_close(&text);
}

enum err steer_open(struct steer **steer, const struct drawbridge_config *config, struct why *why) {
    char path[4352];
    struct buf text = {0};
    enum err err = fs_make_dirs(config->syncer.spool.dir, why);
    if (err != OK) return err;
    disk_sweep(config->syncer.spool.dir);
    struct steer *c = NEW(struct steer);
    c->config = config;
    for (size_t i = 0; i < STEER_LINKS; i++) c->sent[i] = sent_new();
    pthread_mutex_init(&c->lock, NULL);
    snprintf(path, sizeof path, "%s/epoch", config->syncer.spool.dir);
    if (fs_read_file(path, 64, &text, why) == OK) (void)sscanf(buf_text(&text), "%" SCNu64, &c->epoch);
    buf_close(&text);
    *steer = c;
    return OK;
}

void steer_close(struct steer *steer) {
    if (!steer) return;
    steer_wait_ended(steer);
    wire_close(steer->wire);
    buf_close(&steer->in);
    buf_close(&steer->out);
    resp_request_close(&steer->request);
    for (size_t i = 0; i < STEER_LINKS; i++) sent_free(steer->sent[i]);
    pthread_mutex_destroy(&steer->lock);
    mem_free(steer);
}

void steer_metrics(struct steer *steer, struct metrics *metrics) {
    pthread_mutex_lock(&steer->lock);
    for (size_t i = 0; i < STEER_LINKS; i++)
        if (steer->links[i].link) report_metrics(steer->links[i].link, metrics);
    pthread_mutex_unlock(&steer->lock);
}
