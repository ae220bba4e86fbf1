/* lane_scan.c -- a pass over both sides. See lane_scan.h. */
#include "gateway/lane_scan.h"

#include "gateway/filter.h"
#include "gateway/reply_token.h"

#include "lib/redis/resp.h"

#include <errno.h>
#include <stdlib.h>

void lane_scan_init(struct lane_scan *s, struct lane *lanes, unsigned count) {
    *s = (struct lane_scan){.lanes = lanes, .count = count, .databases = {16, 16}};
}

static void hold(struct lane_scan *s, bool holding) {
    for (unsigned i = 0; i < s->count; i++) s->lanes[i].holding = holding;
}

void lane_scan_restart(struct lane_scan *s) {
    if (s->state == LANE_SCAN_IDLE) return;
    hold(s, false);
    for (unsigned i = 0; i < s->count; i++) lane_pass_drop(&s->lanes[i]);
    s->state = LANE_SCAN_IDLE;
    s->asked = false;
}

/* A file is for a baseline: with a few slots it would be asked for again after each bad day. */
static bool is_baseline(const struct lane_scan *s) {
    for (unsigned i = 0; i < s->count; i++) {
        size_t owned = 0;
        for (unsigned slot = i; slot < LANE_SLOTS; slot += s->count)
            owned += lane_keys_owns(&s->lanes[i].keys, slot);
        if (s->lanes[i].keys.dirty_slot_count < owned) return false;
    }
    return true;
}

static bool begin(struct lane_scan *s) {
    bool wanted = false;
    if (s->put_off) return false;
    for (unsigned i = 0; i < s->count; i++) {
        const struct lane *l = &s->lanes[i];
        if (!l->follower_up || !l->primary_up) return false;
        if (l->keys.dirty_slot_count > 0) wanted = true;
    }
    if (!wanted) return false;
    s->state = LANE_SCAN_DRAINING;
    for (unsigned i = 0; i < s->count; i++) {
        if (lane_pass_begin(&s->lanes[i])) continue;
        lane_scan_restart(s);
        return false;
    }
    s->names = s->items = 0;
    s->file_now = s->by_file && is_baseline(s);
    return true;
}

static bool may_list(const struct lane_scan *s) {
    for (unsigned i = 0; i < s->count; i++)
        if (!lane_pass_may_list(&s->lanes[i])) return false;
    return true;
}

static bool has_room(const struct lane_scan *s) {
    for (unsigned i = 0; i < s->count; i++)
        if (!lane_pass_may_name(&s->lanes[i])) return false;
    return true;
}

static bool is_settled(const struct lane_scan *s) {
    for (unsigned i = 0; i < s->count; i++)
        if (!lane_pass_is_settled(&s->lanes[i])) return false;
    return true;
}

bool lane_scan_turn(struct lane_scan *s, enum lane_side *side) {
    if (s->state == LANE_SCAN_IDLE && !begin(s)) return false;
    if (s->state >= LANE_SCAN_SETTLING) {
        if (s->state == LANE_SCAN_SETTLING && is_settled(s)) {
            s->state = LANE_SCAN_WAITING;
            s->waits++;
        }
        return false;
    }
    if (s->state == LANE_SCAN_DRAINING) {
        if (!may_list(s)) return false;
        s->state = LANE_SCAN_F;
        s->db = 0;
        s->cursor = 0;
    }
    if (s->asked || !has_room(s)) return false;
    *side = s->state == LANE_SCAN_F ? LANE_F : LANE_P;
    s->asked = true;
    s->round++;
    return true;
}

static void end_pass(struct lane_scan *s) {
    hold(s, false);
    for (unsigned i = 0; i < s->count; i++) lane_pass_end(&s->lanes[i]);
    s->state = LANE_SCAN_IDLE;
    s->passes++;
}

/* The database is at its end: the next one, the other side, or done. */
static void next_database(struct lane_scan *s) {
    s->cursor = 0;
    if (++s->db < s->databases[s->state == LANE_SCAN_F ? LANE_F : LANE_P]) return;
    s->db = 0;
    if (s->state == LANE_SCAN_P) {
        end_pass(s);
        return;
    }
    s->state = s->file_now ? LANE_SCAN_SETTLING : LANE_SCAN_P;
    if (s->file_now) hold(s, true);
}

static bool take_cursor(struct slice *rest, uint64_t *cursor) {
    struct resp_token t;
    char text[24];
    if (!reply_token_of(rest, RESP_BULK, &t)) return false;
    if (t.text.size == 0 || t.text.size >= sizeof text) return false;
    memcpy(text, t.text.data, t.text.size);
    text[t.text.size] = '\0';
    for (size_t i = 0; i < t.text.size; i++)
        if (text[i] < '0' || text[i] > '9') return false;
    errno = 0;
    *cursor = strtoull(text, NULL, 10);
    return errno == 0;
}

static bool take_page(struct lane_scan *s, struct slice answer, uint64_t *cursor) {
    struct resp_token t;
    if (!reply_token_of(&answer, RESP_ARRAY, &t) || t.number != 2) return false;
    if (!take_cursor(&answer, cursor) || !reply_token_of(&answer, RESP_ARRAY, &t)) return false;
    for (int64_t i = t.number; i > 0; i--) {
        if (!reply_token_of(&answer, RESP_BULK, &t)) return false;
        if (filter_is_hidden(t.text)) continue; /* a link's, which is nobody's data (C5a) */
        lane_pass_name(&s->lanes[lane_of(s->count, t.text)], s->db, t.text);
        s->names++;
    }
    return true;
}

bool lane_scan_page(struct lane_scan *s, uint64_t round, struct slice answer) {
    uint64_t cursor = 0;
    if (!s->asked || round != s->round) return true; /* the pass began again meanwhile */
    s->asked = false;
    if (!take_page(s, answer, &cursor)) {
        lane_scan_restart(s);
        return false;
    }
    s->cursor = cursor;
    if (cursor == 0) next_database(s);
    return true;
}

/* ---- by a file ---- */

uint64_t lane_scan_file_begins(struct lane_scan *s) {
    ASSERT(s->state == LANE_SCAN_WAITING);
    s->state = LANE_SCAN_FILE;
    s->items = 0;
    return ++s->round;
}

bool lane_scan_may_take(const struct lane_scan *s, uint64_t round) {
    if (s->state != LANE_SCAN_FILE || s->round != round) return true; /* and be told the end */
    for (unsigned i = 0; i < s->count; i++)
        if (!lane_pass_may_take(&s->lanes[i])) return false;
    return true;
}

bool lane_scan_item(struct lane_scan *s, uint64_t round, int32_t db, struct slice name,
                    const struct lane_value *value) {
    if (s->state != LANE_SCAN_FILE || s->round != round) return false;
    if (filter_is_hidden(name)) return true;
    lane_pass_value(&s->lanes[lane_of(s->count, name)], db, name, value);
    s->items++;
    return true;
}

void lane_scan_file_ended(struct lane_scan *s, uint64_t round, bool whole) {
    if (s->state != LANE_SCAN_FILE || s->round != round) return;
    s->state = LANE_SCAN_WAITING;
    if (!whole) return;
    s->by_file = false;
    end_pass(s);
}

void lane_scan_flushed(struct lane_scan *s) {
    if (s->state >= LANE_SCAN_SETTLING) lane_scan_restart(s);
}
