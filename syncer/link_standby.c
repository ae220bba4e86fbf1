/* link_standby.c -- a link that waits for its turn (C26): it keeps everything that the source sends,
 * and looks whether every unit there was written by the other link.
 *
 * A unit of the other link carries that link's checkpoint: the key at a foreign server, a PUBLISH on
 * drawbridge:checkpoint at a bundled one. While the other link copies, its units carry none; a
 * checkpoint of kind `copy` says that this is so, and that what came right before it was the copy's.
 * What others write while the other link copies is not told apart from the copy; an audit finds it.
 *
 * The keys of any other unit become dirty in the other link; foreign.h tells how, and what is known
 * about keys that are deleted alone. For that the deadlines of keys at the source are followed here,
 * from its stream, in its order.
 */
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/control/rblock.h"
#include "lib/redis/reply.h"
#include "syncer/link_apply.h"

#include <inttypes.h>
#include <stdio.h>

#define SAMPLE_BYTES (1u << 20)
#define SAMPLES 1024
#define CLOCK_MS 30000
#define AGAIN_MS 50
#define CLOCK_SLACK_MS 100

struct standby {
    struct applier *a;
    struct place samples[SAMPLES]; /* places on the way, for finding a database again */
    size_t sample_count;
    uint64_t sample_bytes; /* distance of samples */
    bool copying;          /* the other link does */
    bool keeps_expired;    /* the source, while the other link feeds it (C8) */
    uint64_t looked;       /* offset: behind the last unit that was looked at */
    uint64_t discarded;
    struct deadlines deadlines; /* of keys at the source */
    int64_t ahead_ms;           /* the source's clock minus ours */
    uint64_t clock_due_ms;
};

static uint64_t now_ms(void) { return clock_mono_ms(clock_real()); }

static void sample(struct standby *s, uint64_t offset, int db) {
    if (s->sample_count > 0 && offset < s->samples[s->sample_count - 1].offset + s->sample_bytes) return;
    if (s->sample_count == SAMPLES) { /* every second one */
        for (size_t i = 0; i < SAMPLES / 2; i++) s->samples[i] = s->samples[i * 2];
        s->sample_count = SAMPLES / 2;
        s->sample_bytes *= 2;
    }
    s->samples[s->sample_count++] = (struct place){.offset = offset, .db = db};
}

/* The value of the other link's checkpoint if the command writes it. */
static bool others_checkpoint(const struct link *link, const struct unit_command *c, struct slice *value) {
    char text[96];
    if (!c->command || c->argc < 3) return false;
    if (strcmp(c->command->name, "set") == 0) {
        snprintf(text, sizeof text, CHECKPOINT_PREFIX "%s", link->other);
        *value = c->argv[2];
        return slice_equal(c->argv[1], slice_text(text));
    }
    if (strcmp(c->command->name, "publish") == 0 && slice_equal(c->argv[1], SLICE("drawbridge:checkpoint"))) {
        snprintf(text, sizeof text, "%s=", link->other);
        if (!slice_starts(c->argv[2], slice_text(text))) return false;
        *value = slice_drop(c->argv[2], strlen(text));
        return true;
    }
    return false;
}

/* ---- the source's clock, by which its keys vanish ---- */

static void learn_clock(struct standby *s) {
    struct rblock *conn = NULL;
    const struct resp_reply *reply = NULL;
    struct why why;
    struct link *link = s->a->link;
    int64_t seconds = 0, micros = 0, began = clock_wall_ms(clock_real());
    struct rblock_options options = side_options(link->from, NULL);
    s->clock_due_ms = now_ms() + CLOCK_MS;
    if (rblock_open(&conn, &link->from->endpoint, &options, &why) != OK) return;
    link_set_interruptible(link, 1, conn);
    if (rblock_words(conn, &reply, &why, "TIME") == OK && reply->kind == RESP_ARRAY && reply->count == 2 &&
        resp_reply_to_int(&reply->child[0], &seconds) && resp_reply_to_int(&reply->child[1], &micros))
        s->ahead_ms = seconds * 1000 + micros / 1000 - began;
    link_set_interruptible(link, 1, NULL);
    rblock_close(conn);
}

static int64_t source_ms(const struct standby *s) { return clock_wall_ms(clock_real()) + s->ahead_ms; }

/* ---- whose unit it is ---- */

