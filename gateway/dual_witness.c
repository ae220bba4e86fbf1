/* dual_witness.c -- dual write: the connections that tell which keys changed. See dual_witness.h. */
#include "gateway/dual_witness.h"

#include "gateway/dual_inside.h"
#include "gateway/witness.h"

#include "lib/base/log.h"
#include "lib/control/slot_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define AGAIN_MS 10000u  /* a side that refused is asked again */
#define AWAITED_MS 10000u
#define NAMES_MANY 64u   /* between two fences */
#define ANSWER_MS 60000u /* a fence that is not answered for so long: the connection is dead */

enum reading { READ_HEAD, READ_KIND, READ_LIST, READ_NAMES };

struct side_witness {
    struct dual_witness *all;
    struct witness witness;
    struct backend *backend; /* NULL: to be dialled */
    enum dual_witness_state state;
    uint64_t since_ms; /* when it came into this state; monotonic */
    uint64_t again_ms;
    bool telling, asked; /* tracking is on, or was asked for */
    enum reading reading;
    uint64_t names_left; /* of the list that is passing */
    uint64_t names_before; /* figures.names at the last fence's answer */
};

struct dual_witness {
    struct dual *dual;
    bool frozen;
    struct side_witness side[SIDES];
    int file; /* -1: none */
    struct witness_safe saved;
};

static struct side_witness *of_side(struct dual_witness *all, enum lane_side side) {
    return &all->side[dual_side(all->dual, side)];
}

static const char *state_name(enum dual_witness_state state) {
    static const char *const names[] = {"off", "refused", "down", "on"};
    return names[state];
}

static void come_into(struct side_witness *s, enum dual_witness_state state, const char *why) {
    if (s->state == state) return;
    s->state = state;
    s->since_ms = loop_now_ms(s->all->dual->worker->loop);
    enum side side = (enum side)(s - s->all->side);
    if (!s->witness.watching) return;
    if (state == DUAL_WITNESS_ON)
        log_info("witness.on", LOG_S("side", gateway_side_name(side)));
    else
        log_warn("witness.gone", LOG_S("side", gateway_side_name(side)),
                 LOG_S("state", state_name(state)), LOG_S("why", why));
}

/* ---- names ---- */

static bool take_token(struct side_witness *s, const struct resp_token *t) {
    switch (s->reading) {
    case READ_HEAD:
        s->reading = READ_KIND;
        return t->kind == RESP_PUSH && t->number == 2;
    case READ_KIND:
        s->reading = READ_LIST;
        return slice_equal(t->text, SLICE("invalidate"));
    case READ_LIST:
        if (t->kind != RESP_ARRAY && t->kind != RESP_NULL) return false;
        if (t->kind == RESP_NULL) witness_flush(&s->witness);
        s->names_left = t->kind == RESP_ARRAY ? (uint64_t)t->number : 0;
        s->reading = s->names_left > 0 ? READ_NAMES : READ_HEAD;
        return true;
    case READ_NAMES:
        if (t->kind != RESP_BULK && t->kind != RESP_SIMPLE) return false;
        witness_name(&s->witness, t->text);
        if (--s->names_left == 0) s->reading = READ_HEAD;
        return true;
    default: UNREACHABLE("reading");
    }
}

bool dual_witness_take(struct backend *b, struct slice bytes, size_t *used) {
    struct side_witness *s = b->witness;
    *used = 0;
    witness_keep(&s->witness, b->worker->held);
    do {
        struct resp_token t;
        struct why why;
        size_t size = 0;
        enum step step = resp_next(&resp_limits_server, slice_drop(bytes, *used), &t, &size, &why);
        if (step == STEP_MORE) return false;
        if (step == STEP_FAIL || !take_token(s, &t)) {
            log_warn("witness.protocol", LOG_S("side", gateway_side_name(b->side)));
            backend_abort(b);
            return false;
        }
        *used += size;
        b->push = s->reading != READ_HEAD;
    } while (b->push && *used < bytes.size);
    return !b->push;
}

/* ---- fences ---- */

/* P names keys in every turn of its own, and each time it would wake this loop for a few of them. When
 * there are many they may wait in the socket until the next fence, or the next tick: what they mean is
 * not known before. Nobody waits for them meanwhile (C23: not in a hold). */
