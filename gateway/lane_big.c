/* lane_big.c -- the copy of a big key, in chunks under a fence. See lane_big.h. */
#include "gateway/lane_big.h"

#include "gateway/lane_inside.h"

#include "lib/redis/resp.h"

#define RATE_ASSUMED 20000000u /* bytes a second, while nothing was measured */
#define PUT_OFF_MS_MAX 60000u
#define HOT_FAILURES 3u
#define HOT_TIMES 8u /* big_bytes: what may go in one DUMP all the same */
#define ELEMENT_BYTES 64u /* where MEMORY is refused */

static const uint8_t too_long[] = "-DRAWBRIDGE too long\r\n";
const struct slice lane_big_too_long = {too_long, sizeof too_long - 1};

/* ---- how big a key is ---- */

static const char *const lengths[] = {"STRLEN", "LLEN", "SCARD", "HLEN", "ZCARD", "XLEN"};

uint32_t lane_big_measure(const struct lane *l, struct buf *out, struct slice key) {
    if (!l->no_memory_usage) {
        struct slice argv[3] = {SLICE("MEMORY"), SLICE("USAGE"), key};
        resp_write_command(out, 3, argv);
        return 1;
    }
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct slice argv[2] = {slice_text(lengths[i]), key};
        resp_write_command(out, 2, argv);
    }
    return sizeof lengths / sizeof *lengths;
}

/* MEMORY is refused; a server that loads its data refuses everything. */
static bool is_refused(struct slice answer) {
    const uint8_t *end = answer.size > 0 ? memchr(answer.data, '\n', answer.size) : NULL;
    return answer.size == 0 || (answer.data[0] == '-' && end == answer.data + answer.size - 1);
}

bool lane_big_measured(struct lane *l, struct slice answer, uint64_t *size) {
    struct resp_token t;
    struct why why;
    uint64_t most = 0;
    unsigned which = 0;
    if (is_refused(answer)) {
        l->no_memory_usage = !slice_starts(answer, SLICE("-LOADING"));
        return false;
    }
    for (size_t used = 0; answer.size > 0; answer = slice_drop(answer, used), which++) {
        if (resp_next(&resp_limits_server, answer, &t, &used, &why) != STEP_DONE) break;
        if (t.kind != RESP_INT || t.number <= 0) continue; /* of lengths five are of other types */
        most = (uint64_t)t.number;
        bool bytes = which == 0; /* MEMORY USAGE, STRLEN */
        if (!bytes) most = most > UINT64_MAX / ELEMENT_BYTES ? UINT64_MAX : most * ELEMENT_BYTES;
    }
    *size = most;
    return true;
}

bool lane_big_is(const struct lane *l, const struct lane_key *key, uint64_t size) {
    if (key->whole_only) return false;
    if (key->by_pieces) return true;
    bool hot = key->failures >= HOT_FAILURES && size <= HOT_TIMES * l->rules.big_bytes;
    return size > l->rules.big_bytes && !hot;
}

/* ---- figures ---- */

static void note_size(struct lane *l, struct lane_key *key, uint64_t size) {
    if (key->big_bytes == 0) l->big.keys++;
    l->big.bytes = l->big.bytes - key->big_bytes + (size > 0 ? size : 1);
    key->big_bytes = size > 0 ? size : 1;
}

void lane_big_forget(struct lane *l, struct lane_key *key) {
    if (key->big_bytes == 0) return;
    l->big.keys--;
    l->big.bytes -= key->big_bytes;
    key->big_bytes = 0;
}

static uint64_t takes_ms(const struct lane *l, uint64_t bytes) {
    uint64_t rate = l->big.bytes_per_s > 0 ? l->big.bytes_per_s : RATE_ASSUMED;
    return bytes / (rate / 1000 + 1);
}

uint64_t lane_big_estimate_ms(const struct lane *l) {
    return takes_ms(l, l->big.bytes);
}

static void note_rate(struct lane *l, uint64_t bytes) {
    uint64_t ms = clock_mono_ms(l->clock) - l->big.began_ms + 1;
    uint64_t rate = bytes * 1000 / ms;
    l->big.bytes_per_s = l->big.bytes_per_s == 0 ? rate + 1 : (l->big.bytes_per_s * 3 + rate) / 4 + 1;
}

/* ---- beginning and ending ---- */

bool lane_big_begin(struct lane *l, struct lane_key *key, uint64_t size) {
    struct lane_big *b = &l->big;
    note_size(l, key, size);
    if (b->key != NULL) return false;
    b->key = key;
    b->gen = key->gen;
    b->began++;
    b->asked = false;
    b->closed = takes_ms(l, size) < l->rules.fence_ms;
    b->began_ms = clock_mono_ms(l->clock);
    b->waited_since_ms = 0;
    chunks_begin(&b->chunks, l->primary_version, l->follower_version, lane_key_name(key),
                 l->rules.chunk_bytes);
    return true;
}

/* The fence falls; the key wants another copy, or is clean. */
static void end(struct lane *l, bool clean, uint64_t due_ms) {
    struct lane_key *key = l->big.key;
    l->big.key = NULL;
    chunks_close(&l->big.chunks);
    if (clean) lane_big_forget(l, key);
    lane_keys_copied(&l->keys, key, clean, due_ms);
}

static void give_up(struct lane *l) {
    struct lane_key *key = l->big.key;
    uint64_t wait_ms = l->rules.copy_interval_ms << (key->failures < 16 ? key->failures : 16);
    if (wait_ms > PUT_OFF_MS_MAX) wait_ms = PUT_OFF_MS_MAX;
    key->failures++;
    l->big.given_up++;
    end(l, false, clock_mono_ms(l->clock) + wait_ms + 1);
}

