/* reads.c -- which side answers reads, and what shadow reads found. See reads.h. */
#include "gateway/reads.h"

#include "gateway/key_json.h"
#include "gateway/policy.h"

#include "lib/base/mem.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define KEPT 100u       /* differences with their keys */
#define KEPT_BYTES 120u /* of each answer, and of the key */

struct kept {
    const struct command *command;
    int32_t db;
    int64_t at_ms;
    struct buf key, primary, other;
    size_t bytes[2]; /* of the whole answers */
};

struct reads {
    _Atomic uint64_t policy; /* kind, share, after_ms */
    struct counter events[READS_EVENTS];
    struct counter *compared, *different; /* by command->index */
    pthread_mutex_t lock;                 /* of the rest */
    struct kept kept[KEPT];               /* a ring */
    uint64_t kept_count;
};

/* Readable, and yet another answer each time or at each server. */
static const char *const unfit[] = {
    "srandmember", "hrandfield", "zrandmember", "hscan",  "sscan", "zscan", "dump",
    "touch",       "sort",       "sort_ro",     "xpending", "pfcount", "xread",
};

/* ---- the policy ---- */

void reads_set(struct reads *r, struct reads_policy p) {
    atomic_store(&r->policy,
                 (uint64_t)p.kind | (uint64_t)p.share << 8 | (uint64_t)p.after_ms << 32);
}

struct reads_policy reads_get(const struct reads *r) {
    uint64_t p = atomic_load_explicit(&r->policy, memory_order_relaxed);
    return (struct reads_policy){
        .kind = p & 0xff, .share = (uint32_t)(p >> 8) & 0xffffff, .after_ms = (uint32_t)(p >> 32)};
}

struct reads *reads_open(struct reads_policy policy) {
    struct reads *r = NEW(struct reads);
    r->compared = NEW_ARRAY(struct counter, command_count);
    r->different = NEW_ARRAY(struct counter, command_count);
    pthread_mutex_init(&r->lock, NULL);
    reads_set(r, policy);
    return r;
}

static void free_kept(struct kept *kept) {
    buf_close(&kept->key);
    buf_close(&kept->primary);
    buf_close(&kept->other);
}

void reads_close(struct reads *r) {
    if (r == NULL) return;
    for (size_t i = 0; i < KEPT; i++) free_kept(&r->kept[i]);
    pthread_mutex_destroy(&r->lock);
    mem_free(r->compared);
    mem_free(r->different);
    mem_free(r);
}

bool reads_fit(const struct command *command) {
    uint32_t never = COMMAND_WRITE | COMMAND_MAY_REPLICATE | COMMAND_BLOCKING | COMMAND_ADMIN;
    if (command == NULL || (command->flags & never) || (command->flags & COMMAND_READONLY) == 0)
        return false;
    if (!command_has_keys(command) || policy_of(command) != POLICY_FORWARD) return false;
    if (strchr(command->name, '|') != NULL) return false; /* OBJECT, MEMORY, XINFO */
    for (size_t i = 0; i < sizeof unfit / sizeof *unfit; i++)
        if (strcmp(unfit[i], command->name) == 0) return false;
    return true;
}

bool reads_pick(const struct reads *r, enum reads_kind kind, uint32_t *dice) {
    struct reads_policy p = reads_get(r);
    if (p.kind != kind) return false;
    *dice += p.share;
    if (*dice < READS_ALL) return false;
    *dice -= READS_ALL;
    return true;
}

/* ---- what happened ---- */

void reads_count(struct reads *r, enum reads_event event, const struct command *command) {
    counter_add_any(&r->events[event], 1);
    bool compared = event == READS_SAME || event == READS_DIFFERENT || event == READS_LATE;
    if (compared) counter_add_any(&r->compared[command->index], 1);
    if (event == READS_DIFFERENT) counter_add_any(&r->different[command->index], 1);
}

static void put(struct buf *to, struct slice bytes) {
    buf_clear(to);
    buf_add(to, slice_take(bytes, bytes.size < KEPT_BYTES ? bytes.size : KEPT_BYTES));
}

