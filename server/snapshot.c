/* snapshot.c -- a point in time without a fork: slots, starts and ends, and what the keyspace tells
 * before it changes. See snapshot.h and snapshot_inside.h. */
#include "server/snapshot_inside.h"

#include "lib/base/mem.h"
#include "server/persistence.h"
#include "server/snapshot_memory.h"
#include "server/turn_cost.h"
#include "server/value_rdb.h"

#include <time.h>

#define TURN_US 30 /* a walk's share of a turn of the loop */
#define PACE_MS 1
#define TURNS_PUT_OFF 4 /* with commands in each of them; then there is a walk all the same */
#define RESIZE_VERSION_MIN 7u          /* of an RDB that says how big its databases are */
#define SAMPLES_A_PARTITION 2 /* where memory is estimated */
#define SAMPLES_A_VALUE 5
#define INDEX_BYTES_A_KEY 12u
#define PUSH_BYTES ((size_t)64 * 1024) /* what is given to the writer at a time */

/* ---- putting out ---- */

enum rdb_pack snapshot_pack(const struct snapshot *s) {
    return s->packs ? RDB_MARK : RDB_PLAIN;
}

static void put_select(struct snapshot *s, struct rdb_tape *tape, int origin) {
    buf_byte(&tape->bytes, RDB_OP_SELECT);
    rdb_put_length(&tape->bytes, (uint64_t)origin);
    if (s->announced[origin] || s->slots || s->version < RESIZE_VERSION_MIN) return;
    s->announced[origin] = true;
    buf_byte(&tape->bytes, RDB_OP_RESIZE);
    rdb_put_length(&tape->bytes, s->sizes[origin]);
    rdb_put_length(&tape->bytes, s->expires[origin]);
}

struct rdb_tape *snapshot_tape(struct snapshot *s, int origin) {
    if (s->writer == NULL) return NULL;
    struct rdb_tape *tape = s->part_is_open ? &s->side : &s->tape;
    int *db = s->part_is_open ? &s->side_db : &s->tape_db;
    if (*db != origin) put_select(s, tape, origin);
    *db = origin;
    return tape;
}

void snapshot_push(struct snapshot *s) {
    if (s->writer == NULL) return;
    snapshot_memory_note(&s->noted, sizeof *s + tape_room(&s->tape) + tape_room(&s->side));
    if (buf_size(&s->tape.bytes) >= PUSH_BYTES) snapshot_writer_give(s->writer, &s->tape);
    if (buf_size(&s->side.bytes) >= PUSH_BYTES)
        snapshot_writer_set_aside(s->writer, &s->side, &s->aside);
}

void snapshot_put_all(struct snapshot *s, struct tapes *tapes) {
    if (s->writer == NULL || tapes->first == NULL) return;
    snapshot_writer_give(s->writer, &s->tape);
    snapshot_writer_give_all(s->writer, tapes);
}

/* Whether E is to be put out at all. */
static bool is_wanted(const struct snapshot *s, int origin, const struct entry *e) {
    if (s->want.one_db && s->want.db != origin) return false;
    return s->slots == NULL || slot_set_has(s->slots, slot_cluster(entry_key(e)));
}

bool snapshot_wants_table(const struct snapshot *s, unsigned at) {
    unsigned share = SLOT_CLUSTER_COUNT / s->engine->dbs[0].partitions->count;
    if (s->slots == NULL) return true;
    if (share == 1) return slot_set_has(s->slots, at);
    for (unsigned byte = at * share / 8; byte < (at + 1) * share / 8; byte++)
        if (s->slots->bits[byte]) return true;
    return false;
}