enum whose { NOBODYS, GONE, FOREIGN };

static bool is_gone(const struct unit_command *c) {
    return c->command && c->argc == 2 && (strcmp(c->command->name, "del") == 0 || strcmp(c->command->name, "unlink") == 0);
}

static bool all_ours(const struct apply_keys *keys) {
    for (size_t i = 0; i < keys->count; i++)
        if (!checkpoint_is_key(keys->at[i].key)) return false;
    return keys->count > 0;
}

/* Scripts are loaded at both sides by the gateway, and are no data. */
static bool is_nothing(enum apply_class class, const struct unit_command *c) {
    return class == APPLY_NOTHING || (c->command && strncmp(c->command->name, "script|", 7) == 0);
}

/* A unit that does not carry the other link's checkpoint: nothing of users, keys that went, or somebody's
 * writes; *KNOWN: their keys are the ones that apply_keys_of() tells. */
static enum whose whose_is(struct apply_keys *keys, const struct unit *unit, bool *known) {
    enum whose whose = NOBODYS;
    *known = true;
    for (size_t i = 0; i < unit->count; i++) {
        const struct unit_command *c = &unit->commands[i];
        enum apply_class class = apply_keys_of(keys, c->command, c->argc, c->argv, c->db);
        if (is_nothing(class, c) || all_ours(keys)) continue;
        if (class != APPLY_ORDINARY || keys->count == 0 || c->db < 0) *known = false;
        if (!is_gone(c) || c->db < 0) whose = FOREIGN;
        else if (whose == NOBODYS) whose = GONE;
    }
    return whose;
}

/* The keys that UNIT writes become dirty; of keys that went only those whose time had not come. */
static void add_keys(struct standby *s, const struct unit *unit, enum whose whose) {
    struct link *link = s->a->link;
    struct apply_keys *keys = &s->a->apply.keys;
    int64_t now = source_ms(s) + CLOCK_SLACK_MS;
    for (size_t i = 0; i < unit->count; i++) {
        const struct unit_command *c = &unit->commands[i];
        (void)apply_keys_of(keys, c->command, c->argc, c->argv, c->db);
        for (size_t k = 0; k < keys->count; k++) {
            const struct apply_key *key = &keys->at[k];
            if (!key->written || key->db < 0 || checkpoint_is_key(key->key)) continue;
            if (whose == GONE && !s->keeps_expired && deadlines_known(&s->deadlines, key->db, key->key) <= now) continue;
            pthread_mutex_lock(&link->lock);
            foreign_add_key(&link->foreign, unit->end, key->db, key->key);
            pthread_mutex_unlock(&link->lock);
        }
    }
}

static void note_foreign(struct standby *s, const struct unit *unit, bool known) {
    struct link *link = s->a->link;
    pthread_mutex_lock(&link->lock);
    bool first = link->foreign.open == 0;
    foreign_add_unit(&link->foreign, unit->end, now_ms(), known);
    pthread_mutex_unlock(&link->lock);
    if (first)
        log_warn("link.foreign_unit", LOG_S("link", link->name), LOG_U("offset", unit->start),
                 LOG_S("command", unit->commands[0].command ? unit->commands[0].command->name : "unknown"),
                 LOG_S("effect", known ? "its keys are copied again" : "only an audit can tell what it changed"));
}

static void note_deadlines(struct standby *s, const struct unit *unit) {
    struct apply_keys *keys = &s->a->apply.keys;
    for (size_t i = 0; i < unit->count; i++) {
        const struct unit_command *c = &unit->commands[i];
        enum apply_class class = apply_keys_of(keys, c->command, c->argc, c->argv, c->db);
        bool special = class == APPLY_FLUSHALL || class == APPLY_FLUSHDB || class == APPLY_SWAPDB;
        apply_note_deadlines(&s->deadlines, keys, class, c, special ? apply_command_offset(unit, i) : 0, source_ms(s));
        deadlines_commit(&s->deadlines);
    }
    buf_clear(&s->deadlines.log); /* only the active link keeps them on disk */
}

