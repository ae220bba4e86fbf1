/* audit.c -- an exact comparison of a link's two ends. See audit.h. */
#include "syncer/audit.h"

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/control/rblock.h"
#include "lib/redis/reply.h"
#include "syncer/apply.h"
#include "syncer/audit_end.h"
#include "syncer/target.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define SAMPLE_MAX 1000
#define REPAIR_BYTES_MAX ((size_t)64 << 20)
#define BEGIN_TIMEOUT_MS 120000
#define HOLD_TIMEOUT_MS 30000
#define EXPIRY_SLACK_MS 1000
#define SPAN_SLACK_MS 1000 /* what else may lie between both ends, and what the clocks are apart meanwhile */

struct difference {
    uint32_t db;
    char *key; /* owned; KEY_SIZE bytes */
    size_t key_size;
    const char *kind;
    enum value_type type;
    char source[DIGEST_TEXT_SIZE], target[DIGEST_TEXT_SIZE];
};

struct audit {
    char id[64];
    struct link *link;
    pthread_t thread;
    _Atomic bool stop, done;
    _Atomic int part;
    struct audit_end source, target;
    enum digest_streams streams; /* what both ends can tell of them */
    int64_t expiry_slack_ms;     /* 0: deadlines are the same at both ends */
    enum err source_err;         /* of the thread that reads it */
    struct why source_why;
    struct rblock *asks; /* the source while it does not begin */
    /* written by the thread, read when `done` */
    bool ok;
    char error[512];
    uint64_t compared, differences, undecided, offset;
    unsigned unequal_slots; /* whose keys were compared one by one */
    int64_t started_ms, ended_ms, pause_ms;
    struct difference sample[SAMPLE_MAX];
    size_t sampled;
    struct buf repair; /* keys, as link->repair takes them */
};

static const char *const parts[] = {"waiting", "source", "level", "target", "reading", "comparing"};
enum part { PART_WAITING, PART_SOURCE, PART_LEVEL, PART_TARGET, PART_READING, PART_COMPARING };

static int64_t wall_ms(void) { return clock_wall_ms(clock_real()); }
static uint64_t mono_ms(void) { return clock_mono_ms(clock_real()); }

struct link *audit_link(struct audit *audit) { return audit->link; }
const char *audit_id(const struct audit *audit) { return audit->id; }
bool audit_is_done(struct audit *audit) { return atomic_load(&audit->done); }

/* ---- holding the link ---- */

static void set_limit(struct link *link, uint64_t limit) {
    pthread_mutex_lock(&link->lock);
    link->orders.limit = limit;
    pthread_mutex_unlock(&link->lock);
    link_wake(link);
}

/* Stop apply where it is. */
static enum err hold(struct audit *a, struct why *why) {
    struct link *link = a->link;
    uint64_t until = mono_ms() + HOLD_TIMEOUT_MS;
    pthread_mutex_lock(&link->lock);
    bool follows = link->orders.role == LINK_ACTIVE && link->status.positioned && link->status.copy.done;
    link->orders.audit_pause = follows;
    pthread_mutex_unlock(&link->lock);
    if (!follows) return why_set(why, ERR_STATE, "the link does not follow");
    link_wake(link);
    for (;;) {
        struct link_status s;
        link_get_status(link, &s);
        if (s.holding) {
            pthread_mutex_lock(&link->lock);
            link->orders.limit = s.applied.offset; /* from here on the limit holds it, and may be raised */
            link->orders.audit_pause = false;
            pthread_mutex_unlock(&link->lock);
            return OK;
        }
        if (atomic_load(&a->stop)) return why_set(why, ERR_STOPPED, "the audit was stopped");
        if (mono_ms() > until) return why_set(why, ERR_TIMEOUT, "the link did not hold: it is %s", link_state_name(s.state));
        link_sleep(link, 20);
    }
}

