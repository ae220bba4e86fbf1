/* sim_apply.c -- the apply decider between a simulated source, spool, target and disk, with crashes at
 * every step; and the shortest traces that diverge when one rule is broken.
 *
 * The shell around the decider is simulated, too, and does what syncer/link_*.c does. A switch breaks
 * one rule of it, here and nowhere else: each trace must end equal with all rules, and different
 * without its own. Run: sim_apply [RUNS]; the seed is printed, $SEED repeats it.
 */
#include "lib/base/mem.h"
#include "lib/base/rand.h"
#include "lib/redis/reply.h"
#include "syncer/apply.h"
#include "tests/support/tiny_redis.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define HISTORY 6
#define SNAPSHOTS 400
#define ZOMBIES 16

enum rule { KILL_T, MISSING, HISTCHECK, REREAD, POSCOPY, COPYID, SUSPECT, DIRTYLOG, VOL, RULES };
static const char *const rule_names[RULES] = {"kill_t (C21)", "missing (C5)", "histcheck (C5)", "reread (C5)", "poscopy (C7a)",
                                              "copyid (C7a)", "suspect (C7b)", "dirtylog (C7b)", "vol (C8)"};

struct conn {
    struct buf wire, answers;
    bool sent, executed;
};

struct sim {
    bool off[RULES];
    bool talk;
    int64_t world_ms;
    struct tiny source, target;
    struct buf stream; /* the source's whole history since offset 0 */
    char replid[41], replid2[41];
    uint64_t second_offset;
    unsigned ids;
    struct {
        uint64_t offset;
        struct tiny_state state;
    } snapshots[SNAPSHOTS];
    size_t snapshot_count;
    struct tiny_state history[HISTORY]; /* of the target; newest last */
    size_t history_count;
    /* the syncer's disk */
    struct spool_meta meta;
    struct buf spool; /* from meta.begin on */
    struct buf dirty_log, deadline_log;
    /* the syncer */
    struct apply apply;
    bool running, waiting;
    struct unit_reader units;
    struct unit unit;
    bool have_unit;
    uint64_t read_at; /* offset of the spool that units has got */
    struct conn conn;
    struct conn zombies[ZOMBIES];
    size_t zombie_count;
    unsigned full_copies;
    int64_t patience_ms; /* a clock that makes every failed copy due again */
    const char *failed;
};

/* With TALK set in the environment, each step is told: for one run at a time. */
#define TALK(...) (s->talk ? (void)printf(__VA_ARGS__) : (void)0)

static uint64_t source_offset(const struct sim *s) { return buf_size(&s->stream); }
static uint64_t spool_end(const struct sim *s) { return s->meta.begin + buf_size(&s->spool); }
static const char *spool_replid(const struct sim *s) { return s->meta.history[s->meta.histories - 1].replid; }

static void new_id(struct sim *s, char id[41]) { snprintf(id, 41, "%040x", ++s->ids); }

static void remember(struct sim *s) {
    if (s->snapshot_count == SNAPSHOTS) {
        memmove(s->snapshots, s->snapshots + 1, sizeof *s->snapshots * (SNAPSHOTS - 1));
        s->snapshot_count--;
    }
    s->snapshots[s->snapshot_count].offset = source_offset(s);
    s->snapshots[s->snapshot_count++].state = s->source.state;
}

static void remember_target(struct sim *s) {
    if (s->history_count == HISTORY) memmove(s->history, s->history + 1, sizeof *s->history * --s->history_count);
    s->history[s->history_count++] = s->target.state;
}

/* ---- the syncer's shell ---- */

static void write_logs(struct sim *s) {
    buf_add(&s->deadline_log, buf_slice(&s->apply.deadlines.log));
    buf_add(&s->dirty_log, buf_slice(&s->apply.dirty.log));
    buf_clear(&s->apply.dirty.log);
    buf_clear(&s->apply.deadlines.log);
}

static void read_from(struct sim *s, uint64_t offset, int db) {
    unit_reader_move(&s->units, offset, db);
    s->have_unit = false;
    s->read_at = offset;
}

