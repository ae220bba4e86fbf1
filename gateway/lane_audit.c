/* lane_audit.c -- an audit in the lanes: when what is read. See lane_audit.h. */
#include "gateway/lane_audit_inside.h"

#define BURST_US 200000u /* credit is given for so long at once */
#define FLYING_BYTES_MAX (8u << 20)

const struct lane_audit_rules lane_audit_rules_default = {
    .keys_per_s = 10000,
    .bytes_per_s = 32u << 20,
    .reads_max = 32,
    .late_max = 10000,
    .late_ms = 60000,
    .stuck_ms = 300000,
    .whole_bytes_max = 1u << 20,
    .slack_ms = 2000,
};

const char *lane_differs_text(enum lane_differs differs) {
    static const char *const names[] = {"equal",  "missing", "extra",    "type",
                                        "expiry", "value",   "undecided"};
    return names[differs];
}

void lane_audit_init(struct lane_audit *a, const struct lane_audit_ops *ops, void *self,
                     struct lane *lanes, unsigned count, const struct clock *clock) {
    *a = (struct lane_audit){
        .ops = ops, .self = self, .lanes = lanes, .count = count, .clock = clock, .fences = UINT64_MAX};
    a->watch.copied = lane_audit_copied;
    list_init(&a->page);
    list_init(&a->fresh);
    list_init(&a->late);
    list_init(&a->big);
    list_init(&a->flying);
    a->late_by_name = NEW_ARRAY(struct list, LANE_AUDIT_BUCKETS);
    for (unsigned i = 0; i < LANE_AUDIT_BUCKETS; i++) list_init(&a->late_by_name[i]);
}

static void watch(struct lane_audit *a, struct lane_watch *by) {
    for (unsigned i = 0; i < a->count; i++) a->lanes[i].watch = by;
}

static void drop(struct list *list) {
    while (!list_is_empty(list)) lane_check_free(LIST_OWNER(list->next, struct lane_check, link));
}

/* But for what is on its way, which ends when it is answered. */
static void drop_waiting(struct lane_audit *a) {
    drop(&a->page);
    drop(&a->fresh);
    drop(&a->late);
    drop(&a->big);
    if (a->huge != NULL && lane_pieces_waits(a->huge)) lane_check_free(a->huge);
}

static void forget_results(struct lane_audit *a) {
    for (size_t i = 0; i < a->named_count; i++) mem_free(a->named[i]);
    a->named_count = 0;
    mem_free(a->seen);
    a->seen = NULL;
    a->seen_count = a->seen_cap = 0;
    buf_close(&a->repair);
    a->repair_full = false;
    a->figures = (struct lane_audit_figures){0};
    a->error = NULL;
    a->started_ms = a->ended_ms = 0;
}

void lane_audit_close(struct lane_audit *a) {
    if (a->late_by_name == NULL) return; /* it was never begun */
    watch(a, NULL);
    drop_waiting(a);
    drop(&a->flying);
    forget_results(a);
    digester_free(a->digester);
    buf_close(&a->scratch);
    mem_free(a->late_by_name);
    *a = (struct lane_audit){0};
}

static bool has_dirty_slots(const struct lane_audit *a) {
    for (unsigned i = 0; i < a->count; i++)
        if (a->lanes[i].keys.dirty_slot_count > 0) return true;
    return false;
}

const char *lane_audit_start(struct lane_audit *a, const struct lane_audit_rules *rules) {
    if (lane_audit_runs(a)) return "an audit is running already";
    if (a->flying_count > 0) return "the last audit is still ending";
    if (has_dirty_slots(a)) return "the baseline has not ended: there is no copy to be audited";
    forget_results(a);
    a->rules = *rules;
    a->state = LANE_AUDIT_AT_P;
    a->db = 0;
    a->cursor = a->next_cursor = 0;
    a->counted = a->tried = false;
    a->asked = LANE_AUDIT_NOTHING;
    a->ask_again_ms = 0;
    a->key_credit = a->byte_credit = 0;
    a->credit_us = clock_mono_us(a->clock);
    a->started_ms = clock_wall_ms(a->clock);
    lane_audit_moved(a);
    watch(a, &a->watch);
    return NULL;
}

static void finish(struct lane_audit *a, const char *error) {
    if (error != NULL) a->error = error;
    a->ended_ms = clock_wall_ms(a->clock);
    a->state = LANE_AUDIT_DONE;
    watch(a, NULL);
    drop_waiting(a);
}

void lane_audit_stop(struct lane_audit *a, const char *why) {
    if (lane_audit_runs(a)) finish(a, why);
}

/* ---- what leaves ---- */

static void give_credit(struct lane_audit *a) {
    uint64_t now_us = clock_mono_us(a->clock), us = now_us - a->credit_us;
    if (us < 1000) return;
    if (us > BURST_US) us = BURST_US;
    a->credit_us = now_us;
    a->key_credit += (int64_t)(us * a->rules.keys_per_s / 1000);
    a->byte_credit += (int64_t)(us * (a->rules.bytes_per_s / 1000) / 1000);
    int64_t keys_max = (int64_t)(BURST_US * a->rules.keys_per_s / 1000) + 1000;
    int64_t bytes_max = (int64_t)(BURST_US * (a->rules.bytes_per_s / 1000) / 1000) + 1;
    if (a->key_credit > keys_max) a->key_credit = keys_max;
    if (a->byte_credit > bytes_max) a->byte_credit = bytes_max;
}