/* A question that is on its way finds no copy when it is answered. */
void lane_big_end(struct lane *l) {
    if (l->big.key != NULL) give_up(l);
}

void lane_big_close(struct lane *l) {
    chunks_close(&l->big.chunks);
    l->big.key = NULL;
}

void lane_big_lost(struct lane *l) {
    l->big.asked = false;
    lane_big_end(l);
}

static bool is_stale(const struct lane *l) {
    const struct lane_key *key = l->big.key;
    return key->gen != l->big.gen || key->pins > 0 || l->keys.pinned_all > 0 || !l->follower_up;
}

/* ---- the fence ---- */

static bool writes_it(const struct lane *l, const struct effect *effect) {
    const struct lane_key *key = l->big.key;
    for (size_t i = 0; i < effect->key_count; i++)
        if ((effect->keys[i].use & EFFECT_WRITE) && effect->keys[i].db == key->db &&
            slice_equal(effect->keys[i].name, lane_key_name(key)))
            return true;
    return false;
}

bool lane_big_stops(struct lane *l, const struct effect *effect) {
    struct lane_big *b = &l->big;
    if (b->key == NULL || !effect->writes) return false;
    if (effect->keys_unknown) {
        give_up(l);
        return false;
    }
    if (!writes_it(l, effect)) return false;
    if (!b->closed || effect->barrier) {
        give_up(l);
        return false;
    }
    if (b->waited_since_ms == 0) b->waited_since_ms = clock_mono_ms(l->clock);
    return true;
}

/* ---- turns ---- */

static bool has_waited_enough(const struct lane *l) {
    return l->big.waited_since_ms != 0 && !l->hurry &&
           clock_mono_ms(l->clock) - l->big.waited_since_ms > l->rules.fence_ms;
}

static void ask(struct lane *l) {
    struct lane_item *item = NEW(struct lane_item);
    struct lane_big *b = &l->big;
    item->kind = LANE_QUESTION;
    item->id = l->next_id++;
    item->db = item->db_after = b->key->db;
    item->limit_bytes = chunks_limit(&b->chunks);
    item->gen = b->began;
    lane_queue_push(&l->flight, item);
    l->copies++;
    b->asked = true;
    buf_clear(&l->scratch);
    uint32_t replies = chunks_ask(&b->chunks, &l->scratch);
    l->ops->to_primary(l, item, buf_slice(&l->scratch), replies, item->db, item->db);
}

void lane_big_turn(struct lane *l) {
    struct lane_big *b = &l->big;
    if (b->key == NULL) return;
    if (is_stale(l) || has_waited_enough(l)) {
        give_up(l);
        return;
    }
    bool room = l->tail.bytes + l->sent.bytes < l->rules.big_queue_bytes &&
                l->tail.count + l->copies < (l->rules.queue_items_max + 1) / 2;
    if (!b->asked && room && lane_may_send(l) && l->primary_lost == 0) ask(l);
}

/* ---- answers ---- */

/* A piece for F. It counts on the pieces before it: when one of them is refused, all are. */
static struct lane_item *piece(struct lane *l, struct buf *bytes, uint32_t replies) {
    struct lane_item *item = NEW(struct lane_item);
    struct lane_key *key = l->big.key;
    item->kind = LANE_PIECE;
    item->id = l->next_id++;
    item->db = item->db_after = key->db;
    buf_add(&item->name, lane_key_name(key));
    item->bytes = *bytes;
    item->replies = replies;
    item->keys = &item->one_key;
    item->one_key = (struct effect_key){
        .name = buf_slice(&item->name), .db = key->db, .use = EFFECT_WRITE | EFFECT_READ};
    item->key_count = 1;
    struct lane_journal_key in_journal = {item->keys[0].name, key->db};
    l->journal->entry(l->journal->self, item->id, &in_journal, 1);
    *bytes = (struct buf){0};
    return item;
}

static void done(struct lane *l, struct buf *bytes, uint32_t replies) {
    const struct chunks *p = &l->big.chunks;
    struct lane_item *last = piece(l, bytes, replies);
    uint64_t hash = lane_deadlines_hash(last->db, buf_slice(&last->name));
    int64_t deadline_ms = p->deadline_ms;
    last->expect = (uint64_t)p->length + 1;
    note_rate(l, l->big.key->big_bytes);
    l->big.copied++;
    l->figures.copies++;
    end(l, true, 0);
    lane_deadlines_set(&l->deadlines, hash, deadline_ms == 0 ? LANE_DEADLINE_NONE : deadline_ms, 0);
    lane_follow(l, last);
}

static void take(struct lane *l, struct slice answer) {
    struct buf bytes = {0};
    uint32_t requests = 0;
    switch (chunks_take(&l->big.chunks, answer, &bytes, &requests)) {
    case CHUNKS_MORE:
        if (requests > 0) lane_follow(l, piece(l, &bytes, requests));
        break;
    case CHUNKS_DONE: done(l, &bytes, requests); break;
    case CHUNKS_CANNOT:
        l->big.key->whole_only = true;
        end(l, false, 0);
        break;
    case CHUNKS_CHANGED:
    default: give_up(l); break;
    }
    buf_close(&bytes);
    if (l->big.key != NULL) lane_big_turn(l);
}

void lane_big_answered(struct lane *l, struct lane_item *item, struct slice answer) {
    struct lane_big *b = &l->big;
    bool of_this = b->key != NULL && item->gen == b->began;
    lane_item_free(item);
    l->copies--;
    if (!of_this) return;
    b->asked = false;
    if (is_stale(l))
        give_up(l);
    else if (slice_equal(answer, lane_big_too_long))
        chunks_less(&b->chunks);
    else
        take(l, answer);
}