static bool next_unit(struct sim *s) {
    struct why why;
    if (s->have_unit) return true;
    if (s->read_at < spool_end(s)) {
        buf_add(&s->units.in, slice_drop(buf_slice(&s->spool), (size_t)(s->read_at - s->meta.begin)));
        s->read_at = spool_end(s);
    }
    enum step step = unit_next(&s->units, &s->unit, &why);
    if (step == STEP_FAIL) s->failed = "the stream is not one";
    s->have_unit = step == STEP_DONE;
    return s->have_unit;
}

static void stop_syncer(struct sim *s) {
    if (s->running) apply_close(&s->apply);
    s->running = false;
    if (s->conn.sent && !s->conn.executed && s->zombie_count < ZOMBIES) {
        s->zombies[s->zombie_count++] = s->conn; /* its bytes are on their way */
        s->conn = (struct conn){0};
    }
    buf_clear(&s->conn.wire);
    buf_clear(&s->conn.answers);
    s->conn.sent = s->conn.executed = false;
}

static void end_zombies(struct sim *s) {
    for (size_t i = 0; i < s->zombie_count; i++) {
        buf_close(&s->zombies[i].wire);
        buf_close(&s->zombies[i].answers);
    }
    s->zombie_count = 0;
}

static void start_syncer(struct sim *s, const struct checkpoint *ck) {
    struct apply_rules rules = {.link = "forward", .import_mode = s->off[VOL] || s->target.import_mode, .commands_max = 6,
                                .bytes_max = 1 << 20, .margin_ms = 50};
    struct place from;
    size_t good = 0;
    if (s->off[DIRTYLOG]) buf_clear(&s->dirty_log);
    apply_init(&s->apply, &rules);
    s->running = true;
    apply_resume(&s->apply, ck, buf_slice(&s->dirty_log), buf_slice(&s->deadline_log), &from, &good);
    if (good != buf_size(&s->dirty_log)) s->failed = "the log of dirty keys is damaged";
    if (from.offset < s->meta.begin) from = (struct place){.offset = s->meta.begin, .db = s->meta.begin_db};
    if (!s->off[SUSPECT] && from.offset < s->apply.place.offset) {
        read_from(s, from.offset, from.db);
        while (s->units.offset < s->apply.place.offset && next_unit(s)) {
            apply_suspect(&s->apply, &s->unit);
            s->have_unit = false;
        }
    }
    read_from(s, s->apply.place.offset, s->apply.place.db);
    write_logs(s);
    TALK("syncer starts at %" PRIu64 ".%u, answers seen to %" PRIu64 ", dirty %zu\n", s->apply.place.offset, s->apply.place.copies, from.offset,
         dirty_count(&s->apply.dirty));
}

static void put_checkpoint(struct sim *s, struct checkpoint *ck) {
    struct buf text = {0};
    checkpoint_write(ck, &text);
    snprintf(s->target.state.checkpoint, sizeof s->target.state.checkpoint, "%s", buf_text(&text));
    buf_close(&text);
}

static void full_copy(struct sim *s) {
    stop_syncer(s);
    end_zombies(s);
    s->full_copies++;
    TALK("full copy at %" PRIu64 "\n", source_offset(s));
    s->target.state = s->source.state;
    struct checkpoint ck = {.kind = CHECKPOINT_STREAM, .place = {.offset = source_offset(s)}};
    memcpy(ck.replid, s->replid, sizeof ck.replid);
    put_checkpoint(s, &ck);
    s->history_count = 0;
    remember_target(s);
    s->source.stream_db = -1;
    s->meta = (struct spool_meta){.kind = SPOOL_STREAM, .begin = ck.place.offset};
    spool_meta_rename(&s->meta, s->replid, ck.place.offset);
    buf_clear(&s->spool);
    buf_clear(&s->dirty_log);
    buf_clear(&s->deadline_log);
    struct deadlines d = {0};
    for (int db = 0; db < TINY_DBS; db++)
        for (int k = 0; k < TINY_KEYS; k++) {
            const struct tiny_value *v = &s->source.state.at[db][k];
            char name = (char)('a' + k);
            if (v->type != TINY_NONE && v->expire_ms >= 0) deadlines_set(&d, db, slice_from(&name, 1), v->expire_ms > 0 ? v->expire_ms : 1);
        }
    buf_add(&s->deadline_log, buf_slice(&d.log));
    deadlines_close(&d);
    start_syncer(s, &ck);
}

