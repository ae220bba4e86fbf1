/* topology_push.c -- a connection to each node of our cluster, over which it learns the topology;
 * see topology_push.h. */
#include "state/topology_push.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/control/rconn.h"
#include "lib/net/loop.h"
#include "lib/redis/reply.h"

#include <stdio.h>

#define ASK_MS 2000
#define REDIAL_MS 500
#define REPLY_TIMEOUT_MS 5000
#define TOLD_MAX 3 /* times in a row that a node may say OK and not have it */

struct target {
    struct topology_push *push;
    size_t at; /* of the plan */
    struct rconn *conn;
    struct loop_timer timer; /* to dial, or to ask */
    enum push_state state;
    int64_t epoch;
    unsigned told;
    char why[160];
};

struct topology_push {
    struct loop *loop;
    const struct config_side *side;
    struct topology_plan *plan;
    void (*on_change)(void *self, bool all);
    void *self;
    bool all; /* as it was told last */
    struct target targets[PLAN_NODES_MAX];
};

const char *push_state_name(enum push_state state) {
    static const char *const names[PUSH_STATES] = {
        [PUSH_AWAY] = "away",   [PUSH_ASKED] = "asked",         [PUSH_CONFIRMED] = "confirmed",
        [PUSH_NEWER] = "newer", [PUSH_DIFFERENT] = "different", [PUSH_REFUSED] = "refused"};
    ASSERT(state < PUSH_STATES);
    return names[state];
}

static void set_state(struct target *t, enum push_state state, const char *why) {
    struct topology_push *push = t->push;
    bool said = t->state == state && strncmp(t->why, why, sizeof t->why - 1) == 0;
    const char *name = push->plan->nodes[t->at].name;
    snprintf(t->why, sizeof t->why, "%s", why);
    t->state = state;
    if (!said && why[0])
        log_warn("topology.unconfirmed", LOG_S("node", name), LOG_S("state", push_state_name(state)),
                 LOG_I("epoch", t->epoch), LOG_S("why", t->why));
    else if (!said && state == PUSH_CONFIRMED)
        log_info("topology.confirmed", LOG_S("node", name), LOG_I("epoch", t->epoch));
    bool all = topology_push_confirmed(push) == push->plan->count;
    if (all == push->all) return;
    push->all = all;
    push->on_change(push->self, all);
}

/* ---- a node ---- */

static void dial(void *self);
static void ask(void *self);

static void on_down(void *self, enum err err, const struct why *why) {
    struct target *t = self;
    t->conn = NULL;
    t->epoch = 0;
    t->told = 0;
    set_state(t, PUSH_AWAY, why && why->text[0] ? why->text : err_text(err));
    loop_timer_start(t->push->loop, &t->timer, REDIAL_MS, 0, dial, t);
}

/* A reply that is an error: the node is there and does not do what it is asked. */
static bool refused(struct target *t, const struct resp_reply *reply) {
    char text[128];
    if (!resp_reply_is_error(reply)) return false;
    snprintf(text, sizeof text, "%.*s", (int)(reply->text.size < 120 ? reply->text.size : 120),
             (const char *)reply->text.data);
    set_state(t, PUSH_REFUSED, text);
    return true;
}

static void on_told(void *self, const struct resp_reply *reply, const struct why *why) {
    (void)why;
    struct target *t = self;
    if (reply && !refused(t, reply)) ask(t); /* only what is read back counts */
}

static void tell(struct target *t) {
    struct buf text = {0};
    topology_plan_write(t->push->plan, t->at, &text);
    const struct slice argv[] = {SLICE("DRAWBRIDGE"), SLICE("TOPOLOGY"), SLICE("SET"),
                                 slice_text(t->push->plan->nodes[t->at].id), buf_slice(&text)};
    t->told++;
    rconn_command(t->conn, sizeof argv / sizeof *argv, argv, on_told, t);
    buf_close(&text);
}

