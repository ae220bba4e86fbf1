/* dual_reads.c -- canary and shadow reads in the lanes. See reads.h, lane_read.h.
 *
 * Both stand in F's order, behind all effects of what P has answered: so a client sees its own
 * writes, and what a shadow read differs in is a difference, whatever the lag. Only of clean keys.
 */
#include "gateway/dual_inside.h"
#include "gateway/reads_loop.h"

#define QUEUE_MAX 64u /* items that F has not confirmed: it would take too long */

/* One read for F; in dual->reads. */
struct side_read {
    struct list link;
    struct lane_read read;
    struct dual *dual;
    bool is_canary;
    struct canary canary; /* of a client of this loop */
    struct ask *ask;      /* or of another; NULL: neither, or it was given back */
    const struct command *command;
    uint64_t at_us;
    struct buf name, request;
    struct buf primary; /* a shadow's: what P said */
};

static struct side_read *of(struct lane_read *read) {
    return LIST_OWNER(read, struct side_read, read);
}

static void free_read(struct side_read *r) {
    list_remove(&r->link);
    buf_close(&r->canary.request);
    buf_close(&r->name);
    buf_close(&r->request);
    buf_close(&r->primary);
    mem_free(r);
}

static bool is_plain(const struct effect *e) {
    return !e->writes && !e->is_block && !e->blocking && !e->barrier && !e->keys_unknown &&
           e->replies == 1 && e->key_count == 1 && reads_fit(e->command);
}

static struct side_read *new_read(struct dual *d, const struct effect *e, uint8_t proto,
                                  const struct lane_read_ops *ops) {
    struct side_read *r = NEW(struct side_read);
    r->dual = d;
    r->command = e->command;
    r->at_us = d->worker->now_us;
    buf_add(&r->name, e->keys[0].name);
    buf_add(&r->request, e->send);
    r->read = (struct lane_read){
        .ops = ops, .db = e->db, .proto = proto, .name = buf_slice(&r->name)};
    list_push(&d->reads, &r->link);
    return r;
}

/* ---- shadows ---- */

static bool shadow_at_p(struct lane_read *read, struct slice answer, bool clean, struct buf *out,
                        uint32_t *replies) {
    struct side_read *r = of(read);
    struct reads *reads = r->dual->worker->gw->reads;
    if (!clean || answer.size == 0 || answer.size > READS_BYTES_MAX) {
        reads_count(reads, clean ? READS_UNDECIDED : READS_SKIPPED, r->command);
        free_read(r);
        return false;
    }
    buf_add(&r->primary, answer);
    buf_add(out, buf_slice(&r->request));
    *replies = 1;
    return true;
}

static void shadow_at_f(struct lane_read *read, struct slice answer, bool spoiled) {
    struct side_read *r = of(read);
    struct worker *w = r->dual->worker;
    struct slice primary = buf_slice(&r->primary);
    if (spoiled || answer.size > READS_BYTES_MAX)
        reads_count(w->gw->reads, READS_UNDECIDED, r->command);
    else if (reads_same(r->command, primary, answer))
        reads_count(w->gw->reads, READS_SAME, r->command);
    else
        reads_differ(w->gw->reads, r->command, r->read.db, r->read.name, primary, answer,
                     clock_wall_ms(loop_clock(w->loop)));
    free_read(r);
}

static void shadow_lost(struct lane_read *read) {
    struct side_read *r = of(read);
    reads_count(r->dual->worker->gw->reads, READS_UNDECIDED, r->command);
    free_read(r);
}

static const struct lane_read_ops shadow_ops = {shadow_at_p, shadow_at_f, shadow_lost};

static uint32_t *dice(struct dual *d) {
    return reads_loop_dice(d->worker->reads);
}

void dual_reads_shadow(struct dual *d, struct lane_item *item) {
    struct reads *reads = d->worker->gw->reads;
    const struct client *c = item->far ? NULL : item->client;
    const struct ask *ask = item->far ? item->client : NULL;
    if (reads_get(reads).kind != READS_SHADOW || item->outside || item->barrier) return;
    if ((c == NULL && ask == NULL) || !is_plain(item->effect)) return;
    if (!reads_pick(reads, READS_SHADOW, dice(d))) return;
    item->read = &new_read(d, item->effect, c != NULL ? c->proto : ask->proto, &shadow_ops)->read;
}

