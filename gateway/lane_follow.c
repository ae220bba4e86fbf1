/* lane_follow.c -- F's side of a lane: the queue, refusals, fences. See lane.h. */
#include "gateway/lane_inside.h"

#include "lib/redis/resp.h"

/* The end of an item whose effect F may not have: what it writes is dirty. */
static void give_up(struct lane *l, struct lane_item *item, bool sent) {
    uint64_t id = item->id;
    if (item->kind == LANE_READ) {
        lane_read_lost(item);
        return;
    }
    lane_mark_keys(l, item->keys, item->key_count, true);
    l->figures.dropped += lane_item_units(item);
    if (item->kind != LANE_FENCE) {
        lane_forget(l, item);
        return;
    }
    l->ops->lost_fence(l, item, sent); /* everything is dirty now */
    l->journal->forget(l->journal->self, id);
}

/* C20: the whole unsent tail, never single items from the middle. */
static void drop_tail(struct lane *l) {
    for (struct lane_item *item = lane_queue_pop(&l->tail); item != NULL;
         item = lane_queue_pop(&l->tail)) {
        l->queued -= lane_item_units(item);
        give_up(l, item, false);
    }
}

#define SHED_ITEMS 1024u

void lane_shed(struct lane *l) {
    if (l->tail.count <= SHED_ITEMS) return;
    for (const struct lane_item *item = l->tail.head; item != NULL; item = item->next)
        if (item->kind == LANE_FENCE) return; /* its loss would make everything dirty */
    drop_tail(l);
}

static bool has_window(const struct lane *l, const struct lane_item *item) {
    bool room = l->sent.count + lane_item_units(item) <= l->rules.window_items_max;
    return l->sent.head == NULL || (room && l->sent.bytes <= l->rules.window_bytes_max);
}

/* Send what the window has room for, up to a fence that is closed. */
static void pump(struct lane *l) {
    while (l->tail.head != NULL && has_window(l, l->tail.head)) {
        struct lane_item *item = l->tail.head;
        if (item->kind == LANE_FENCE && !item->passing) {
            if (l->sent.count == 0 && !item->told) {
                item->told = true;
                l->ops->at_fence(l, item);
            }
            return;
        }
        lane_queue_push(&l->sent, lane_queue_pop(&l->tail));
        l->ops->to_follower(l, item);
    }
}

void lane_follow(struct lane *l, struct lane_item *item) {
    if (!l->follower_up) {
        give_up(l, item, false);
        return;
    }
    l->queued += lane_item_units(item);
    if (item->at_us == 0) item->at_us = clock_mono_us(l->clock);
    if (item->kind == LANE_FENCE)
        lane_marks_sent_all(&l->marks);
    else
        lane_marks_sent(&l->marks, item->keys, item->key_count);
    lane_queue_push(&l->tail, item);
    pump(l);
    if (l->tail.count > l->rules.queue_items_max || l->tail.bytes > l->rules.queue_bytes_max)
        drop_tail(l);
}

void lane_follow_mark(struct lane *l) {
    uint64_t now_ms = clock_mono_ms(l->clock);
    struct lane_marks *m = &l->marks;
    if (!l->follower_up || !m->any || m->name[0] == '\0' || now_ms < m->next_ms) return;
    struct lane_item *item = NEW(struct lane_item);
    m->next_ms = now_ms + l->rules.mark_interval_ms;
    item->kind = LANE_MARK;
    item->id = l->next_id++;
    item->replies = 1;
    lane_marks_write(m, l->follower_is_bundled, &item->bytes);
    lane_follow(l, item);
}

struct restarted {
    struct lane *lane;
    size_t count;
};

static void sent_since(void *self, int32_t db, struct slice name) {
    struct restarted *r = self;
    r->count++;
    lane_mark(r->lane, db, name);
}

size_t lane_follower_restarted(struct lane *l, struct slice answer) {
    struct restarted r = {l, 0};
    ASSERT(l->sent.count == 0 && l->tail.count == 0);
    bool known = lane_marks_since(&l->marks, answer, sent_since, &r);
    if (!known) lane_mark_all(l);
    l->marks.any = true; /* what it has is an old mark, or none */
    return known ? r.count : SIZE_MAX;
}

