/* lane.c -- P's side of a lane: what leaves, what is answered, what is lost. See lane.h. */
#include "gateway/lane_inside.h"

#include "gateway/lane_copy.h"

const struct lane_rules lane_rules_default = {
    .clock_difference_ms = 1000,
    .keys_max = 1000000,
    .deadlines_max = 4000000,
    .queue_items_max = 65536,
    .queue_bytes_max = 64u << 20,
    .window_items_max = 8192,
    .window_bytes_max = 8u << 20,
    .copies_max = 64,
    .copy_interval_ms = 1000,
    .copy_bytes_max = 32u << 20,
    .big_bytes = 8u << 20,
    .chunk_bytes = 512u << 10,
    .big_queue_bytes = 4u << 20,
    .fence_ms = 500,
    .mark_keys_max = 50000,
    .mark_interval_ms = 1000,
};

void lane_init(struct lane *l, const struct lane_ops *ops, void *self,
               const struct lane_journal *journal, const struct clock *clock,
               const struct lane_rules *rules, unsigned number, unsigned lanes) {
    ASSERT(lanes > 0 && lanes <= LANES_MAX && number < lanes);
    *l = (struct lane){.ops = ops,
                       .self = self,
                       .journal = journal,
                       .clock = clock,
                       .rules = *rules,
                       .number = number,
                       .lanes = lanes};
    l->next_id = ((uint64_t)number << 56) + 1;
    lane_keys_init(&l->keys, journal, rules->keys_max, number, lanes);
    lane_deadlines_init(&l->deadlines, journal, rules->deadlines_max);
    lane_marks_init(&l->marks, rules->mark_keys_max);
}

static void free_queue(struct lane_queue *q) {
    for (struct lane_item *item = lane_queue_pop(q); item != NULL; item = lane_queue_pop(q))
        lane_item_free(item);
}

void lane_close(struct lane *l) {
    free_queue(&l->flight);
    free_queue(&l->sent);
    free_queue(&l->tail);
    for (struct lane_item *next, *item = l->lost; item != NULL; item = next) {
        next = item->next;
        lane_item_free(item);
    }
    lane_blocks_close(l);
    lane_big_close(l);
    lane_marks_close(&l->marks);
    lane_keys_close(&l->keys);
    lane_deadlines_close(&l->deadlines);
    effect_outcome_close(&l->outcome);
    buf_close(&l->scratch);
}

void lane_check(const struct lane *l) {
    size_t copies = 0, units = 0;
    for (const struct lane_item *item = l->flight.head; item != NULL; item = item->next) {
        units += lane_item_units(item);
        if (item->kind == LANE_COPY || item->kind == LANE_MEASURE || item->kind == LANE_QUESTION)
            copies++;
    }
    ASSERT(copies == l->copies && units == l->flight.count);
    ASSERT(IMPLIES(l->primary_up == false, l->flight.count == 0));
    ASSERT(IMPLIES(!l->follower_up, l->sent.count == 0 && l->tail.count == 0));
    ASSERT(l->sent.count <= l->rules.window_items_max || l->sent.head == l->sent.tail);
    ASSERT(l->keys.dirty_count <= l->keys.count);
}

struct lane_item *lane_item_new(struct effect *effect, void *client) {
    bool room = effect->room_bytes >= sizeof(struct lane_item);
    struct lane_item *item = room ? effect->room : mem_alloc(sizeof *item);
    memset(item, 0, offsetof(struct lane_item, one_key));
    item->kind = LANE_COMMAND;
    item->effect = effect;
    item->client = client;
    return item;
}

void lane_item_free(struct lane_item *item) {
    if (item == NULL) return;
    if (item->kind == LANE_BURST) {
        lane_burst_free(item->burst);
        return;
    }
    struct effect *effect = item->effect;
    if (item->name.data != NULL) buf_close(&item->name);
    if (item->bytes.data != NULL) buf_close(&item->bytes);
    if (item->keys != &item->one_key) mem_free(item->keys);
    if (effect == NULL || effect->room != item) mem_free(item);
    effect_free(effect);
}

void lane_forget(struct lane *l, struct lane_item *item) {
    l->journal->forget(l->journal->self, item->id);
    lane_item_free(item);
}

/* ---- marks ---- */