static void let_names_wait(struct side_witness *s) {
    struct worker *w = s->backend->worker;
    uint64_t names = s->witness.figures.names - s->names_before;
    s->names_before = s->witness.figures.names;
    if (names < NAMES_MANY || w->held || loop_now_ms(w->loop) < w->hurry_until_ms) return;
    stream_pause(s->backend->stream);
}

static void on_fence(struct req *req, struct backend *b, struct slice replies) {
    struct side_witness *s = b->witness;
    struct witness_answer answer;
    (void)req;
    if (b->sm.state == BACKEND_GONE || s == NULL) return;
    witness_told(&s->witness, witness_read(replies, &answer) ? &answer : NULL);
    let_names_wait(s);
}

static void send_fence(struct side_witness *s) {
    struct backend *b = s->backend;
    struct buf out = {0};
    witness_asked(&s->witness, b->worker->now_us);
    stream_resume(b->stream);
    resp_write_words(&out, "INFO", "commandstats", NULL);
    resp_write_words(&out, "INFO", "keyspace", NULL);
    backend_write(b, buf_slice(&out));
    buf_close(&out);
    backend_expect(b, NULL, REQ_WHOLE, 2)->done = on_fence;
}

/* Before it counts, what it counts on is in the journal: a name was judged in this turn or before. */
static void save(struct dual_witness *all) {
    const struct witness_safe *safe = &of_side(all, LANE_P)->witness.safe;
    char text[WITNESS_SAFE_SIZE];
    bool same = safe->scripts == all->saved.scripts && strcmp(safe->run_id, all->saved.run_id) == 0;
    if (all->file < 0 || !safe->known || (all->saved.known && same)) return;
    witness_safe_write(safe, text);
    if (pwrite(all->file, text, sizeof text, 0) == (ssize_t)sizeof text) all->saved = *safe;
}

void dual_witness_turn(struct dual_witness *all) {
    struct worker *w = all->dual->worker;
    if (all->frozen) return;
    save(all);
    bool hurry = w->held || loop_now_ms(w->loop) < w->hurry_until_ms;
    for (unsigned i = 0; i < SIDES; i++) {
        struct side_witness *s = &all->side[i];
        if (s->backend != NULL && s->telling && witness_wants(&s->witness, w->now_us, hurry))
            send_fence(s);
    }
}

/* ---- connections ---- */

static void on_tracking(struct req *req, struct backend *b, struct slice reply) {
    struct side_witness *s = b->witness;
    (void)req;
    if (b->sm.state == BACKEND_GONE || s == NULL) return;
    if (slice_starts(reply, SLICE("+OK"))) {
        s->telling = true;
        witness_begin(&s->witness, b->run_id);
        come_into(s, DUAL_WITNESS_ON, "");
        return;
    }
    char why[100];
    (void)snprintf(why, sizeof why, "%.*s", (int)(reply.size < 80 ? reply.size : 80), (const char *)reply.data);
    come_into(s, DUAL_WITNESS_REFUSED, why);
    s->again_ms = loop_now_ms(b->worker->loop) + AGAIN_MS;
    backend_abort(b);
}

static void ask_for_names(struct side_witness *s) {
    struct buf out = {0};
    s->asked = true;
    resp_write_words(&out, "CLIENT", "TRACKING", "ON", "BCAST", "NOLOOP", NULL);
    backend_write(s->backend, buf_slice(&out));
    buf_close(&out);
    backend_expect(s->backend, NULL, REQ_WHOLE, 1)->done = on_tracking;
}

/* F tells its names while clients are held, and shortly before. */
static void ask_for_none(struct side_witness *s) {
    struct buf out = {0};
    resp_write_words(&out, "CLIENT", "TRACKING", "OFF", NULL);
    backend_write(s->backend, buf_slice(&out));
    buf_close(&out);
    (void)backend_expect(s->backend, NULL, REQ_DROP, 1);
    witness_end(&s->witness);
    s->telling = s->asked = false;
}

void dual_witness_ready(struct backend *b) {
    struct side_witness *s = b->witness;
    if (s->witness.watching) ask_for_names(s);
}

