/* link_standby.c -- a link that waits for its turn (C26): it keeps everything that the source sends,
 * and looks whether every unit there was written by the other link.
 *
 * A unit of the other link carries that link's checkpoint: the key at a foreign server, a PUBLISH on
 * drawbridge:checkpoint at a bundled one. While the other link copies, its units carry none; a
 * checkpoint of kind `copy` says that this is so.
 */
#include "lib/base/log.h"
#include "lib/redis/resp.h"
#include "syncer/link_apply.h"

#include <inttypes.h>
#include <stdio.h>

#define SAMPLE_BYTES (1u << 20)
#define SAMPLES 1024

struct standby {
    struct applier *a;
    struct place samples[SAMPLES]; /* places on the way, for finding a database again */
    size_t sample_count;
    uint64_t sample_bytes; /* distance of samples */
    bool copying;          /* the other link does, or has not yet shown itself */
    uint64_t discarded;
};

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

/* Nothing of users: no data at all, our own keys, or a key that went because its time came. */
static bool harmless(struct applier *a, const struct unit *unit) {
    for (size_t i = 0; i < unit->count; i++) {
        const struct unit_command *c = &unit->commands[i];
        enum apply_class class = apply_keys_of(&a->apply.keys, c->command, c->argc, c->argv, c->db);
        if (class == APPLY_NOTHING) continue;
        const char *name = c->command ? c->command->name : "";
        if (unit->count == 1 && c->argc == 2 && (strcmp(name, "del") == 0 || strcmp(name, "unlink") == 0)) continue;
        bool ours = a->apply.keys.count > 0;
        for (size_t k = 0; k < a->apply.keys.count; k++) ours = ours && checkpoint_is_key(a->apply.keys.at[k].key);
        if (!ours) return false;
    }
    return true;
}

static void look_at(struct standby *s, const struct unit *unit) {
    struct applier *a = s->a;
    struct link *link = a->link;
    struct slice value;
    bool theirs = false;
    for (size_t i = 0; i < unit->count && !theirs; i++) {
        if (!others_checkpoint(link, &unit->commands[i], &value)) continue;
        theirs = true;
        bool copy = slice_starts(value, SLICE("drawbridge 1 copy"));
        if (copy || s->copying) { /* what came before was the copy's */
            pthread_mutex_lock(&link->lock);
            link->status.foreign_units = 0;
            pthread_mutex_unlock(&link->lock);
        }
        s->copying = copy;
    }
    if (theirs || s->copying || harmless(a, unit)) return;
    pthread_mutex_lock(&link->lock);
    bool own = unit->end <= link->own_until; /* of the time when this side was the primary one */
    bool first = !own && link->status.foreign_units++ == 0;
    pthread_mutex_unlock(&link->lock);
    if (first) log_warn("link.foreign_unit", LOG_S("link", link->name), LOG_U("offset", unit->start),
                        LOG_S("command", unit->commands[0].command ? unit->commands[0].command->name : "unknown"));
}

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
    *err = applier_move(a, place.offset, place.db, why);
    while (*err == OK && a->units.offset < offset) {
        enum step step = applier_next(a, err, why);
        if (step == STEP_MORE) return STEP_MORE;
        if (step == STEP_FAIL) return STEP_FAIL;
        a->have_unit = false;
    }
    if (*err == OK && a->units.offset != offset) *err = why_set(why, ERR_STATE, "offset %" PRIu64 " is inside a unit", offset);
    if (*err == OK && a->units.db < 0 && info.end > offset)
        log_warn("link.database_unknown", LOG_S("link", link->name), LOG_U("offset", offset));
    if (*err != OK) return STEP_FAIL;
    pthread_mutex_lock(&link->lock);
    link->orders.activate_at.db = a->units.db;
    link->orders.activate = true;
    link->orders.take_over = false;
    link->orders.role = LINK_ACTIVE;
    link->status.drained = false;
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
    if (orders.discard > s->discarded) err = obey_discard(s, orders.discard, why);
    for (int i = 0; i < 1000 && err == OK; i++) {
        enum step step = applier_next(a, &err, why);
        if (step == STEP_FAIL) return err;
        if (step == STEP_MORE) {
            link_sleep(link, 100);
            break;
        }
        look_at(s, &a->unit);
        a->have_unit = false;
        sample(s, a->unit.end, a->unit.end_db);
    }
    return err;
}

enum err link_stand_by(struct applier *a, struct why *why) {
    struct standby s = {.a = a, .copying = true, .sample_bytes = SAMPLE_BYTES};
    apply_init(&a->apply, &a->rules);
    enum err err = wait_for_spool(&s, why);
    if (err == OK) link_set_state(a->link, LINK_STANDING_BY, NULL);
    while (err == OK) err = turn(&s, why);
    apply_close(&a->apply);
    spool_reader_close(&a->reader);
    if (err == ERR_ABSENT) { /* the way back is broken, or a take-over asks for what is not here */
        pthread_mutex_lock(&a->link->lock);
        a->link->orders.take_over = false;
        a->link->status.way_back = false;
        pthread_mutex_unlock(&a->link->lock);
    }
    return err == ERR_STATE ? OK : err; /* the spool began anew: so do we */
}