void lane_mark_keys(struct lane *l, const struct effect_key *keys, size_t count, bool outside) {
    uint64_t due_ms = lane_due(l);
    for (size_t i = 0; i < count; i++) {
        if ((keys[i].use & EFFECT_WRITE) == 0 || !lane_owns(l, keys[i].name)) continue;
        lane_keys_mark(&l->keys, keys[i].db, keys[i].name, outside, due_ms);
        l->figures.dirtied++;
    }
}

void lane_mark(struct lane *l, int32_t db, struct slice name) {
    lane_keys_mark(&l->keys, db, name, true, 0);
}

void lane_named(struct lane *l, int32_t db, struct slice name) {
    if (!lane_owns(l, name)) return;
    lane_keys_mark(&l->keys, db, name, true, lane_due(l));
    l->figures.dirtied++;
}

void lane_mark_all(struct lane *l) {
    lane_keys_mark_all(&l->keys);
}

void lane_disown(struct lane *l) {
    lane_big_end(l);
    for (size_t i = 0; i < l->keys.bucket_count; i++)
        for (struct lane_key *key = l->keys.buckets[i]; key != NULL; key = key->next)
            if (!lane_owns(l, lane_key_name(key))) lane_big_forget(l, key);
    lane_keys_disown(&l->keys);
}

void lane_pin(struct lane *l, const struct effect *effect) {
    for (size_t i = 0; i < effect->key_count; i++) {
        const struct effect_key *key = &effect->keys[i];
        if ((key->use & EFFECT_WRITE) && lane_of(l->lanes, key->name) == l->number)
            lane_keys_pin(&l->keys, key->db, key->name);
    }
    if (!effect->keys_unknown && (!effect->barrier || effect->no_data)) return;
    l->keys.pinned_all++;
    lane_keys_mark_all(&l->keys);
}

void lane_unpin(struct lane *l, const struct effect *effect) {
    uint64_t due_ms = lane_due(l);
    for (size_t i = 0; i < effect->key_count; i++) {
        const struct effect_key *key = &effect->keys[i];
        if ((key->use & EFFECT_WRITE) && lane_of(l->lanes, key->name) == l->number)
            lane_keys_unpin(&l->keys, key->db, key->name, due_ms);
    }
    if (!effect->keys_unknown && (!effect->barrier || effect->no_data)) return;
    ASSERT(l->keys.pinned_all > 0);
    l->keys.pinned_all--;
    lane_keys_mark_all(&l->keys);
}

/* ---- what leaves ---- */

void lane_primary_up(struct lane *l, int32_t version) {
    ASSERT(!l->primary_up && l->flight.count == 0);
    l->primary_up = true;
    l->no_memory_usage = false;
    l->primary_version = version;
}

#define KEYS_AT_ONCE 16u

/* C20: the keys are in the journal before the command leaves. */
static void journal_entry(struct lane *l, const struct lane_item *item) {
    const struct effect *e = item->effect;
    const struct lane_journal *j = l->journal;
    struct lane_journal_key keys[KEYS_AT_ONCE];
    size_t n = 0;
    if (!e->writes) return;
    for (size_t i = 0; i < e->key_count; i++) {
        if ((e->keys[i].use & EFFECT_WRITE) == 0) continue;
        keys[n++] = (struct lane_journal_key){e->keys[i].name, e->keys[i].db};
        if (n < KEYS_AT_ONCE) continue;
        j->entry(j->self, item->id, keys, n);
        n = 0;
    }
    if (n > 0) j->entry(j->self, item->id, keys, n);
    if (e->keys_unknown || (e->barrier && !e->no_data)) j->entry_all(j->self, item->id);
}

void lane_send(struct lane *l, struct lane_item *item) {
    ASSERT(l->primary_up);
    ASSERT(item->barrier ? l->flight.count == 0 : !l->stopped);
    ASSERT(IMPLIES(item->effect->barrier, item->barrier));
    item->id = l->next_id++;
    journal_entry(l, item);
    lane_queue_push(&l->flight, item);
    l->figures.commands++;
    const struct effect *e = item->effect;
    l->ops->to_primary(l, item, e->send, e->replies, e->db, e->db_after);
}

static bool may_copy(const struct lane *l) {
    return lane_may_send(l) && l->follower_up && l->primary_lost == 0 && l->keys.pinned_all == 0 &&
           l->copies < l->rules.copies_max && l->copy_bytes < l->rules.copy_bytes_max &&
           l->tail.count + l->copies < (l->rules.queue_items_max + 1) / 2 &&
           l->tail.bytes < l->rules.queue_bytes_max / 2;
}