void snapshot_capture(struct snapshot *s, int origin, struct entry *e) {
    e->colours ^= snapshot_bit(s);
    s->keys++;
    if (s->writer == NULL || !is_wanted(s, origin, e)) return;
    struct value value = entry_value(e);
    uint8_t rdb_type = value_rdb_type_for(&value, s->version);
    if (rdb_type == RDB_NO_TYPE) {
        if (!s->has_failed)
            (void)rdb_has_no_streams(s->version, origin, entry_key(e), &s->why);
        s->has_failed = true;
        return;
    }
    if (part_is_needed(e)) {
        part_begin(s, origin, e);
        return;
    }
    struct rdb_key key = {.db = (uint32_t)origin,
                          .key = entry_key(e),
                          .expire_at_ms = entry_expiry(e),
                          .idle_s = -1,
                          .freq = -1,
                          .rdb_type = rdb_type};
    struct rdb_tape *tape = snapshot_tape(s, origin);
    rdb_put_key(&tape->bytes, &key, snapshot_pack(s));
    value_put_as(&tape->bytes, &value, rdb_type, snapshot_pack(s));
    snapshot_push(s);
}

/* ---- what the keyspace tells ---- */

/* Put E out for all who have not captured it yet. */
static void capture_for_all(struct snapshots *all, const struct db *db, struct entry *e) {
    uint8_t captured = all->engine->snapshot_polarity[db_table(db, entry_key(e))];
    uint8_t open = (uint8_t)((e->colours ^ captured) & all->running);
    if (open == 0) return;
    uint64_t began_ns = all->engine->turn_costs ? uv_hrtime() : 0;
    for (unsigned slot = 0; open; slot++, open >>= 1)
        if (open & 1) {
            struct snapshot *s = all->slots[slot];
            snapshot_capture(s, s->origin_of[db->id], e);
        }
    if (began_ns) turn_cost_snapshot(all->engine, uv_hrtime() - began_ns);
}

/* FN for each snapshot that has a part of the string E. */
#define EACH_WITH_PART(all, e, s)                                                                  \
    for (unsigned slot_ = 0; slot_ < SNAPSHOTS_MAX; slot_++)                                       \
        for (struct snapshot *s = (e)->colours & (16u << slot_) ? (all)->slots[slot_] : NULL; s;   \
             s = NULL)

static void before_edit(void *ctx, struct db *db, struct entry *e, size_t from, size_t to) {
    struct snapshots *all = ctx;
    capture_for_all(all, db, e);
    EACH_WITH_PART(all, e, s) part_edit_string(s, e, from, to);
}

static void moved(void *ctx, struct entry *old, struct entry *new) {
    struct snapshots *all = ctx;
    EACH_WITH_PART(all, old, s) part_move_string(s, old, new);
}

/* A big value is watched from here on, and survives its entry (value_watch.h). */
static bool dropped(void *ctx, struct db *db, struct entry *e, bool shell) {
    struct snapshots *all = ctx;
    (void)shell;
    capture_for_all(all, db, e);
    EACH_WITH_PART(all, e, s) part_keep_string(s, e);
    return e->colours >> 4 != 0;
}

/* A table of the partition AT that has keys; there is one. */
static const struct table *table_with_keys(const struct partitions *keys, unsigned at) {
    const struct table *table = &keys->tables[at << keys->share_bits];
    while (table_count(table) == 0) table++;
    return table;
}

/* What KEYS take, by a few keys of each partition: clients wait for this. */
static size_t estimated_memory(const struct partitions *keys, struct rng *rng) {
    size_t bytes = 0;
    for (unsigned i = 0; i < PARTITIONS; i++) {
        if (keys->keys[i] == 0) continue;
        size_t of_samples = 0;
        for (int n = 0; n < SAMPLES_A_PARTITION; n++) {
            const struct entry *e = table_random(table_with_keys(keys, i), rng);
            of_samples += entry_memory(e, SAMPLES_A_VALUE) + INDEX_BYTES_A_KEY;
        }
        bytes += of_samples * keys->keys[i] / SAMPLES_A_PARTITION;
    }
    return bytes;
}

static bool cleared(void *ctx, struct db *db, struct partitions *keys) {
    struct snapshots *all = ctx;
    struct graveyard *g = NEW(struct graveyard);
    g->keys = keys;
    g->needed_by = all->running;
    for (unsigned slot = 0; slot < SNAPSHOTS_MAX; slot++)
        if (all->slots[slot]) g->origin[slot] = all->slots[slot]->origin_of[db->id];
    snapshot_memory_note(&g->noted, estimated_memory(keys, &all->engine->rng));
    *all->graveyards_end = g;
    all->graveyards_end = &g->next;
    return true;
}