bool lane_fence(struct lane *l, struct lane_item *fence) {
    if (!l->follower_up) return false;
    ASSERT(fence->kind == LANE_FENCE);
    /* Until F has done what P did, no key is known to be the same: so it is after a crash, too. */
    fence->id = l->next_id++;
    if (fence->replies > 0 && !fence->harmless) l->journal->entry_all(l->journal->self, fence->id);
    lane_follow(l, fence);
    return true;
}

void lane_fence_pass(struct lane *l) {
    struct lane_item *fence = l->tail.head;
    ASSERT(fence != NULL && fence->kind == LANE_FENCE && l->sent.count == 0);
    if (fence->replies > 0) {
        fence->passing = true;
    } else {
        (void)lane_queue_pop(&l->tail);
        l->done++;
        lane_forget(l, fence);
    }
    pump(l);
}

static void look_up(struct lane *l) {
    l->follower_up = l->follower_open && l->follower_lost == 0;
}

void lane_follower_up(struct lane *l, int32_t version) {
    ASSERT(!l->follower_open);
    l->follower_open = true;
    l->follower_version = version;
    look_up(l);
}

/* What was sent may be executed or not, and what was not sent counts on what was: all is dirty. */
void lane_follower_lost(struct lane *l) {
    ASSERT(l->follower_open);
    l->follower_open = l->follower_up = false;
    l->follower_lost++;
    lane_big_end(l);
    drop_tail(l);
    for (struct lane_item *item = lane_queue_pop(&l->sent); item != NULL;
         item = lane_queue_pop(&l->sent)) {
        l->done += lane_item_units(item);
        give_up(l, item, true);
    }
}

void lane_follower_gone(struct lane *l) {
    ASSERT(l->follower_lost > 0);
    l->follower_lost--;
    look_up(l);
}

/* Any error in any of REPLIES, or a nil EXEC, or what is not RESP. */
static bool is_refused(const struct lane_item *item, struct slice replies) {
    struct why why;
    if (item->expect == 0 && slice_equal(replies, SLICE("+OK\r\n"))) return false; /* nearly always */
    bool first = true;
    while (replies.size > 0) {
        struct resp_token t;
        size_t used = 0;
        if (resp_next(&resp_limits_server, replies, &t, &used, &why) != STEP_DONE) return true;
        if (t.kind == RESP_ERROR || t.kind == RESP_BLOB_ERROR) return true;
        if (first && item->expect > 0 &&
            (t.kind != RESP_INT || (uint64_t)t.number + 1 != item->expect))
            return true;
        first = false;
        replies = slice_drop(replies, used);
        bool last = item->replies > 1 && replies.size == 0 && item->kind != LANE_PIECE;
        if (last && t.kind == RESP_NULL) return true;
    }
    return false;
}

static bool touches_stamp(const struct lane *l, const struct effect_key *keys, size_t count,
                          uint64_t stamp) {
    for (size_t i = 0; i < count; i++) {
        const struct lane_key *key = lane_keys_find(&l->keys, keys[i].db, keys[i].name);
        if (key != NULL && key->stamp == stamp) return true;
        if (key == NULL && lane_keys_is_dirty(&l->keys, keys[i].db, keys[i].name)) return true;
    }
    return false;
}

static void mark_stamped(struct lane *l, const struct effect_key *keys, size_t count,
                         uint64_t stamp) {
    lane_mark_keys(l, keys, count, true);
    for (size_t i = 0; i < count; i++) {
        struct lane_key *key = lane_keys_find(&l->keys, keys[i].db, keys[i].name);
        if (key != NULL && (keys[i].use & EFFECT_WRITE)) key->stamp = stamp;
    }
}

/* ITEM, or what is left of it from its key number FROM on, was sent behind what was refused. */
static void spread(struct lane *l, struct lane_item *item, size_t from, bool again,
                   uint64_t stamp) {
    if (item->kind == LANE_BURST) { /* each of its commands has one key */
        for (size_t i = from; i < item->key_count; i++)
            if (again || touches_stamp(l, &item->keys[i], 1, stamp))
                mark_stamped(l, &item->keys[i], 1, stamp);
        return;
    }
    if (item->kind == LANE_COPY) return;
    if (!again && !touches_stamp(l, item->keys, item->key_count, stamp)) return;
    if (item->kind == LANE_READ)
        item->spoiled = true;
    else
        mark_stamped(l, item->keys, item->key_count, stamp);
}