static bool has_credit(const struct lane_audit *a) {
    return (a->rules.keys_per_s == 0 || a->key_credit >= 1000) &&
           (a->rules.bytes_per_s == 0 || a->byte_credit > 0);
}

static bool may_read(const struct lane_audit *a, const struct lane_check *c) {
    const struct lane *l = c->lane;
    return lane_may_send(l) && l->follower_up && a->flying_count < a->rules.reads_max &&
           l->tail.count < l->rules.queue_items_max / 2 &&
           l->tail.bytes < l->rules.queue_bytes_max / 2 && has_credit(a);
}

static bool is_huge(const struct lane_audit *a, const struct lane_check *c) {
    return c->usage > a->rules.whole_bytes_max;
}

static void send_one(struct lane_audit *a, struct lane_check *c) {
    a->key_credit -= 1000;
    if (!is_huge(a, c)) {
        lane_check_send(c);
        return;
    }
    lane_check_take(c);
    lane_check_put(c, &a->big, &a->big_count);
}

static void send_fresh(struct lane_audit *a) {
    while (!list_is_empty(&a->fresh)) {
        struct lane_check *c = LIST_OWNER(a->fresh.next, struct lane_check, link);
        if (!may_read(a, c)) return;
        send_one(a, c);
    }
}

/* A dirty one waits for its copy, and is read behind it: lane_audit_copied(). */
static void send_late(struct lane_audit *a) {
    uint64_t now_ms = clock_mono_ms(a->clock);
    size_t left = a->late_count;
    while (left-- > 0 && !list_is_empty(&a->late)) {
        struct lane_check *c = LIST_OWNER(a->late.next, struct lane_check, link);
        if (now_ms < c->not_before_ms) return; /* they are in the order of it */
        if (now_ms - c->late_since_ms > a->rules.late_ms) {
            lane_check_end(c, LANE_UNDECIDED, NULL, c->why);
            continue;
        }
        bool clean = !lane_keys_is_dirty(&c->lane->keys, c->read.db, c->read.name);
        if (clean && !may_read(a, c)) return;
        if (clean) {
            send_one(a, c);
            continue;
        }
        c->not_before_ms = now_ms + 200;
        list_remove(&c->link);
        list_push(&a->late, &c->link);
    }
}

static void read_pieces(struct lane_audit *a) {
    if (a->huge == NULL && !list_is_empty(&a->big)) {
        struct lane_check *c = LIST_OWNER(a->big.next, struct lane_check, link);
        if (!may_read(a, c)) return;
        lane_check_take(c);
        a->huge = c;
        lane_check_put(c, &a->flying, &a->flying_count);
        lane_pieces_begin(c);
    }
    if (a->huge != NULL && a->byte_credit > 0) lane_pieces_turn(a->huge);
}

static bool is_at_end(const struct lane_audit *a) {
    return a->state == LANE_AUDIT_LATE && a->page_count == 0 && a->fresh_count == 0 &&
           a->late_count == 0 && a->big_count == 0 && a->flying_count == 0;
}

void lane_audit_turn(struct lane_audit *a) {
    if (!lane_audit_runs(a)) return;
    if (has_dirty_slots(a)) {
        finish(a, "a side was lost, or is another process: the lanes copy all keys again");
        return;
    }
    if (a->paused) {
        lane_audit_moved(a);
        return;
    }
    give_credit(a);
    lane_audit_list(a);
    send_fresh(a);
    send_late(a);
    read_pieces(a);
    if (is_at_end(a))
        finish(a, NULL);
    else if (clock_mono_ms(a->clock) - a->moved_ms > a->rules.stuck_ms)
        finish(a, "nothing could be read for too long");
}

void lane_audit_wrote(struct lane_audit *a, const struct effect *e) {
    if (a->huge == NULL) return;
    const struct lane_read *read = &a->huge->read;
    bool touched = e->keys_unknown || e->barrier;
    for (size_t i = 0; i < e->key_count; i++)
        touched |= (e->keys[i].use & EFFECT_WRITE) && e->keys[i].db == read->db &&
                   slice_equal(e->keys[i].name, read->name);
    if (touched)
        lane_pieces_void(a->huge,
                         "it is larger than what is read at once, and written all the time");
}

/* ---- repair ---- */

uint64_t lane_audit_repair(struct lane_audit *a, bool *full) {
    struct slice rest = buf_slice(&a->repair);
    uint64_t count = 0;
    while (rest.size > 0) {
        int32_t db;
        uint32_t bytes;
        memcpy(&db, rest.data, sizeof db);
        memcpy(&bytes, rest.data + sizeof db, sizeof bytes);
        struct slice name = slice_take(slice_drop(rest, sizeof db + sizeof bytes), bytes);
        struct lane *lane = lane_audit_lane(a, name);
        if (lane != NULL) lane_mark(lane, db, name);
        rest = slice_drop(rest, sizeof db + sizeof bytes + bytes);
        count++;
    }
    *full = a->repair_full;
    return count;
}