/* Before it was ready: it does not speak RESP3, or is not to be reached. */
void dual_witness_lost(struct backend *b) {
    struct side_witness *s = b->witness;
    const struct worker *w = b->worker;
    bool greeted = b->server_id != 0 || s->asked;
    b->witness = NULL;
    s->backend = NULL;
    s->reading = READ_HEAD;
    s->telling = s->asked = false;
    witness_end(&s->witness);
    if (s->state == DUAL_WITNESS_REFUSED) return;
    bool reached = w->dual->line[dual_lane_side(w->dual, b->side)][0].up;
    bool refused = !greeted && reached && s->state == DUAL_WITNESS_DOWN;
    s->again_ms = loop_now_ms(w->loop) + (refused ? AGAIN_MS : 100);
    come_into(s, refused ? DUAL_WITNESS_REFUSED : DUAL_WITNESS_DOWN, "the connection broke");
}

static void dial(struct side_witness *s, enum side side) {
    struct dual *d = s->all->dual;
    struct worker *w = d->worker;
    uint64_t now_ms = loop_now_ms(w->loop);
    int32_t version = dual_version(w->version[side]);
    if (w->shards[side] != NULL) {
        come_into(s, DUAL_WITNESS_REFUSED, "it is a Cluster, whose nodes would all have to tell");
        return;
    }
    if (version == 0 || now_ms < s->again_ms || now_ms < w->retry_at_ms[side]) return;
    if (version < EFFECT_VERSION(6, 0, 0)) {
        come_into(s, DUAL_WITNESS_REFUSED, "it is older than 6.0");
        return;
    }
    s->backend = backend_open(w, side, 3, true);
    s->backend->witness = s;
}

static void look_at(struct side_witness *s, enum side side) {
    struct dual *d = s->all->dual;
    struct worker *w = d->worker;
    uint64_t now_ms = loop_now_ms(w->loop);
    bool wanted = w->routed && (w->gw->standalone || d->table_of_slots != NULL) &&
                  (side == w->side || d->follow);
    if (s->backend == NULL) {
        if (wanted) dial(s, side);
        return;
    }
    bool late = s->witness.asked && w->now_us - s->witness.asked_at_us > ANSWER_MS * 1000u;
    if (!wanted || late) {
        backend_abort(s->backend);
        return;
    }
    if (!backend_is_ready(s->backend)) return;
    stream_resume(s->backend->stream);
    if (s->witness.watching) return;
    bool soon = w->held || now_ms < w->hurry_until_ms;
    if (soon && !s->asked) ask_for_names(s);
    if (!soon && s->telling && !s->witness.asked) ask_for_none(s);
}

void dual_witness_tick(struct dual_witness *all) {
    for (unsigned i = 0; i < SIDES; i++)
        if (all->side[i].state != DUAL_WITNESS_OFF) look_at(&all->side[i], (enum side)i);
}

/* ---- what the others ask ---- */

void dual_witness_sent(struct dual_witness *all, const struct lane_item *item) {
    struct witness *w = &of_side(all, LANE_P)->witness;
    if (item->kind == LANE_BURST)
        witness_sent_name(w, item->db, item->keys[item->key_count - 1].name);
    else if (item->kind == LANE_COMMAND && item->effect->writes)
        witness_sent(w, item->effect);
}

void dual_witness_owe(struct dual_witness *all) {
    witness_owe(&of_side(all, LANE_P)->witness);
}

static bool is_expected(const struct side_witness *s) {
    return s->state == DUAL_WITNESS_DOWN || s->state == DUAL_WITNESS_ON;
}

void dual_witness_wish(struct dual_witness *all) {
    of_side(all, LANE_P)->witness.wished = true;
}

bool dual_witness_is_proved(const struct dual_witness *all) {
    const struct side_witness *s = &all->side[dual_side(all->dual, LANE_P)];
    return all->frozen || !is_expected(s) || witness_is_proved(&s->witness);
}

bool dual_witness_may_turn(const struct dual_witness *all) {
    const struct side_witness *s = &all->side[dual_side(all->dual, LANE_F)];
    if (!dual_witness_is_proved(all)) return false;
    return all->frozen || !is_expected(s) || witness_is_armed(&s->witness);
}

bool dual_witness_has_settled(const struct dual_witness *all) {
    const struct side_witness *s = &all->side[dual_side(all->dual, LANE_P)];
    const struct slot_table *table = all->dual->table_of_slots;
    bool alone = table == NULL || table->count < 2; /* the others' scripts go on */
    if (!is_expected(s)) return true;
    return witness_is_proved(&s->witness) && (!alone || witness_is_safe(&s->witness));
}