/* Inside the other link's own transaction: a key that vanished there, and which it did not send so (C8). */
static void compare_deletes(struct standby *s, const struct unit *unit, struct slice value) {
    struct link *link = s->a->link;
    struct checkpoint checkpoint;
    struct why why;
    if (!link->others_sent || s->copying || checkpoint_read(value, &checkpoint, &why) != OK) return;
    for (size_t i = 0; i < unit->count; i++) {
        const struct unit_command *c = &unit->commands[i];
        if (!is_gone(c) || c->db < 0 || checkpoint_is_key(c->argv[1])) continue;
        if (sent_has(link->others_sent, checkpoint.place, c->db, c->argv[1])) continue;
        pthread_mutex_lock(&link->lock);
        foreign_add_key(&link->foreign, unit->end, c->db, c->argv[1]);
        pthread_mutex_unlock(&link->lock);
        log_debug("link.vanished_in_our_unit", LOG_S("link", link->name), LOG_U("offset", unit->end));
    }
}

/* Whether UNIT carries the other link's checkpoint, and what that says. */
static bool is_the_others(struct standby *s, const struct unit *unit) {
    struct link *link = s->a->link;
    struct slice value;
    bool theirs = false;
    for (size_t i = 0; i < unit->count && !theirs; i++) {
        if (!others_checkpoint(link, &unit->commands[i], &value)) continue;
        theirs = true;
        s->keeps_expired = strcmp(unit->commands[i].command->name, "publish") == 0; /* a bundled server, in import mode */
        bool copy = slice_starts(value, SLICE("drawbridge 1 copy"));
        if (copy || s->copying) { /* what came before was the copy's */
            pthread_mutex_lock(&link->lock);
            foreign_forget(&link->foreign);
            pthread_mutex_unlock(&link->lock);
        }
        s->copying = copy;
        compare_deletes(s, unit, value);
    }
    return theirs;
}

static void look_at(struct standby *s, const struct unit *unit) {
    struct link *link = s->a->link;
    bool known = true, theirs = is_the_others(s, unit);
    pthread_mutex_lock(&link->lock);
    /* Of the time when this side was the primary one, or is again: an UNDRAIN came meanwhile. */
    bool own = unit->end <= link->own_until || link->by_lanes || link->orders.role == LINK_ACTIVE;
    pthread_mutex_unlock(&link->lock);
    if (!theirs && !s->copying && !own) {
        enum whose whose = whose_is(&s->a->apply.keys, unit, &known);
        if (whose != NOBODYS) add_keys(s, unit, whose);
        if (whose == FOREIGN) note_foreign(s, unit, known);
    }
    note_deadlines(s, unit);
    s->looked = unit->end;
}

/* ---- orders ---- */

/* The best known place at or before OFFSET. */
static struct place before(const struct standby *s, uint64_t offset) {
    struct spool_info info;
    spool_look(s->a->link->spool, &info);
    struct place best = {.offset = info.begin, .db = info.begin_db};
    for (size_t i = 0; i < s->sample_count; i++)
        if (s->samples[i].offset <= offset && s->samples[i].offset >= best.offset) best = s->samples[i];
    return best;
}

static enum err obey_discard(struct standby *s, uint64_t discard, struct why *why) {
    struct place place = before(s, discard);
    if (s->a->units.offset <= discard) place = (struct place){.offset = s->a->units.offset, .db = s->a->units.db};
    s->discarded = discard;
    struct spool_info info;
    spool_look(s->a->link->spool, &info);
    enum err err = info.kind == SPOOL_COPY ? spool_drop_rdb(s->a->link->spool, why) : OK;
    return err == OK ? spool_keep_from(s->a->link->spool, place.offset, place.db, why) : err;
}

/* Become active at an exact offset: the database there is found by reading up to it. STEP_MORE: the
 * source has not yet sent that far. */