static struct lane_item *copy_item(struct lane *l, enum lane_item_kind kind,
                                   struct lane_key *key) {
    struct lane_item *item = NEW(struct lane_item);
    item->kind = (uint8_t)kind;
    item->id = l->next_id++;
    item->key = key;
    item->gen = key->gen;
    item->at_us = clock_mono_us(l->clock);
    item->db = item->db_after = key->db;
    buf_add(&item->name, lane_key_name(key));
    lane_queue_push(&l->flight, item);
    l->copies++;
    buf_clear(&l->scratch);
    return item;
}

/* C14a: nothing is asked for before its size is known. */
static void send_measure(struct lane *l, struct lane_key *key) {
    struct lane_item *item = copy_item(l, LANE_MEASURE, key);
    uint32_t replies = lane_big_measure(l, &l->scratch, lane_key_name(key));
    l->ops->to_primary(l, item, buf_slice(&l->scratch), replies, key->db, key->db);
}

static void send_copy(struct lane *l, struct lane_key *key, uint64_t size) {
    struct lane_item *item = copy_item(l, LANE_COPY, key);
    item->size = size;
    l->copy_bytes += size;
    uint64_t most = size > l->rules.big_bytes ? size : l->rules.big_bytes;
    if (!key->whole_only) item->limit_bytes = 4 * (size_t)most + 65536;
    uint32_t replies = lane_copy_ask(&l->scratch, l->primary_version, lane_key_name(key));
    l->ops->to_primary(l, item, buf_slice(&l->scratch), replies, key->db, key->db);
}

void lane_tick(struct lane *l) {
    uint64_t now_ms = clock_mono_ms(l->clock);
    lane_burst_close(l);
    lane_follow_mark(l);
    lane_big_turn(l);
    while (!l->holding && may_copy(l)) {
        struct lane_key *key = lane_keys_next(&l->keys, now_ms, l->hurry);
        if (key == NULL) return;
        send_measure(l, key);
    }
}

void lane_stop(struct lane *l) {
    l->stopped = true;
    lane_big_end(l);
}
void lane_go(struct lane *l) {
    l->stopped = false;
}

/* ---- what is answered ---- */

static void copy_failed(struct lane *l, struct lane_item *item) {
    item->key->failures++;
    l->figures.copies_failed++;
    lane_keys_copied(&l->keys, item->key, false, lane_due(l));
    lane_item_free(item);
}

static void set_deadline(struct lane *l, const struct lane_item *item, int64_t at_ms) {
    uint64_t hash = lane_deadlines_hash(item->db, buf_slice(&item->name));
    lane_deadlines_set(&l->deadlines, hash, at_ms == 0 ? LANE_DEADLINE_NONE : at_ms, 0);
}

/* It is copied at once, if nothing has happened that makes a copy useless. */
static void measured(struct lane *l, struct lane_item *item, struct slice answer) {
    struct lane_key *key = item->key;
    uint64_t size = 0;
    bool known = lane_big_measured(l, answer, &size);
    l->copies--;
    lane_item_free(item);
    bool useless = !known || key->pins > 0 || l->keys.pinned_all > 0 || !l->follower_up ||
                   l->primary_lost > 0 || !lane_may_send(l);
    bool big = lane_big_is(l, key, size);
    bool room = l->copy_bytes == 0 || size < l->rules.copy_bytes_max - l->copy_bytes;
    if (useless || (!big && !room)) {
        lane_keys_copied(&l->keys, key, false, known ? 0 : lane_due(l));
    } else if (!big) {
        send_copy(l, key, size);
    } else if (lane_big_begin(l, key, size)) {
        lane_big_turn(l);
    } else {
        lane_keys_copied(&l->keys, key, false, lane_due(l));
    }
}