static void let_go(struct link *link) {
    pthread_mutex_lock(&link->lock);
    link->orders.audit_pause = false;
    link->orders.limit = UINT64_MAX;
    pthread_mutex_unlock(&link->lock);
    link_wake(link);
}

static enum err apply_up_to(struct audit *a, uint64_t offset, struct why *why) {
    struct link *link = a->link;
    uint64_t heard = mono_ms(), last = 0;
    set_limit(link, offset);
    for (;;) {
        struct link_status s;
        link_get_status(link, &s);
        if (s.applied.offset == offset && s.holding) return OK;
        if (s.applied.offset > offset)
            return why_set(why, ERR_STATE, "apply stands at %" PRIu64 ", behind the snapshot's offset %" PRIu64, s.applied.offset, offset);
        if (s.applied.offset != last) heard = mono_ms();
        last = s.applied.offset;
        if (atomic_load(&a->stop)) return why_set(why, ERR_STOPPED, "the audit was stopped");
        if (mono_ms() - heard > BEGIN_TIMEOUT_MS)
            return why_set(why, ERR_TIMEOUT, "apply does not reach offset %" PRIu64 "; it stands at %" PRIu64, offset, last);
        link_sleep(link, 20);
    }
}

/* While the source has not yet begun our snapshot, apply may go on to where the source is: what begins
 * later cannot lie before that. One INFO tells both. */
static void follow_source(void *self) {
    struct audit *a = self;
    const struct resp_reply *reply = NULL;
    struct why why;
    struct slice value;
    int64_t offset = 0;
    char waiting[48];
    struct rblock_options options = side_options(a->source.side, NULL);
    if (!a->asks && rblock_open(&a->asks, &a->source.side->endpoint, &options, &why) != OK) return;
    if (rblock_words(a->asks, &reply, &why, "INFO replication") != OK) {
        rblock_close(a->asks);
        a->asks = NULL;
        return;
    }
    snprintf(waiting, sizeof waiting, ",port=%d,state=wait_bgsave,", SNAPSHOT_PORT);
    bool waits = memmem(reply->text.data, reply->text.size, waiting, strlen(waiting)) != NULL;
    if (!waits || !resp_info_field(reply->text, "master_repl_offset", &value) || !slice_to_int(value, &offset)) return;
    struct link_orders orders;
    link_get_orders(a->link, &orders);
    if ((uint64_t)offset > orders.limit) set_limit(a->link, (uint64_t)offset);
}

/* ---- the snapshots ---- */

static enum err begin_end(struct audit *a, struct audit_end *end, struct why *why) {
    char name[96];
    bool follow = end == &a->source;
    snprintf(name, sizeof name, "drawbridge-link:%s:%" PRIu64 ":audit", a->link->name, a->link->epoch);
    enum err err = audit_end_begin(end, name, a->streams, follow ? follow_source : NULL, a, why);
    rblock_close(a->asks);
    a->asks = NULL;
    return err == OK ? OK : why_add(why, err, follow ? "the source's snapshot" : "the target's snapshot");
}

static void *read_source(void *self) {
    struct audit *a = self;
    a->source_err = audit_end_read(&a->source, a->streams, &a->source_why);
    return NULL;
}

static enum err capture_target(struct audit *a, struct why *why) {
    struct link_status status;
    atomic_store(&a->part, PART_LEVEL);
    enum err err = apply_up_to(a, a->offset, why);
    if (err != OK) return err;
    link_get_status(a->link, &status);
    a->undecided = status.dirty_keys;
    atomic_store(&a->part, PART_TARGET);
    return begin_end(a, &a->target, why);
}