static bool source_continues(const struct sim *s, const char *replid, uint64_t offset) {
    if (strcmp(replid, s->replid) == 0) return offset <= source_offset(s);
    return strcmp(replid, s->replid2) == 0 && offset <= s->second_offset;
}

/* A new process, or a new connection to the target. */
static void resume(struct sim *s) {
    struct checkpoint ck = {0};
    struct why why;
    stop_syncer(s);
    if (!s->off[KILL_T]) end_zombies(s);
    if (s->target.state.checkpoint[0] && checkpoint_read(slice_text(s->target.state.checkpoint), &ck, &why) != OK) s->failed = "no checkpoint";
    if (ck.kind == CHECKPOINT_NONE) {
        if (!s->off[MISSING]) {
            full_copy(s);
            return;
        }
        ck = (struct checkpoint){.kind = CHECKPOINT_STREAM, .place = {.offset = s->meta.begin, .db = s->meta.begin_db}};
        memcpy(ck.replid, s->meta.history[0].replid, sizeof ck.replid);
    }
    if (ck.place.offset < s->meta.begin) {
        full_copy(s);
        return;
    }
    s->waiting = !spool_meta_holds(&s->meta, ck.replid, ck.place.offset, spool_end(s)) && !s->off[HISTCHECK];
    if (s->waiting && (strcmp(spool_replid(s), ck.replid) != 0 || ck.place.offset < spool_end(s))) {
        full_copy(s);
        return;
    }
    if (s->waiting) return; /* the spool lost its end; it must get there first */
    start_syncer(s, &ck);
}

static void receive(struct sim *s) {
    if (strcmp(spool_replid(s), s->replid) != 0 || spool_end(s) > source_offset(s)) {
        if (!source_continues(s, spool_replid(s), spool_end(s))) {
            full_copy(s);
            return;
        }
        spool_meta_rename(&s->meta, s->replid, spool_end(s));
    }
    size_t here = (size_t)spool_end(s);
    struct slice more = slice_drop(buf_slice(&s->stream), here);
    size_t part = more.size > 40 ? 40 : more.size; /* units arrive in pieces */
    buf_add(&s->spool, slice_take(more, part));
    if (s->waiting) resume(s);
}

static void name_history(struct sim *s) {
    const char *id = s->meta.history[0].replid;
    for (size_t i = 0; i < s->meta.histories; i++)
        if (s->meta.history[i].from <= s->apply.end.offset) id = s->meta.history[i].replid;
    if (s->off[COPYID]) snprintf(s->apply.replid, sizeof s->apply.replid, "%s", id);
    else apply_renamed(&s->apply, id);
}

static void dispatch(struct sim *s) {
    if (s->conn.sent || !s->running) return;
    bool build = apply_copies_build(&s->apply);
    if (!build) {
        apply_batch_begin(&s->apply);
        while (next_unit(s) && apply_batch_add(&s->apply, &s->unit, tiny_now(&s->target))) s->have_unit = false;
        name_history(s);
        build = apply_batch_seal(&s->apply, false);
    }
    write_logs(s);
    if (!build) return;
    buf_clear(&s->conn.wire);
    buf_add(&s->conn.wire, buf_slice(&s->apply.wire));
    TALK("send %" PRIu64 ".%u to %" PRIu64 ".%u%s\n", s->apply.place.offset, s->apply.place.copies, s->apply.end.offset, s->apply.end.copies,
         s->apply.copy_batch ? " copies" : "");
    s->conn.sent = true;
}

static void serve(struct sim *s) {
    if (!s->conn.sent || s->conn.executed) return;
    TALK("target executes, clock %" PRId64 "\n", tiny_now(&s->target));
    if (!tiny_serve(&s->target, buf_slice(&s->conn.wire), &s->conn.answers)) s->failed = "a batch without EXEC";
    s->conn.executed = true;
    remember_target(s);
}