/* C13, C13a: at this place of the order P had this value, if nothing outside it came between. */
static void copy_answered(struct lane *l, struct lane_item *item, struct slice answer) {
    struct lane_value value = {0};
    struct slice name = buf_slice(&item->name);
    l->copies--;
    l->copy_bytes -= item->size;
    if (slice_equal(answer, lane_big_too_long)) item->key->by_pieces = true;
    enum lane_copied copied = lane_copy_read(l->primary_version, answer, &value);
    bool stale = item->key->gen != item->gen || item->key->pins > 0 || !l->follower_up ||
                 !lane_owns(l, name);
    if (copied == LANE_COPY_FAILED && !stale) lane_note_refusal(l);
    if (copied == LANE_COPY_FAILED || stale) {
        copy_failed(l, item);
        return;
    }
    item->keys = &item->one_key;
    item->one_key =
        (struct effect_key){.name = name, .db = item->db, .use = EFFECT_WRITE | EFFECT_WHOLE};
    item->key_count = 1;
    item->replies = 1;
    if (copied == LANE_COPY_VALUE) lane_copy_fit(l->follower_version, &value, &l->scratch);
    if (copied == LANE_COPY_ABSENT)
        lane_copy_delete(&item->bytes, name);
    else
        lane_copy_restore(&item->bytes, name, &value);
    struct lane_journal_key key = {name, item->db};
    l->journal->entry(l->journal->self, item->id, &key, 1); /* before it is called clean */
    lane_big_forget(l, item->key);
    lane_keys_copied(&l->keys, item->key, true, 0);
    item->key = NULL;
    set_deadline(l, item, value.deadline_ms);
    l->figures.copies++;
    struct lane_item *behind =
        lane_read_behind(l, item, copied == LANE_COPY_ABSENT ? NULL : &value);
    lane_follow(l, item);
    if (behind != NULL) lane_read_follow_copy(l, behind);
}

static bool wrote_something(const struct lane *l) {
    return l->outcome.item_count > 0;
}

/* C10a: its effect is not sent; what it wrote is copied. The owner unpins the keys of others. */
static void outside_answered(struct lane *l, struct lane_item *item) {
    if (wrote_something(l)) lane_mark_keys(l, item->effect->keys, item->effect->key_count, true);
    l->journal->forget(l->journal->self, item->id);
    l->ops->settled(l, item, &l->outcome);
}

static void command_answered(struct lane *l, struct lane_item *item, struct slice answer) {
    const struct effect *e = item->effect;
    bool nothing = e->blocking && effect_would_block(e, answer);
    if (nothing)
        l->ops->nothing_there(l, item);
    else
        l->ops->answered(l, item, answer);
    if (!e->writes && !item->outside && !item->barrier) {
        if (item->read != NULL && !nothing)
            lane_read_shadow(l, item, answer);
        else
            lane_item_free(item);
        return;
    }
    if (!item->outside && !item->barrier && effect_tells_itself(e, answer, &item->verbatim)) {
        l->ops->wrote(l, e);
        lane_apply_as_it_is(l, item);
        return;
    }
    effect_tell(e, answer, &l->outcome);
    if (wrote_something(l)) l->ops->wrote(l, e);
    if (item->barrier) {
        uint64_t id = item->id;
        l->ops->settled(l, item,
                        &l->outcome); /* now its fence is in the journal, or all is dirty */
        l->journal->forget(l->journal->self, id);
    } else if (item->outside) {
        outside_answered(l, item);
    } else {
        lane_apply(l, item);
    }
}

void lane_displaced(struct lane *l) {
    struct lane_item *item = l->flight.head;
    if (item == NULL) return;
    l->figures.displaced++;
    if (item->effect != NULL) lane_mark_keys(l, item->effect->keys, item->effect->key_count, true);
    if (item->kind == LANE_BURST) lane_mark_keys(l, &item->keys[item->done], 1, true);
    if (item->key != NULL) lane_mark(l, item->db, buf_slice(&item->name));
    if (item->kind == LANE_READ || item->read != NULL) item->spoiled = true;
}

void lane_primary_answered(struct lane *l, struct slice answer) {
    ASSERT(l->flight.head != NULL);
    if (l->flight.head->kind == LANE_BURST) {
        (void)lane_burst_answered(l, l->flight.head->burst, answer, 1);
        return;
    }
    struct lane_item *item = lane_queue_pop(&l->flight);
    if (item->kind == LANE_MEASURE)
        measured(l, item, answer);
    else if (item->kind == LANE_COPY)
        copy_answered(l, item, answer);
    else if (item->kind == LANE_READ)
        lane_read_answered(l, item, answer);
    else if (item->kind == LANE_QUESTION)
        lane_big_answered(l, item, answer);
    else
        command_answered(l, item, answer);
}