/* Both ends at the same offset. The link is let go in any case. */
static enum err capture(struct audit *a, struct why *why) {
    pthread_t reader;
    atomic_store(&a->part, PART_SOURCE);
    enum err err = hold(a, why);
    if (err == OK) err = begin_end(a, &a->source, why);
    if (err != OK) {
        let_go(a->link);
        return err;
    }
    a->offset = a->source.offset;
    int64_t held = wall_ms();
    if (pthread_create(&reader, NULL, read_source, a) != 0) check_failed("pthread_create", __FILE__, __LINE__, __func__);
    err = capture_target(a, why);
    let_go(a->link);
    a->pause_ms = wall_ms() - held;
    atomic_store(&a->part, PART_READING);
    if (err == OK) err = audit_end_read(&a->target, a->streams, why);
    else atomic_store(&a->stop, true);
    pthread_join(reader, NULL);
    if (err == OK && a->source_err != OK) {
        *why = a->source_why;
        err = a->source_err;
    }
    return err;
}

/* ---- comparing ---- */

static void keep(struct audit *a, const struct sorter_record *any, const struct sorter_record *source,
                 const struct sorter_record *target, const char *kind) {
    a->differences++;
    if (buf_size(&a->repair) < REPAIR_BYTES_MAX) foreign_put_key(&a->repair, (int)any->db, any->key);
    if (a->sampled == SAMPLE_MAX) return;
    struct difference *d = &a->sample[a->sampled++];
    *d = (struct difference){.db = any->db, .kind = kind, .type = (enum value_type)any->type, .key_size = any->key.size};
    d->key = mem_dup(any->key.size ? any->key.data : (const uint8_t *)"", any->key.size + (any->key.size == 0));
    if (source) digest_write(source->digest, d->source);
    if (target) digest_write(target->digest, d->target);
}

/* Redis before 7.0 streams spans of time, which count from when they come here: apply lets none be
 * later than APPLY_SPAN_LATE_MS without reading the key again, and that, by TIME and PTTL, is right to
 * some milliseconds (C3). */
static bool same_but_for_a_moment(const struct audit *a, const struct sorter_record *s, const struct sorter_record *t) {
    if (a->expiry_slack_ms == 0 || s->expire_ms < 0 || t->expire_ms < 0) return false;
    int64_t apart = s->expire_ms - t->expire_ms;
    if (apart > a->expiry_slack_ms || apart < -a->expiry_slack_ms) return false;
    struct digest source = s->digest, target = t->digest;
    digest_take(&source, digest_of_expiry(s->db, s->key, s->expire_ms));
    digest_take(&target, digest_of_expiry(t->db, t->key, t->expire_ms));
    return digest_equal(source, target);
}

static const char *kind_of(const struct sorter_record *s, const struct sorter_record *t) {
    if (s->type != t->type) return "type";
    return s->expire_ms != t->expire_ms ? "expiry" : "value";
}

static bool passes(const struct sorter_record *r, int64_t until_ms) { return r->expire_ms >= 0 && r->expire_ms <= until_ms; }

static void compare_one(struct audit *a, const struct sorter_record *s, const struct sorter_record *t, int64_t until_ms) {
    bool s_gone = !s || passes(s, until_ms), t_gone = !t || passes(t, until_ms);
    if (s && !s_gone) a->compared++;
    if (s_gone && t_gone) return;
    if (s && t && (s_gone || t_gone)) { /* alive on one side only: its deadline differs */
        if (!same_but_for_a_moment(a, s, t)) keep(a, s, s, t, "expiry");
    } else if (s_gone) {
        keep(a, t, NULL, t, "extra");
    } else if (t_gone) {
        keep(a, s, s, NULL, "missing");
    } else if (!digest_equal(s->digest, t->digest) && !same_but_for_a_moment(a, s, t)) {
        keep(a, s, s, t, kind_of(s, t));
    }
}