static void read_answers(struct sim *s) {
    struct resp_reply_reader reader = {0};
    struct why why;
    if (!s->conn.executed || !s->running) return;
    for (size_t i = 0, count = s->apply.item_count; i < count; i++) {
        struct resp_reply *reply = NULL;
        size_t used = 0;
        enum step step = resp_reply_next(&reader, &resp_reply_limits_default, buf_slice(&s->conn.answers), &reply, &used, &why);
        ASSERT(step == STEP_DONE);
        apply_answer(&s->apply, reply);
        resp_reply_free(reply);
        buf_consume(&s->conn.answers, used);
    }
    buf_clear(&s->conn.answers);
    s->conn.sent = s->conn.executed = false;
    enum apply_verdict verdict = apply_batch_end(&s->apply, &why);
    TALK("answers: verdict %d, place %" PRIu64 ".%u, dirty %zu\n", (int)verdict, s->apply.place.offset, s->apply.place.copies, dirty_count(&s->apply.dirty));
    write_logs(s);
    if (verdict == APPLY_BROKEN) resume(s);
    else if (verdict != APPLY_APPLIED) read_from(s, s->apply.place.offset, s->apply.place.db);
}

static void fetch_copy(struct sim *s) {
    struct dirty_key *key = NULL;
    struct buf payload = {0};
    int64_t expire = -1;
    if (!s->running || apply_want_copies(&s->apply, &key, 1, s->patience_ms += 60000) == 0) return;
    uint64_t offset = source_offset(s);
    TALK("copy db %d %c at %" PRIu64 ": %s\n", key->entry.db, key->entry.key.data[0], offset, key->reason);
    int db = key->entry.db;
    char name = (char)key->entry.key.data[0];
    tiny_dump(&s->source, db, name, &payload, &expire);
    remember(s);
    if (s->off[POSCOPY]) offset = s->apply.place.offset;
    apply_copy_came(&s->apply, s->off[COPYID] ? s->apply.replid : s->replid, offset, db, slice_from(&name, 1), buf_slice(&payload), expire);
    buf_close(&payload);
}

/* ---- faults ---- */

static void crash(struct sim *s, size_t lost) {
    TALK("crash, %zu bytes lost\n", lost);
    size_t keep = buf_size(&s->spool) > lost ? buf_size(&s->spool) - lost : 0;
    stop_syncer(s);
    s->spool.end = s->spool.start + keep;
    spool_meta_cut(&s->meta, spool_end(s));
    resume(s);
}

static void run_zombie(struct sim *s) {
    if (s->zombie_count == 0) return;
    TALK("an old connection executes\n");
    struct buf out = {0};
    (void)tiny_serve(&s->target, buf_slice(&s->zombies[0].wire), &out);
    buf_close(&out);
    buf_close(&s->zombies[0].wire);
    buf_close(&s->zombies[0].answers);
    memmove(s->zombies, s->zombies + 1, sizeof *s->zombies * --s->zombie_count);
    remember_target(s);
}

static void restart_target(struct sim *s, size_t back) {
    TALK("the target restarts, %zu back\n", back);
    if (s->history_count > back) {
        s->history_count -= back;
        s->target.state = s->history[s->history_count - 1];
    }
    if (s->off[REREAD]) { /* goes on from memory */
        s->conn.sent = s->conn.executed = false;
        buf_clear(&s->conn.answers);
        read_from(s, s->apply.place.offset, s->apply.place.db);
        return;
    }
    s->conn.sent = false; /* a server that is gone executes nothing more */
    end_zombies(s);
    resume(s);
}

static void failover(struct sim *s, size_t back) {
    if (s->snapshot_count <= back) return;
    s->snapshot_count -= back;
    TALK("failover, %zu back\n", back);
    uint64_t offset = s->snapshots[s->snapshot_count - 1].offset;
    s->source.state = s->snapshots[s->snapshot_count - 1].state;
    s->stream.end = s->stream.start + (size_t)offset;
    memcpy(s->replid2, s->replid, sizeof s->replid2);
    s->second_offset = offset;
    new_id(s, s->replid);
    s->source.stream_db = -1;
}

/* ---- a run ---- */