uint32_t lane_primary_answered_alike(struct lane *l, struct slice answer, uint32_t count) {
    ASSERT(l->flight.head != NULL && count > 0);
    if (l->flight.head->kind == LANE_BURST)
        return lane_burst_answered(l, l->flight.head->burst, answer, count);
    lane_primary_answered(l, answer);
    return 1;
}

/* ---- what is lost ---- */

/* C21: it may still be executed, now or later. Its keys are dirty, and no copy leaves before the
 * connection is known to be gone. */
static void lose(struct lane *l, struct lane_item *item) {
    if (item->kind == LANE_BURST) {
        lane_burst_lost(l, item->burst);
        return;
    }
    if (item->kind == LANE_QUESTION) {
        l->copies--;
        lane_item_free(item);
        return;
    }
    if (item->kind == LANE_COPY || item->kind == LANE_MEASURE) {
        l->copies--;
        l->copy_bytes -= item->size;
        copy_failed(l, item);
        return;
    }
    if (item->kind == LANE_READ) {
        lane_read_lost(item);
        return;
    }
    const struct effect *e = item->effect;
    l->figures.lost++;
    l->ops->lost(l, item);
    item->client = NULL;
    if (item->read != NULL) lane_read_dropped(item);
    if (e->writes) {
        lane_mark_keys(l, e->keys, e->key_count, true);
        if (e->keys_unknown || (e->barrier && !e->no_data)) l->ops->mark_everything(l);
    }
    l->journal->forget(l->journal->self, item->id);
    if (!item->outside && !item->barrier) {
        lane_item_free(item);
        return;
    }
    item->next = l->lost;
    l->lost = item;
}

void lane_primary_lost(struct lane *l) {
    ASSERT(l->primary_up);
    l->primary_up = false;
    l->primary_lost++;
    lane_big_lost(l);
    for (struct lane_item *item = lane_queue_pop(&l->flight); item != NULL;
         item = lane_queue_pop(&l->flight))
        lose(l, item);
}

/* Outside items that can no longer come between. */
static void settle_lost(struct lane *l) {
    struct lane_item *item = l->lost;
    l->lost = NULL;
    for (struct lane_item *next; item != NULL; item = next) {
        next = item->next;
        item->next = NULL;
        l->ops->settled(l, item, NULL);
    }
}

void lane_primary_gone(struct lane *l) {
    ASSERT(l->primary_lost > 0);
    if (--l->primary_lost == 0) settle_lost(l);
}

void lane_swap(struct lane *l, int32_t version) {
    bool primary_up = l->follower_open;
    unsigned primary_lost = l->follower_lost;
    ASSERT(l->flight.count == 0 && l->tail.count == 0 && l->sent.count == 0);
    settle_lost(l);
    lane_big_end(l);
    lane_marks_sent_all(&l->marks);
    l->no_memory_usage = false;
    l->follower_version = l->primary_version;
    l->follower_open = l->primary_up;
    l->follower_lost = l->primary_lost;
    l->follower_up = l->follower_open && l->follower_lost == 0;
    l->primary_up = primary_up;
    l->primary_lost = primary_lost;
    l->primary_version = version;
}

void lane_buried(struct lane *l, enum lane_side side) {
    if (side == LANE_P)
        l->primary_lost++;
    else
        l->follower_lost++;
}

/* ---- what a hold would need ---- */

#define COPY_MAX_US 5000000u /* a hot key is copied each second */

void lane_note_copy(struct lane *l, uint64_t began_us, size_t bytes) {
    struct lane_figures *f = &l->figures;
    uint64_t now_us = clock_mono_us(l->clock), took_us = now_us > began_us ? now_us - began_us : 0;
    f->copy_bytes += bytes;
    f->copy_us = f->copy_us == 0 ? took_us : (f->copy_us * 15 + took_us) / 16;
    if (took_us < lane_copy_us_max(l)) return;
    f->copy_us_max = took_us;
    f->copy_max_at_us = now_us;
}

uint64_t lane_copy_us_max(const struct lane *l) {
    bool old = clock_mono_us(l->clock) - l->figures.copy_max_at_us > COPY_MAX_US;
    return old ? 0 : l->figures.copy_us_max;
}

static uint64_t windows_since(const struct lane *l) {
    return (clock_mono_us(l->clock) - l->figures.refusals_at_us) / COPY_MAX_US;
}