/* ---- canaries ---- */

/* F answers about as fast as P does, as far as can be seen, and has P's value of the key. */
static bool is_ready(struct dual *d, const struct effect *e) {
    const struct lane *l = &d->lanes.lane[lane_of(d->lanes.count, e->keys[0].name)];
    return l->follower_up && l->tail.count == 0 && l->sent.count < QUEUE_MAX &&
           !lane_keys_is_dirty(&l->keys, e->keys[0].db, e->keys[0].name) &&
           lane_may_send(l) && lane_barrier_is_idle(&d->lanes.barrier);
}

/* The answer, or none; the primary side is asked then. */
static void end_canary(struct side_read *r, struct slice answer) {
    struct dual *d = r->dual;
    struct worker *w = d->worker;
    struct ask *ask = r->ask;
    if (r->canary.at_us != 0) canary_end(w, &r->canary, dual_side(d, LANE_F), answer);
    bool good = answer.size > 0 && answer.data[0] != '-' && answer.data[0] != '!';
    if (ask != NULL) {
        reads_count(w->gw->reads, good ? READS_CANARY_ANSWERED : READS_CANARY_RETURNED, r->command);
        if (answer.size == 0) reads_loop_back_off(w->reads);
        r->ask = NULL;
        if (good) {
            buf_add(&ask->answer, answer);
            ask->end = ASK_ANSWERED;
            ask_give_back(w, ask);
        } else {
            list_push(&d->parked[ask->lane], &ask->link); /* it leaves at the end of the turn */
            ask->parked_at_us = w->now_us;
        }
    }
}

static void canary_at_f(struct lane_read *read, struct slice answer, bool spoiled) {
    struct side_read *r = of(read);
    end_canary(r, spoiled ? (struct slice){0} : answer);
    free_read(r);
}

static void canary_lost(struct lane_read *read) {
    struct side_read *r = of(read);
    end_canary(r, (struct slice){0});
    free_read(r);
}

static const struct lane_read_ops canary_ops = {NULL, canary_at_f, canary_lost};

static void send_to_f(struct dual *d, struct side_read *r) {
    struct lane *l = &d->lanes.lane[lane_of(d->lanes.count, r->read.name)];
    r->is_canary = true;
    lane_read_follow(l, &r->read, buf_slice(&r->request), 1);
}

bool dual_reads_canary(struct client *c, struct effect *e) {
    struct dual *d = c->worker->dual;
    if (reads_get(c->worker->gw->reads).kind != READS_CANARY || !is_plain(e)) return false;
    if (!canary_is_due(c, e->command) || !is_ready(d, e)) return false;
    struct side_read *r = new_read(d, e, c->proto, &canary_ops);
    canary_begin(&r->canary, c, e->command, e->send);
    effect_free(e);
    send_to_f(d, r);
    return true;
}

bool dual_reads_canary_ask(struct dual *d, struct ask *ask) {
    struct worker *w = d->worker;
    if (reads_get(w->gw->reads).kind != READS_CANARY || !ask->first) return false;
    if (!is_plain(ask->effect) || reads_loop_is_backing_off(w->reads)) return false;
    if (!is_ready(d, ask->effect) || !reads_pick(w->gw->reads, READS_CANARY, dice(d))) return false;
    struct side_read *r = new_read(d, ask->effect, ask->proto, &canary_ops);
    r->ask = ask;
    ask->first = false;
    send_to_f(d, r);
    return true;
}

/* What F has not answered in time is asked of P; its answer from F will be for nobody. */
void dual_reads_tick(struct dual *d) {
    LIST_EACH(&d->reads, at) {
        struct side_read *r = LIST_OWNER(at, struct side_read, link);
        if (d->worker->now_us - r->at_us < READS_CANARY_MS * 1000) break;
        if (!r->is_canary || r->ask == NULL) continue; /* of this loop: reads_loop_tick() */
        end_canary(r, (struct slice){0});
    }
}

void dual_reads_close(struct dual *d) {
    while (!list_is_empty(&d->reads)) {
        struct side_read *r = LIST_OWNER(d->reads.next, struct side_read, link);
        if (r->canary.client != NULL) canary_forget(r->canary.client);
        list_remove(&r->canary.link);
        free_read(r);
    }
}