static void begin_sim(struct sim *s, uint64_t seed, bool import) {
    *s = (struct sim){.world_ms = 1000000, .talk = getenv("TALK") != NULL};
    s->source = (struct tiny){.world_ms = &s->world_ms, .rng = rng_from(seed), .stream = &s->stream, .stream_db = -1};
    s->target = (struct tiny){.world_ms = &s->world_ms, .rng = rng_from(seed + 1), .import_mode = import};
    new_id(s, s->replid);
    unit_reader_init(&s->units, 0, -1);
    remember(s);
}

static void end_sim(struct sim *s) {
    stop_syncer(s);
    end_zombies(s);
    unit_reader_close(&s->units);
    buf_close(&s->stream);
    buf_close(&s->spool);
    buf_close(&s->dirty_log);
    buf_close(&s->deadline_log);
    buf_close(&s->conn.wire);
    buf_close(&s->conn.answers);
    for (int i = 0; i < 8; i++) buf_close(&s->source.effects[i]), buf_close(&s->target.effects[i]);
}

static bool at_rest(const struct sim *s) {
    return strcmp(spool_replid(s), s->replid) == 0 && spool_end(s) == source_offset(s) && !s->conn.sent && s->running &&
           s->apply.place.offset == source_offset(s) && dirty_count(&s->apply.dirty) == 0;
}

/* Everything is applied and copied; then both sides are the same. */
static bool settle(struct sim *s, char what[256]) {
    s->target.refuse = 0;
    s->target.out_of_memory = false;
    for (int i = 0; i < 20000 && !at_rest(s) && !s->failed; i++) {
        receive(s);
        dispatch(s);
        serve(s);
        read_answers(s);
        if (i % 5 == 4) fetch_copy(s);
    }
    if (s->failed) return snprintf(what, 256, "%s", s->failed), false;
    if (!at_rest(s)) return snprintf(what, 256, "it does not come to rest: place %" PRIu64 " of %" PRIu64 ", dirty %zu", s->apply.place.offset,
                                     source_offset(s), dirty_count(&s->apply.dirty)), false;
    while (s->zombie_count > 0) run_zombie(s); /* what still lies in old sockets is executed last */
    return tiny_equal(&s->source.state, &s->target.state, s->world_ms + 1000, what);
}

static void client(struct sim *s, int db, const char *command, const char *second) {
    TALK("client db %d %s%s%s  at %" PRIu64 ", clock %" PRId64 "\n", db, command, second ? "; " : "", second ? second : "", source_offset(s), s->world_ms);
    struct slice other = second ? slice_text(second) : (struct slice){0};
    tiny_client(&s->source, db, slice_text(command), second ? &other : NULL);
    remember(s);
}

static void random_command(struct rng *r, const struct sim *s, char text[64]) {
    char k = (char)('a' + rng_below(r, TINY_KEYS)), k2 = (char)('a' + rng_below(r, TINY_KEYS)), k3 = (char)('a' + rng_below(r, TINY_KEYS));
    char v = "xyz"[rng_below(r, 3)];
    static const int64_t lives[] = {20, 300, 5000};
    switch (rng_below(r, 24)) {
    case 0: snprintf(text, 64, "SUNIONSTORE %c %c %c", k, k2, k3); break;
    case 1: snprintf(text, 64, "RENAME %c %c", k, k2); break;
    case 2: snprintf(text, 64, "MSET %c 1 %c 2", k, k2); break;
    case 3: snprintf(text, 64, "PEXPIRE %c %" PRId64, k, lives[rng_below(r, 3)]); break;
    case 4: snprintf(text, 64, "PERSIST %c", k); break;
    case 5: snprintf(text, 64, "SET %c 1 PX %" PRId64, k, lives[rng_below(r, 2)]); break;
    case 6: snprintf(text, 64, "PEXPIREAT %c %" PRId64, k, s->world_ms + (int64_t)rng_below(r, 900)); break;
    case 7: snprintf(text, 64, "SET %c %c", k, v); break;
    case 8: snprintf(text, 64, "SET %c 1", k); break;
    case 9: case 10: case 11: snprintf(text, 64, "INCR %c", k); break;
    case 12: case 13: snprintf(text, 64, "APPEND %c %c", k, v); break;
    case 14: snprintf(text, 64, "DEL %c", k); break;
    case 15: snprintf(text, 64, "LPUSH %c %c", k, v); break;
    case 16: snprintf(text, 64, "RPUSH %c %c", k, v); break;
    case 17: snprintf(text, 64, "LPOP %c", k); break;
    case 18: case 19: snprintf(text, 64, "SADD %c %c", k, v); break;
    case 20: snprintf(text, 64, "SREM %c %c", k, v); break;
    case 21: snprintf(text, 64, "SPOP %c", k); break;
    default: snprintf(text, 64, "HSET %c %c %c", k, v, v); break;
    }
}