void graveyard_leave(struct snapshots *all, struct graveyard *g, const struct snapshot *s) {
    g->needed_by &= (uint8_t)~snapshot_bit(s);
    if (g->needed_by) return;
    struct graveyard **at = &all->graveyards;
    while (*at != g) at = &(*at)->next;
    *at = g->next;
    if (*at == NULL) all->graveyards_end = at;
    db_free_partitions(g->keys, true);
    snapshot_memory_forget_later(&g->noted);
    mem_free(g);
}

static void swapped(void *ctx, struct db *a, struct db *b) {
    struct snapshots *all = ctx;
    for (unsigned slot = 0; slot < SNAPSHOTS_MAX; slot++) {
        struct snapshot *s = all->slots[slot];
        if (s == NULL) continue;
        int origin = s->origin_of[a->id];
        s->origin_of[a->id] = s->origin_of[b->id];
        s->origin_of[b->id] = origin;
        s->place_of[s->origin_of[a->id]] = a->id;
        s->place_of[s->origin_of[b->id]] = b->id;
    }
}

/* ---- turns of the loop ---- */

static void free_snapshot(struct snapshot *s) {
    mem_free(s->place_of);
    mem_free(s->origin_of);
    mem_free(s->sizes);
    mem_free(s->expires);
    mem_free(s->announced);
    mem_free(s->slots);
    snapshot_memory_note(&s->noted, 0);
    rdb_tape_close(&s->tape);
    rdb_tape_close(&s->side);
    tapes_close(&s->aside);
    mem_free(s);
}

/* Nothing is left to be captured: the slot can be used again. */
static void leave_slot(struct snapshot *s) {
    struct snapshots *all = s->all;
    all->slots[s->slot] = NULL;
    all->running &= (uint8_t)~snapshot_bit(s);
    s->is_walked = true;
    if (all->running) return;
    s->engine->observer = NULL;
    (void)uv_idle_stop(&all->idle);
}

void snapshot_walked(struct snapshot *s) {
    leave_slot(s);
    if (s->writer == NULL) {
        free_snapshot(s);
        return;
    }
    if (s->has_failed) {
        struct snapshot_want want = s->want;
        struct why why = s->why;
        snapshot_abort(s);
        want.ended(want.owner, ERR_LIMIT, why.text);
        return;
    }
    snapshot_writer_give(s->writer, &s->tape);
    snapshot_writer_finish(s->writer);
}

static void on_pace(uv_timer_t *timer);