void reads_differ(struct reads *r, const struct command *command, int32_t db, struct slice key,
                  struct slice primary, struct slice other, int64_t at_ms) {
    reads_count(r, READS_DIFFERENT, command);
    pthread_mutex_lock(&r->lock);
    struct kept *kept = &r->kept[r->kept_count++ % KEPT];
    kept->command = command;
    kept->db = db;
    kept->at_ms = at_ms;
    kept->bytes[0] = primary.size;
    kept->bytes[1] = other.size;
    put(&kept->key, key);
    put(&kept->primary, primary);
    put(&kept->other, other);
    pthread_mutex_unlock(&r->lock);
}

/* ---- telling ---- */

static const char *const events[READS_EVENTS] = {
    "canary_answered", "canary_returned", "shadow_same",     "shadow_different",
    "shadow_late",     "shadow_undecided", "shadow_skipped",
};

static json_t *kept_json(struct reads *r) {
    json_t *list = json_array();
    pthread_mutex_lock(&r->lock);
    size_t count = r->kept_count < KEPT ? (size_t)r->kept_count : KEPT;
    for (size_t i = 0; i < count; i++) {
        const struct kept *k = &r->kept[(r->kept_count - 1 - i) % KEPT];
        json_array_append_new(
            list, json_pack("{s:i,s:o,s:s,s:I,s:o,s:o,s:I,s:I}", "db", (int)k->db, "key",
                            key_json(buf_slice(&k->key)), "command", k->command->name, "at_ms",
                            (json_int_t)k->at_ms, "primary", key_json(buf_slice(&k->primary)),
                            "other", key_json(buf_slice(&k->other)), "primary_bytes",
                            (json_int_t)k->bytes[0], "other_bytes", (json_int_t)k->bytes[1]));
    }
    pthread_mutex_unlock(&r->lock);
    return list;
}

json_t *reads_summary(struct reads *r) {
    static const char *const kinds[] = {"primary", "canary", "shadow"};
    struct reads_policy p = reads_get(r);
    json_t *object =
        json_pack("{s:s,s:f,s:i}", "policy", kinds[p.kind], "share",
                  p.kind == READS_PRIMARY ? 0.0 : (double)p.share / READS_ALL, "after_ms",
                  (int)p.after_ms);
    for (unsigned i = 0; i < READS_EVENTS; i++)
        json_object_set_new(object, events[i], json_integer((json_int_t)counter_get(&r->events[i])));
    return object;
}

json_t *reads_json(struct reads *r) {
    json_t *object = reads_summary(r), *commands = json_object();
    for (size_t i = 0; i < command_count; i++) {
        uint64_t compared = counter_get(&r->compared[i]);
        if (compared == 0) continue;
        json_object_set_new(commands, command_at(i)->name,
                            json_pack("{s:I,s:I}", "compared", (json_int_t)compared, "different",
                                      (json_int_t)counter_get(&r->different[i])));
    }
    json_object_set_new(object, "commands", commands);
    json_object_set_new(object, "differences", kept_json(r));
    return object;
}

static const struct metric reads_metric = {
    "drawbridge_reads_total", METRIC_COUNTER,
    "Reads that took part in a policy other than primary, by how they ended.", 0, 0};
static const struct metric different_metric = {
    "drawbridge_reads_different_total", METRIC_COUNTER,
    "Shadow reads to which both sides gave different answers, by command.", 0, 0};
static const struct metric share_metric = {
    "drawbridge_reads_share", METRIC_GAUGE,
    "Share of the reads that take part in this policy.", 0, 0};

void reads_add_metrics(struct reads *r, struct metrics *m) {
    struct reads_policy p = reads_get(r);
    for (unsigned i = 0; i < READS_EVENTS; i++)
        metrics_add(m, &reads_metric, (double)counter_get(&r->events[i]),
                    METRIC_LABEL("outcome", events[i]), METRIC_LABELS_END);
    for (size_t i = 0; i < command_count; i++)
        if (counter_get(&r->compared[i]) > 0)
            metrics_add(m, &different_metric, (double)counter_get(&r->different[i]),
                        METRIC_LABEL("command", command_at(i)->name), METRIC_LABELS_END);
    metrics_add(m, &share_metric,
                p.kind == READS_CANARY ? (double)p.share / READS_ALL : 0,
                METRIC_LABEL("policy", "canary"), METRIC_LABELS_END);
    metrics_add(m, &share_metric,
                p.kind == READS_SHADOW ? (double)p.share / READS_ALL : 0,
                METRIC_LABEL("policy", "shadow"), METRIC_LABELS_END);
}