static void random_fault(struct sim *s, struct rng *r) {
    switch (rng_below(r, 4)) {
    case 0: crash(s, rng_below(r, 2) ? rng_below(r, 200) : 0); break;
    case 1: restart_target(s, rng_below(r, 5)); break;
    case 2: failover(s, rng_below(r, 4)); break;
    default: if (rng_below(r, 3) == 0) s->target.state.checkpoint[0] = '\0'; break;
    }
}

static void random_step(struct sim *s, struct rng *r, bool faults, bool refusals) {
    char text[64], second[64];
    uint64_t dice = rng_below(r, 100);
    if (s->zombie_count && rng_below(r, 6) == 0) run_zombie(s);
    if (dice < 22) {
        random_command(r, s, text);
        random_command(r, s, second);
        client(s, rng_below(r, 4) == 0, rng_below(r, 60) ? text : "FLUSHALL", rng_below(r, 5) == 0 ? second : NULL);
    } else if (dice < 42) receive(s);
    else if (dice < 58) dispatch(s);
    else if (dice < 70) serve(s);
    else if (dice < 82) read_answers(s);
    else if (dice < 86) fetch_copy(s);
    else if (dice < 88) s->world_ms += (int64_t)(rng_below(r, 3) == 0 ? 400 : 30);
    else if (dice < 90) rng_below(r, 2) ? tiny_expire(&s->source) : tiny_expire(&s->target);
    else if (dice < 94 && refusals) s->target.refuse = rng_below(r, 2) ? (char)('a' + rng_below(r, TINY_KEYS)) : 0;
    else if (dice < 95 && refusals) s->target.out_of_memory = !s->target.out_of_memory;
    else if (dice < 98 && faults) random_fault(s, r);
    remember(s);
}

static bool random_run(uint64_t seed) {
    struct rng r = rng_from(seed);
    struct sim *s = NEW(struct sim);
    char text[64], what[256] = "";
    begin_sim(s, rng_next(&r), rng_below(&r, 2));
    s->source.skew_ms = (int64_t)rng_below(&r, 3) * 200 - 200;
    s->target.skew_ms = (int64_t)rng_below(&r, 3) * 200 - 200;
    for (uint64_t i = rng_below(&r, 6); i > 0; i--) {
        random_command(&r, s, text);
        client(s, 0, text, NULL);
    }
    full_copy(s);
    bool faults = rng_below(&r, 10) < 7, refusals = rng_below(&r, 10) < 4;
    for (uint64_t steps = 10 + rng_below(&r, 200); steps > 0 && !s->failed; steps--) random_step(s, &r, faults, refusals);
    bool fine = settle(s, what);
    if (!fine) printf("seed %" PRIu64 ": %s\n", seed, what);
    end_sim(s);
    mem_free(s);
    return fine;
}

/* ---- traces: a word for each step; "w..." is a client's command ---- */

struct trace {
    enum rule rule;
    bool import;
    const char *steps[32];
};