static uint64_t processor_ns(void) {
    struct timespec used;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

/* rdb-key-save-delay, for tests: not earlier than so long for each key. Unlike in Redis a snapshot
 * that is under way hears of a change. */
static bool is_early(struct snapshot *s) {
    int64_t delay_us = s->engine->settings.rdb_key_save_delay_us;
    if (delay_us <= 0 || s->writer == NULL) return false;
    if (clock_mono_us(s->engine->clock) - s->began_us >= s->keys * (uint64_t)delay_us) return false;
    if (!s->part_is_open) snapshot_writer_give(s->writer, &s->tape);
    (void)uv_timer_start(&s->all->pace, on_pace, PACE_MS, 0);
    return true;
}

/* A key at a time where each is to take long. */
static uint64_t turn_us(const struct snapshot *s) {
    return s->engine->settings.rdb_key_save_delay_us > 0 ? 0 : TURN_US;
}

static bool timed_walk(struct snapshot *s) {
    turn_cost_mark(s->engine, TURN_OTHER);
    uint64_t began_us = clock_mono_us(s->engine->clock), used_ns = processor_ns();
    bool ended = snapshot_walk(s, turn_us(s));
    used_ns = processor_ns() - used_ns;
    hist_record(&s->all->turns.worked, used_ns / 1000);
    hist_record(&s->all->turns.took, clock_mono_us(s->engine->clock) - began_us);
    turn_cost_snapshot(s->engine, used_ns);
    turn_cost_mark(s->engine, TURN_WALK);
    return ended;
}

/* Commands were executed and their replies not sent yet: they shall not wait for a walk, but a server
 * that is never without commands shall come to an end with it. */
static bool replies_wait(struct snapshots *all) {
    uint64_t commands = all->engine->stats.commands;
    bool wait = commands != all->commands;
    all->commands = commands;
    all->put_off = wait ? all->put_off + 1 : 0;
    return wait && all->put_off % TURNS_PUT_OFF != 0;
}

/* One walk gets a turn, each in its time. While all of them have to wait for their writers there
 * are none. */
static void take_turn(uv_idle_t *idle) {
    struct snapshots *all = idle->data;
    if (replies_wait(all)) return;
    for (unsigned i = 0; i < SNAPSHOTS_MAX; i++) {
        struct snapshot *s = all->slots[all->turn++ % SNAPSHOTS_MAX];
        if (s == NULL) continue;
        if (s->writer && snapshot_writer_is_full(s->writer)) continue;
        if (is_early(s)) continue;
        if (!s->is_held) s->is_held = timed_walk(s);
        if (s->is_held && !is_early(s)) snapshot_walked(s);
        return;
    }
    (void)uv_idle_stop(idle);
}

static void go_on(struct snapshots *all) {
    if (all->running) (void)uv_idle_start(&all->idle, take_turn);
}

static void on_pace(uv_timer_t *timer) {
    go_on(timer->data);
}

static void writer_hungry(void *owner) {
    go_on(((struct snapshot *)owner)->all);
}

static struct snapshots *open_all(struct engine *engine) {
    if (engine->snapshots) return engine->snapshots;
    struct snapshots *all = NEW(struct snapshots);
    all->engine = engine;
    all->observer = (struct db_observer){.ctx = all,
                                         .before_edit = before_edit,
                                         .moved = moved,
                                         .dropped = dropped,
                                         .cleared = cleared,
                                         .swapped = swapped};
    all->graveyards_end = &all->graveyards;
    all->idle.data = all;
    (void)uv_idle_init(engine->loop, &all->idle);
    all->pace.data = all;
    (void)uv_timer_init(engine->loop, &all->pace);
    engine->snapshots = all;
    return all;
}

/* ---- start and end ---- */

unsigned snapshots_active(const struct engine *engine) {
    return engine->snapshots ? engine->snapshots->active : 0;
}

void snapshot_progress(const struct snapshot *s, uint64_t *done, uint64_t *total) {
    *done = s->keys;
    *total = 0;
    for (int i = 0; i < s->engine->db_count; i++) *total += s->sizes[i];
}

bool snapshot_about(const struct engine *engine, unsigned place, struct snapshot_about *about) {
    const struct snapshot *s = engine->snapshots ? engine->snapshots->slots[place] : NULL;
    if (s == NULL) return false;
    about->what = !s->writer ? "nobody" : s->want.what ? s->want.what : "unnamed";
    about->seconds = (clock_mono_us(engine->clock) - s->began_us) / 1000000;
    snapshot_progress(s, &about->keys, &about->keys_total);
    return true;
}

const struct snapshot_turns *snapshot_turns(const struct engine *engine) {
    return engine->snapshots ? &engine->snapshots->turns : NULL;
}

void snapshot_turns_forget(struct engine *engine) {
    if (engine->snapshots == NULL) return;
    hist_clear(&engine->snapshots->turns.took);
    hist_clear(&engine->snapshots->turns.worked);
}

static void give_batch(void *owner, struct slice bytes) {
    struct snapshot *s = owner;
    s->want.batch(s->want.owner, bytes);
}

static void writer_ended(void *owner, enum err err, const char *words) {
    struct snapshot *s = owner;
    struct snapshot_want want = s->want;
    s->all->active--;
    s->writer = NULL;
    go_on(s->all);
    if (s->is_walked) free_snapshot(s); /* else it failed on the way: the walk has to end first */
    want.ended(want.owner, err, words);
}

static void note_databases(struct snapshot *s) {
    size_t count = (size_t)s->engine->db_count;
    s->place_of = NEW_ARRAY(int, count);
    s->origin_of = NEW_ARRAY(int, count);
    s->sizes = NEW_ARRAY(uint64_t, count);
    s->expires = NEW_ARRAY(uint64_t, count);
    s->announced = NEW_ARRAY(bool, count);
    for (int i = 0; i < s->engine->db_count; i++) {
        s->place_of[i] = s->origin_of[i] = i;
        s->sizes[i] = db_size(&s->engine->dbs[i]);
        s->expires[i] = s->engine->dbs[i].expires;
    }
    s->tape_db = s->side_db = -1;
}

/* From here on every key of the keyspace is to be captured. */
static void take_slot(struct snapshot *s, unsigned slot) {
    struct snapshots *all = s->all;
    s->slot = slot;
    all->slots[slot] = s;
    all->running |= snapshot_bit(s);
    for (unsigned i = 0; i < s->engine->dbs[0].partitions->count; i++)
        if (snapshot_wants_table(s, i)) s->engine->snapshot_polarity[i] ^= snapshot_bit(s);
    s->engine->observer = &all->observer;
    go_on(all);
}

static enum err open_writer(struct snapshot *s, struct why *why) {
    struct snapshot_writer_want want = {.loop = s->engine->loop,
                                        .path = s->want.path,
                                        .sink = s->want.sink,
                                        .version = s->version,
                                        .no_sum = !s->engine->settings.rdbchecksum,
                                        .syncs = s->engine->settings.rdb_save_incremental_fsync,
                                        .owner = s,
                                        .batch = give_batch,
                                        .hungry = writer_hungry,
                                        .ended = writer_ended};
    enum err err = snapshot_writer_open(&want, &s->writer, why);
    if (err) return err;
    struct rdb_save_options options = {
        .scope = s->want.scope, .version = s->version, .aof_base = s->want.aof_base};
    if (s->slots) options.scope = SNAPSHOT_NOTHING; /* no functions */
    if (!s->want.aof_base) options.place = persistence_place(s->engine);
    rdb_put_head(s->engine, snapshot_writer_head(s->writer), &options);
    return OK;
}

static unsigned free_slot(const struct snapshots *all) {
    unsigned slot = 0;
    while (slot < SNAPSHOTS_MAX && all->slots[slot]) slot++;
    return slot;
}

bool snapshot_may_start(const struct engine *engine) {
    const struct snapshots *all = engine->snapshots;
    if (engine->async_loading) return false;
    return !all || (all->active < SNAPSHOTS_MAX && free_slot(all) < SNAPSHOTS_MAX);
}

enum err snapshot_start(struct engine *engine, const struct snapshot_want *want,
                        struct snapshot **snapshot, struct why *why) {
    struct snapshots *all = open_all(engine);
    unsigned slot = free_slot(all);
    if (engine->async_loading) /* what is loaded counts as captured by all that there were */
        return why_set(why, ERR_STATE, "other data are being loaded");
    if (slot == SNAPSHOTS_MAX || all->active >= SNAPSHOTS_MAX)
        return why_set(why, ERR_STATE, "%d snapshots are under way already", SNAPSHOTS_MAX);
    struct snapshot *s = NEW(struct snapshot);
    s->all = all;
    s->engine = engine;
    s->want = *want;
    s->packs = engine->settings.rdbcompression && !want->plain;
    s->slots = want->slots ? mem_dup(want->slots, sizeof *want->slots) : NULL;
    s->want.slots = NULL;
    s->version = want->version ? want->version : RDB_VERSION_WRITTEN;
    s->began_us = clock_mono_us(engine->clock);
    s->parts_end = &s->parts;
    enum err err = open_writer(s, why);
    if (err) {
        mem_free(s->slots);
        mem_free(s);
        return err;
    }
    note_databases(s);
    all->active++;
    if (want->scope == SNAPSHOT_ALL) {
        take_slot(s, slot);
    } else {
        s->is_walked = true;
        snapshot_writer_finish(s->writer);
    }
    *snapshot = s;
    return OK;
}

void snapshot_next(struct snapshot *s) {
    snapshot_writer_next(s->writer);
}

void snapshot_abort(struct snapshot *s) {
    struct snapshots *all = s->all;
    snapshot_writer_abort(s->writer);
    s->writer = NULL;
    all->active--;
    go_on(all);
    if (s->is_walked) free_snapshot(s); /* else the walk goes on, so that all keys get the colour */
}