void dual_witness_freeze(struct dual_witness *all, bool freeze) {
    if (all->frozen && !freeze) dual_witness_owe(all);
    all->frozen = freeze;
}

void dual_witness_swapped(struct dual_witness *all, enum side next) {
    all->frozen = false;
    for (unsigned i = 0; i < SIDES; i++) {
        struct side_witness *s = &all->side[i];
        witness_watch(&s->witness, i == next);
        if (i == next && s->state == DUAL_WITNESS_DOWN) s->again_ms = 0;
        if (i == next && s->backend != NULL && backend_is_ready(s->backend) && !s->asked)
            ask_for_names(s);
    }
}

void dual_witness_released(struct dual_witness *all) {
    for (unsigned i = 0; i < SIDES; i++) witness_keep(&all->side[i].witness, false);
}

void dual_witness_owned(struct dual_witness *all) {
    witness_owned(&of_side(all, LANE_P)->witness);
}

bool dual_witness_is_awaited(const struct dual_witness *all) {
    const struct side_witness *s = &all->side[dual_side(all->dual, LANE_P)];
    bool awaited = is_expected(s) && !(s->witness.on && !s->witness.resuming);
    return awaited && loop_now_ms(all->dual->worker->loop) - s->since_ms < AWAITED_MS;
}

uint64_t dual_witness_fences(const struct dual_witness *all) {
    const struct side_witness *s = &all->side[dual_side(all->dual, LANE_P)];
    return is_expected(s) ? s->witness.figures.answered : UINT64_MAX;
}

/* ---- figures, the file ---- */

void dual_witness_figures(const struct dual_witness *all, uint64_t f[DUAL_FIGURES]) {
    const struct side_witness *p = &all->side[dual_side(all->dual, LANE_P)];
    uint64_t now_ms = loop_now_ms(all->dual->worker->loop);
    f[DUAL_WITNESS] = p->state;
    f[DUAL_WITNESS_MS] = p->state == DUAL_WITNESS_DOWN ? 0 : now_ms - p->since_ms;
    for (unsigned i = 0; i < SIDES; i++) {
        const struct witness_figures *of = &all->side[i].witness.figures;
        f[DUAL_WITNESS_NAMES] += of->names;
        f[DUAL_WITNESS_EXPLAINED] += of->explained;
        f[DUAL_WITNESS_DIRTIED] += of->dirtied;
        f[DUAL_WITNESS_GAPS] += of->gaps;
        f[DUAL_WITNESS_EVERYTHING] += of->everything;
        f[DUAL_WITNESS_FENCES] += of->fences;
    }
}

/* Without it the next process does not know how many scripts ran meanwhile: everything is dirty. */
static void open_file(struct dual_witness *all) {
    const struct gateway *gw = all->dual->worker->gw;
    char path[1024], text[WITNESS_SAFE_SIZE + 1];
    (void)snprintf(path, sizeof path, "%s/%s.witness", gw->config->run_dir, gw->name);
    all->file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (all->file < 0) {
        log_warn("witness.file", LOG_S("path", path), LOG_S("why", strerror(errno)));
        return;
    }
    ssize_t size = pread(all->file, text, sizeof text, 0);
    if (size > 0) witness_safe_read(&all->saved, slice_from(text, (size_t)size));
}

struct dual_witness *dual_witness_open(struct dual *d) {
    struct dual_witness *all = NEW(struct dual_witness);
    bool off = d->worker->gw->config->gateway.witness == WITNESS_OFF;
    all->dual = d;
    all->file = -1;
    if (!off) open_file(all);
    for (unsigned i = 0; i < SIDES; i++) {
        struct side_witness *s = &all->side[i];
        s->all = all;
        s->state = off ? DUAL_WITNESS_OFF : DUAL_WITNESS_DOWN;
        witness_init(&s->witness, &d->lanes);
        s->since_ms = loop_now_ms(d->worker->loop);
        witness_watch(&s->witness, i == d->worker->side);
        s->witness.safe = all->saved;
    }
    return all;
}

void dual_witness_close(struct dual_witness *all) {
    if (all == NULL) return;
    save(all);
    for (unsigned i = 0; i < SIDES; i++) witness_close(&all->side[i].witness);
    if (all->file >= 0) (void)close(all->file);
    mem_free(all);
}