/* Every key of the slots that differ. */
static enum err compare_keys(struct audit *a, struct why *why) {
    struct sorter_record s, t;
    bool s_end = false, t_end = false;
    int64_t ahead = a->source.ahead_ms > a->target.ahead_ms ? a->source.ahead_ms : a->target.ahead_ms;
    int64_t until_ms = wall_ms() + (ahead > 0 ? ahead : 0) + EXPIRY_SLACK_MS + a->expiry_slack_ms;
    enum err err = sorter_next(a->source.sorter, &s, &s_end, why);
    if (err == OK) err = sorter_next(a->target.sorter, &t, &t_end, why);
    while (err == OK && !(s_end && t_end)) {
        int order = s_end ? 1 : t_end ? -1 : sorter_compare(&s, &t);
        compare_one(a, order <= 0 ? &s : NULL, order >= 0 ? &t : NULL, until_ms);
        if (order <= 0) err = sorter_next(a->source.sorter, &s, &s_end, why);
        if (order >= 0 && err == OK) err = sorter_next(a->target.sorter, &t, &t_end, why);
        if (err == OK && atomic_load(&a->stop)) err = why_set(why, ERR_STOPPED, "the audit was stopped");
    }
    return err;
}

/* A slot whose sums are equal has no difference, whatever deadlines pass meanwhile (audit_end.h). */
static enum err compare(struct audit *a, struct why *why) {
    uint8_t slots[SLOT_CLUSTER_COUNT / 8] = {0};
    atomic_store(&a->part, PART_COMPARING);
    for (unsigned slot = 0; slot < SLOT_CLUSTER_COUNT; slot++) {
        const struct audit_total *s = &a->source.totals[slot], *t = &a->target.totals[slot];
        bool equal = s->keys == t->keys && digest_equal(s->digest, t->digest);
        if (equal) a->compared += s->keys;
        else slots[slot / 8] |= (uint8_t)(1u << slot % 8);
        a->unequal_slots += !equal;
    }
    if (a->unequal_slots == 0) return OK;
    enum err err = audit_end_sort(&a->source, slots, why);
    if (err == OK) err = audit_end_sort(&a->target, slots, why);
    return err == OK ? compare_keys(a, why) : err;
}

/* ---- the whole ---- */

/* Dirty keys would be undecided: give them a moment to become clean. */
static void wait_clean(struct audit *a) {
    for (uint64_t until = mono_ms() + 5000; mono_ms() < until && !atomic_load(&a->stop);) {
        struct link_status s;
        link_get_status(a->link, &s);
        if (s.dirty_keys <= s.quarantined_keys) return;
        link_sleep(a->link, 50);
    }
}

static void *run(void *self) {
    struct audit *a = self;
    struct why why = {0};
    log_info("audit.start", LOG_S("id", a->id), LOG_S("link", a->link->name));
    wait_clean(a);
    audit_end_learn(&a->source);
    audit_end_learn(&a->target);
    bool both = a->source.counts_streams && a->target.counts_streams;
    a->expiry_slack_ms = both ? 0 : APPLY_SPAN_LATE_MS + SPAN_SLACK_MS;
    a->streams = both ? DIGEST_STREAM_CARRIED : DIGEST_STREAM_OLD;
    enum err err = capture(a, &why);
    if (err == OK) err = compare(a, &why);
    audit_end_close(&a->source);
    audit_end_close(&a->target);
    a->ok = err == OK;
    snprintf(a->error, sizeof a->error, "%s", err == OK ? "" : why.text);
    a->ended_ms = wall_ms();
    log_info("audit.end", LOG_S("id", a->id), LOG_U("keys", a->compared), LOG_U("differences", a->differences),
             LOG_U("slots", a->unequal_slots), LOG_U("offset", a->offset), LOG_I("pause_ms", a->pause_ms), LOG_S("error", a->error[0] ? a->error : NULL));
    atomic_store(&a->done, true);
    return NULL;
}