/* KEYS are of what was refused; BEHIND, from its key number FROM on, is what was sent next. C12b: what
 * was sent behind it and counts on its keys did something else at F than it should. What was not sent
 * is given up: it would have to be looked through, too. When a second one of the same window is
 * refused all of the window is dirty, so that a server that refuses everything costs no walk for each
 * item; what is sent later counts on none of it. */
static void refused(struct lane *l, const struct effect_key *keys, size_t count,
                    struct lane_item *behind, size_t from) {
    uint64_t stamp = ++l->keys.stamps, until = l->done + l->sent.count;
    bool again = l->done <= l->walked_until;
    l->figures.refused++;
    mark_stamped(l, keys, count, stamp);
    if (l->done <= l->spoiled_until) return;
    for (; behind != NULL; behind = behind->next, from = 0) spread(l, behind, from, again, stamp);
    l->walked_until = until;
    if (again) l->spoiled_until = until;
    drop_tail(l);
}

/* A server that does not read the payload, or has no RESTORE for us, takes the elements. */
static void choose_pieces(struct lane *l, const struct lane_item *item, struct slice replies) {
    if (!slice_starts(replies, SLICE("-ERR ")) && !slice_starts(replies, SLICE("-NOPERM "))) return;
    struct lane_key *key = lane_keys_find(&l->keys, item->db, buf_slice(&item->name));
    if (key != NULL) key->by_pieces = true;
}

/* Up to COUNT of its commands; how many. */
static uint32_t burst_answered(struct lane *l, struct lane_item *item, struct slice reply,
                               uint32_t count) {
    const struct effect_key *key = &item->keys[item->done];
    bool bad = is_refused(item, reply);
    uint32_t units = (uint32_t)lane_item_units(item), n = bad ? 1 : count < units ? count : units;
    bool last = lane_queue_count_down(&l->sent, n);
    l->done += n;
    if (bad) refused(l, key, 1, last ? l->sent.head : item, last ? 0 : item->done);
    if (last) lane_forget(l, item);
    if (l->tail.head != NULL) pump(l);
    return n;
}

uint32_t lane_follower_answered_alike(struct lane *l, struct slice replies, uint32_t count) {
    ASSERT(l->sent.head != NULL && count > 0);
    if (l->sent.head->kind == LANE_BURST) return burst_answered(l, l->sent.head, replies, count);
    lane_follower_answered(l, replies);
    return 1;
}

void lane_follower_answered(struct lane *l, struct slice replies) {
    ASSERT(l->sent.head != NULL);
    if (l->sent.head->kind == LANE_BURST) {
        (void)burst_answered(l, l->sent.head, replies, 1);
        return;
    }
    struct lane_item *item = lane_queue_pop(&l->sent);
    l->done++;
    if (item->kind == LANE_READ) {
        lane_read_followed(item, replies);
        pump(l);
        return;
    }
    uint64_t id = item->id;
    bool bad = is_refused(item, replies);
    if (item->kind == LANE_MARK) { /* without it there is an older one, or none */
        lane_item_free(item);
        pump(l);
        return;
    }
    if (bad) refused(l, item->keys, item->key_count, l->sent.head, 0);
    if (bad && item->kind == LANE_COPY) choose_pieces(l, item, replies);
    if (item->kind == LANE_COPY && bad) lane_note_refusal(l);
    if (item->kind == LANE_COPY && !bad) lane_note_copy(l, item->at_us, lane_item_bytes(item).size);
    if (item->kind == LANE_FENCE) item->spoiled = bad;
    if (item->kind == LANE_FENCE && bad && !item->harmless)
        l->ops->lost_fence(l, item, false);
    else if (item->kind == LANE_FENCE)
        l->ops->passed_fence(l, item);
    else
        lane_item_free(item);
    l->journal->forget(l->journal->self, id);
    pump(l);
}