static void on_answer(void *self, const struct resp_reply *reply, const struct why *why) {
    (void)why;
    struct target *t = self;
    struct why what = {""};
    if (!reply || refused(t, reply)) return; /* on_down comes; or it has been said */
    switch (topology_plan_compare(t->push->plan, t->at, reply->text, &t->epoch, &what)) {
    case PLAN_SAME:
        t->told = 0;
        set_state(t, PUSH_CONFIRMED, "");
        return;
    case PLAN_OLDER:
        if (t->told < TOLD_MAX) {
            set_state(t, PUSH_ASKED, "");
            tell(t);
        } else { /* at the next turn of the timer it is tried again */
            t->told = 0;
            set_state(t, PUSH_REFUSED, "it says OK, and keeps the older topology");
        }
        return;
    case PLAN_NEWER: set_state(t, PUSH_NEWER, what.text); return;
    case PLAN_DIFFERENT: set_state(t, PUSH_DIFFERENT, what.text); return;
    case PLAN_UNREADABLE: set_state(t, PUSH_REFUSED, what.text); return;
    }
}

static void ask(void *self) {
    struct target *t = self;
    if (rconn_pending(t->conn) > 1) return; /* it has not answered yet; its time runs */
    rconn_words(t->conn, "DRAWBRIDGE TOPOLOGY GET", on_answer, t);
}

static void on_ready(void *self) {
    struct target *t = self;
    loop_timer_start(t->push->loop, &t->timer, 0, ASK_MS, ask, t);
}

static const struct rconn_events events = {.on_ready = on_ready, .on_down = on_down};

static void dial(void *self) {
    struct target *t = self;
    const struct config_side *side = t->push->side;
    const struct plan_node *node = &t->push->plan->nodes[t->at];
    struct endpoint endpoint = {.kind = ENDPOINT_TCP, .port = (uint16_t)node->port};
    snprintf(endpoint.host, sizeof endpoint.host, "%s", node->host);
    endpoint.tls = side->endpoint.tls; /* copied by rconn_dial; not ours to close */
    struct rconn_options options = {.user = side->auth.user,
                                    .password = &side->auth.password,
                                    .name = "drawbridge-state",
                                    .reply_timeout_ms = REPLY_TIMEOUT_MS,
                                    .max_reply_bytes = 4u << 20};
    t->conn = rconn_dial(t->push->loop, &endpoint, &options, &events, t);
}

/* ---- all ---- */

static void begin(struct topology_push *push) {
    for (size_t i = 0; i < push->plan->count; i++) {
        push->targets[i] = (struct target){.push = push, .at = i};
        dial(&push->targets[i]);
    }
}

static void end(struct topology_push *push) {
    for (size_t i = 0; i < push->plan->count; i++) {
        loop_timer_stop(&push->targets[i].timer);
        if (push->targets[i].conn) rconn_drop(push->targets[i].conn);
    }
    mem_free(push->plan);
}

struct topology_push *topology_push_open(struct loop *loop, const struct config_side *side,
                                         struct topology_plan *plan,
                                         void (*on_change)(void *self, bool all), void *self) {
    struct topology_push *push = NEW(struct topology_push);
    *push = (struct topology_push){
        .loop = loop, .side = side, .plan = plan, .on_change = on_change, .self = self};
    begin(push);
    return push;
}

void topology_push_close(struct topology_push *push) {
    if (!push) return;
    end(push);
    mem_free(push);
}

enum err topology_push_replace(struct topology_push *push, struct topology_plan *plan,
                               struct why *why) {
    int64_t have = push->plan->epoch;
    if (topology_plan_equal(push->plan, plan)) {
        mem_free(plan);
        return OK;
    }
    if (plan->epoch <= have)
        return why_set(why, ERR_STATE,
                       "topology.epoch: found %lld; another topology needs more than %lld",
                       (long long)plan->epoch, (long long)have);
    end(push);
    push->plan = plan;
    push->all = false;
    begin(push);
    return OK;
}

const struct topology_plan *topology_push_plan(const struct topology_push *push) {
    return push->plan;
}

struct push_node topology_push_node(const struct topology_push *push, size_t at) {
    const struct target *t = &push->targets[at];
    return (struct push_node){
        .node = &push->plan->nodes[at], .state = t->state, .epoch = t->epoch, .why = t->why};
}

size_t topology_push_confirmed(const struct topology_push *push) {
    size_t count = 0;
    for (size_t i = 0; i < push->plan->count; i++)
        count += push->targets[i].state == PUSH_CONFIRMED;
    return count;
}