/* In the last one the lost SET is as long as the SELECT and SET that come in its place: 50 bytes. */
static const struct trace traces[] = {
    {HISTCHECK, true, {"w SET a 1", "w SET b x", "recv*", "disp", "t", "rep", "lose 40", "failover 1", "w SET a new", "w SET c q", NULL}},
    {MISSING, true, {"w INCR a", "w INCR b", "recv*", "disp", "t", "noevict", "crash", NULL}},
    {VOL, false, {"w SET a 5 PX 300", "w INCR a", "w PEXPIRE a 9000", "recv*", "tick", NULL}},
    {VOL, false, {"w SADD a x", "w PEXPIRE a 300", "w SUNIONSTORE b a a", "recv*", "tick", NULL}},
    {KILL_T, true, {"w INCR a", "recv*", "disp", "crash", "disp", "t", "rep", "zombie", NULL}},
    {POSCOPY, true, {"w RPUSH a x", "recv*", "refuse", "disp", "t", "rep", "accept", "w RPUSH a y", "copy", "disp", "t", "rep", NULL}},
    {SUSPECT, true, {"w RPUSH a x", "recv*", "refuse", "disp", "t", "accept", "crash", NULL}},
    {DIRTYLOG, true, {"w RPUSH a x", "recv*", "refuse", "disp", "t", "rep", "accept", "crash", NULL}},
    {REREAD, true, {"w INCR a", "recv*", "disp", "t", "rep", "w INCR a", "recv*", "disp", "t", "rep", "back", NULL}},
    {COPYID, true, {"w SET a 1", "recv*", "refuse", "disp", "t", "rep", "accept", "w SET a 50-bytes-in-the-stream.", "copy", "failover 2", "w SET b q", NULL}},
};

static void step_named(struct sim *s, const char *step) {
    if (step[0] == 'w') client(s, 0, step + 2, NULL);
    else if (strcmp(step, "recv*") == 0) for (int i = 0; i < 40; i++) receive(s);
    else if (strcmp(step, "disp") == 0) dispatch(s);
    else if (strcmp(step, "t") == 0) serve(s);
    else if (strcmp(step, "rep") == 0) read_answers(s);
    else if (strcmp(step, "crash") == 0) crash(s, 0);
    else if (strncmp(step, "lose ", 5) == 0) crash(s, (size_t)atoi(step + 5));
    else if (strncmp(step, "failover ", 9) == 0) failover(s, (size_t)atoi(step + 9));
    else if (strcmp(step, "zombie") == 0) run_zombie(s);
    else if (strcmp(step, "refuse") == 0) s->target.refuse = 'a';
    else if (strcmp(step, "accept") == 0) s->target.refuse = 0;
    else if (strcmp(step, "copy") == 0) fetch_copy(s);
    else if (strcmp(step, "tick") == 0) s->world_ms += 500;
    else if (strcmp(step, "back") == 0) restart_target(s, 1);
    else if (strcmp(step, "noevict") == 0) s->target.state.checkpoint[0] = '\0';
    else UNREACHABLE("a step that the simulation does not know");
}

static bool run_trace(const struct trace *trace, bool broken, char what[256]) {
    struct sim *s = NEW(struct sim);
    begin_sim(s, 1, trace->import);
    full_copy(s);
    if (broken) s->off[trace->rule] = true;
    if (broken && trace->rule == VOL) resume(s);
    for (size_t i = 0; trace->steps[i]; i++) step_named(s, trace->steps[i]);
    bool equal = settle(s, what);
    end_sim(s);
    mem_free(s);
    return equal;
}

static int run_traces(void) {
    int failed = 0;
    for (size_t i = 0; i < sizeof traces / sizeof *traces; i++) {
        char with[256] = "equal", without[256] = "equal";
        bool a = run_trace(&traces[i], false, with), b = run_trace(&traces[i], true, without);
        if (a && !b) continue;
        printf("trace %zu, %s: with the rule: %s; without: %s\n", i, rule_names[traces[i].rule], with, without);
        failed++;
    }
    return failed;
}

int main(int argc, char **argv) {
    uint64_t seed = rand_test_seed();
    long runs = argc > 1 ? atol(argv[1]) : 2000;
    int failed = run_traces();
    printf("sim_apply: SEED=%" PRIu64 ", %ld runs\n", seed, runs);
    for (long i = 0; i < runs && failed < 5; i++)
        if (!random_run(seed + (uint64_t)i * 1000003)) failed++;
    printf("%s\n", failed ? "FAILED" : "fine");
    return failed ? 1 : 0;
}