struct audit *audit_start(const char *id, struct link *link) {
    char path[4352];
    struct audit *a = NEW(struct audit);
    snprintf(a->id, sizeof a->id, "%s", id);
    a->link = link;
    a->started_ms = wall_ms();
    snprintf(path, sizeof path, "%s/audit-source", link->folder);
    audit_end_init(&a->source, link, link->from, &a->stop, path);
    snprintf(path, sizeof path, "%s/audit-target", link->folder);
    audit_end_init(&a->target, link, link->to, &a->stop, path);
    if (pthread_create(&a->thread, NULL, run, a) != 0) check_failed("pthread_create", __FILE__, __LINE__, __func__);
    return a;
}

void audit_ask_stop(struct audit *a) { atomic_store(&a->stop, true); }

void audit_free(struct audit *a) {
    if (!a) return;
    atomic_store(&a->stop, true);
    pthread_join(a->thread, NULL);
    for (size_t i = 0; i < a->sampled; i++) mem_free(a->sample[i].key);
    buf_close(&a->repair);
    mem_free(a);
}

bool audit_found_equal(struct audit *a, uint64_t *target_offset) {
    *target_offset = a->target.offset;
    return atomic_load(&a->done) && a->ok && a->differences == 0 && a->undecided == 0;
}

uint64_t audit_repair(struct audit *a) {
    ASSERT(atomic_load(&a->done));
    struct link *link = a->link;
    pthread_mutex_lock(&link->lock);
    buf_add(&link->repair, buf_slice(&a->repair));
    link->orders.repair = true;
    pthread_mutex_unlock(&link->lock);
    link_wake(link);
    return a->differences;
}

/* ---- telling ---- */

static json_t *key_text(const struct difference *d) {
    json_t *text = json_stringn(d->key, d->key_size);
    if (text) return text;
    struct buf escaped = {0}; /* not UTF-8 */
    for (size_t i = 0; i < d->key_size; i++) {
        uint8_t c = (uint8_t)d->key[i];
        if (c >= 0x20 && c < 0x7f && c != '\\') buf_byte(&escaped, c);
        else buf_printf(&escaped, "\\x%02x", c);
    }
    text = json_string(buf_text(&escaped));
    buf_close(&escaped);
    return text;
}

static json_t *sample_json(const struct audit *a) {
    json_t *list = json_array();
    for (size_t i = 0; i < a->sampled; i++) {
        const struct difference *d = &a->sample[i];
        json_array_append_new(list, json_pack("{s:I,s:o,s:s,s:s,s:s,s:s,s:i}", "db", (json_int_t)d->db, "key", key_text(d), "type",
                                              value_type_name(d->type), "kind", d->kind, "source_digest", d->source, "target_digest",
                                              d->target, "slot", (int)slot_cluster(slice_from(d->key, d->key_size))));
    }
    return list;
}

void audit_json(struct audit *a, struct buf *out) {
    json_t *o;
    uint64_t bytes = audit_end_bytes(&a->source) + audit_end_bytes(&a->target);
    uint64_t keys = atomic_load(&a->source.keys) + atomic_load(&a->target.keys);
    if (!atomic_load(&a->done)) {
        o = json_pack("{s:I,s:I,s:s}", "keys", (json_int_t)keys, "bytes", (json_int_t)bytes, "part",
                      parts[atomic_load(&a->part)]);
    } else {
        o = json_pack("{s:b,s:I,s:I,s:i,s:I,s:I,s:I,s:I,s:I,s:I,s:s,s:o}", "ok", a->ok, "keys", (json_int_t)a->compared, "bytes", (json_int_t)bytes, "slots",
                      (int)SLOT_CLUSTER_COUNT, "differences", (json_int_t)a->differences, "undecided", (json_int_t)a->undecided,
                      "source_offset", (json_int_t)a->offset, "started_ms", (json_int_t)a->started_ms, "ended_ms",
                      (json_int_t)a->ended_ms, "pause_ms", (json_int_t)a->pause_ms, "error", a->error, "sample", sample_json(a));
    }
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    buf_printf(out, "%s", text ? text : "{}");
    free(text);
    json_decref(o);
}