static enum step take_over(struct standby *s, const struct link_orders *orders, enum err *err, struct why *why) {
    struct applier *a = s->a;
    struct link *link = a->link;
    struct spool_info info;
    uint64_t offset = orders->activate_at.offset;
    spool_look(link->spool, &info);
    if (info.end < offset) return STEP_MORE;
    if (!spool_holds(link->spool, orders->activate_replid, offset)) {
        *err = why_set(why, ERR_ABSENT, "the spool does not hold offset %" PRIu64 " of history %s", offset, orders->activate_replid);
        return STEP_FAIL;
    }
    struct place place = before(s, offset);
    if (a->units.offset > offset) *err = applier_move(a, place.offset, place.db, why);
    while (*err == OK && a->units.offset < offset) {
        enum step step = applier_next(a, err, why);
        if (step == STEP_MORE) return STEP_MORE;
        if (step == STEP_FAIL) return STEP_FAIL;
        if (a->unit.end > s->looked) look_at(s, &a->unit);
        a->have_unit = false;
    }
    if (*err == OK && a->units.offset != offset) *err = why_set(why, ERR_CORRUPT, "offset %" PRIu64 " is inside a unit", offset);
    if (*err == OK && a->units.db < 0 && info.end > offset)
        log_warn("link.database_unknown", LOG_S("link", link->name), LOG_U("offset", offset));
    if (*err != OK) return STEP_FAIL;
    pthread_mutex_lock(&link->lock);
    link->orders.activate_at.db = a->units.db;
    link->orders.activate = true;
    link->orders.in_doubt = link->by_lanes;
    link->orders.take_over = false;
    link->orders.role = LINK_ACTIVE;
    link->status.drained = false;
    link->foreign.audit = false; /* this side is the primary one from here on; the keys stay to be copied */
    link->foreign.open = 0;
    pthread_mutex_unlock(&link->lock);
    log_info("link.activate", LOG_S("link", link->name), LOG_U("offset", offset), LOG_I("db", a->units.db));
    return STEP_DONE;
}

static enum err wait_for_spool(struct standby *s, struct why *why) {
    struct link *link = s->a->link;
    for (;;) {
        struct link_orders orders;
        struct spool_info info;
        link_get_orders(link, &orders);
        spool_look(link->spool, &info);
        if (orders.stop || orders.role != LINK_STANDBY) return why_set(why, ERR_STOPPED, "other orders");
        if (info.kind == SPOOL_STREAM || info.kind == SPOOL_COPY) return applier_move(s->a, info.begin, info.begin_db, why);
        if (orders.begin == LINK_BEGIN_UNKNOWN) {
            pthread_mutex_lock(&link->lock);
            link->orders.begin = LINK_BEGIN_NOW;
            pthread_mutex_unlock(&link->lock);
            link_wake(link);
        }
        link_sleep(link, 100);
    }
}

static enum err turn(struct standby *s, struct why *why) {
    struct applier *a = s->a;
    struct link *link = a->link;
    struct link_orders orders;
    enum err err = OK;
    link_get_orders(link, &orders);
    if (orders.stop || orders.role != LINK_STANDBY) return why_set(why, ERR_STOPPED, "other orders");
    if (orders.take_over) {
        enum step step = take_over(s, &orders, &err, why);
        if (step == STEP_MORE) link_sleep(link, 50);
        return step == STEP_FAIL ? err : OK;
    }
    pthread_mutex_lock(&link->lock);
    bool waiting = foreign_is_waiting(&link->foreign); /* not before the other link has noted them */
    pthread_mutex_unlock(&link->lock);
    if (orders.discard > s->discarded && !waiting) err = obey_discard(s, orders.discard, why);
    if (now_ms() >= s->clock_due_ms && s->deadlines.table.count > 0) learn_clock(s);
    for (int i = 0; i < 1000 && err == OK; i++) {
        enum step step = applier_next(a, &err, why);
        if (step == STEP_FAIL) return err;
        if (step == STEP_MORE) {
            link_sleep(link, 100);
            break;
        }
        if (a->unit.end > s->looked) look_at(s, &a->unit);
        a->have_unit = false;
        sample(s, a->unit.end, a->unit.end_db);
    }
    return err;
}

enum err link_stand_by(struct applier *a, struct why *why) {
    struct standby s = {.a = a, .sample_bytes = SAMPLE_BYTES};
    apply_init(&a->apply, &a->rules);
    applier_load_others_deadlines(a->link, &s.deadlines);
    enum err err = wait_for_spool(&s, why);
    if (err == OK) link_set_state(a->link, LINK_STANDING_BY, NULL);
    while (err == OK) err = turn(&s, why);
    apply_close(&a->apply);
    deadlines_close(&s.deadlines);
    spool_reader_close(&a->reader);
    if (err == ERR_ABSENT) { /* the way back is broken, or a take-over asks for what is not here */
        pthread_mutex_lock(&a->link->lock);
        a->link->orders.take_over = false;
        a->link->status.way_back = false;
        pthread_mutex_unlock(&a->link->lock);
    }
    if (err != ERR_STATE) return err;
    link_rest(a->link, AGAIN_MS);
    return OK; /* the spool began anew: so do we */
}