void lane_note_refusal(struct lane *l) {
    struct lane_figures *f = &l->figures;
    uint64_t windows = windows_since(l);
    if (windows > 0) {
        f->refusals_before = windows == 1 ? f->refusals : 0;
        f->refusals = 0;
        f->refusals_at_us = clock_mono_us(l->clock);
    }
    f->refusals++;
}

uint64_t lane_refused_keys(const struct lane *l) {
    const struct lane_figures *f = &l->figures;
    uint64_t windows = windows_since(l);
    uint64_t most = windows == 0 && f->refusals_before > f->refusals ? f->refusals_before
                    : windows <= 1                                  ? f->refusals
                                                                    : 0;
    return (most + 4) / (COPY_MAX_US / 1000000);
}

uint64_t lane_lag_us(const struct lane *l) {
    const struct lane_item *first = l->sent.head != NULL ? l->sent.head : l->tail.head;
    uint64_t now_us = clock_mono_us(l->clock);
    return first == NULL || first->at_us == 0 || first->at_us > now_us ? 0 : now_us - first->at_us;
}

/* ---- passes ---- */

bool lane_pass_begin(struct lane *l) {
    if (!l->follower_up || l->primary_lost > 0 || l->keys.pinned_all > 0) return false;
    lane_keys_pass_begin(&l->keys);
    l->pass_at = l->queued;
    return true;
}

void lane_pass_name(struct lane *l, int32_t db, struct slice name) {
    if (lane_keys_in_pass(&l->keys, slot_cluster(name)))
        lane_keys_mark(&l->keys, db, name, false, 0);
}

bool lane_pass_may_name(const struct lane *l) {
    return l->keys.count <= l->rules.keys_max / 2 && l->keys.dirty_count < 10000;
}

/* The keys of what is unanswered are dirty (C15). */
void lane_pass_end(struct lane *l) {
    for (const struct lane_item *item = l->flight.head; item != NULL; item = item->next) {
        if (item->effect != NULL && item->effect->writes)
            lane_mark_keys(l, item->effect->keys, item->effect->key_count, false);
        if (item->kind == LANE_BURST) lane_mark_keys(l, item->keys, item->key_count, false);
    }
    lane_keys_pass_end(&l->keys);
}

void lane_pass_drop(struct lane *l) {
    lane_keys_pass_drop(&l->keys);
}

bool lane_pass_is_settled(const struct lane *l) {
    return l->holding && !l->stopped && l->primary_up && l->follower_up && l->primary_lost == 0 &&
           l->copies == 0 && l->big.key == NULL && l->keys.pinned_all == 0;
}

/* A full table of keys is no reason to wait: while copies are held it does not get emptier. */
bool lane_pass_may_take(const struct lane *l) {
    return l->follower_up && l->tail.count < l->rules.queue_items_max / 2 &&
           l->tail.bytes < l->rules.queue_bytes_max / 2;
}

/* As copy_answered(), but that nobody asked P: so no key is called clean by it. Its slot is, at the
 * end, if nothing was said of the key until then. */
void lane_pass_value(struct lane *l, int32_t db, struct slice name,
                     const struct lane_value *value) {
    if (!lane_keys_in_pass(&l->keys, slot_cluster(name))) return;
    if (lane_keys_find(&l->keys, db, name) != NULL) return; /* written since, or it will be copied */
    if (value == NULL || !l->follower_up || l->keys.pinned_all > 0) {
        lane_keys_mark(&l->keys, db, name, false, 0);
        return;
    }
    struct lane_value fit = *value;
    struct lane_item *item = NEW(struct lane_item);
    item->kind = LANE_COPY;
    item->id = l->next_id++;
    item->at_us = clock_mono_us(l->clock);
    item->db = item->db_after = db;
    buf_add(&item->name, name);
    item->keys = NEW(struct effect_key);
    item->keys[0] = (struct effect_key){
        .name = buf_slice(&item->name), .db = db, .use = EFFECT_WRITE | EFFECT_WHOLE};
    item->key_count = 1;
    item->replies = 1;
    lane_copy_fit(l->follower_version, &fit, &l->scratch);
    lane_copy_restore(&item->bytes, name, &fit);
    struct lane_journal_key key = {buf_slice(&item->name), db};
    l->journal->entry(l->journal->self, item->id, &key, 1);
    set_deadline(l, item, fit.deadline_ms);
    l->figures.copies++;
    lane_follow(l, item);
}
