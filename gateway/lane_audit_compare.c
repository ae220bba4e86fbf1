/* lane_audit_compare.c -- one key of an audit: both values, and what they are to each other. See
 * lane_audit.h. */
#include "gateway/lane_audit_inside.h"

#include "gateway/lane_copy.h"

#include "lib/redis/bytes.h"
#include "lib/redis/dump.h"

#include <xxhash.h>

#define HAS_PEXPIRETIME 70000
#define OLD_TTL_MS 2 /* C3: before 7.0 deadlines are known to within 2 ms */
#define AGAIN_MS 200u
#define DIFFERENT_MAX (4u << 20) /* keys that are remembered as different */

enum digest_streams lane_audit_streams(const struct lane_check *c) {
    bool both = c->lane->primary_version >= HAS_PEXPIRETIME &&
                c->audit->follower_version >= HAS_PEXPIRETIME;
    return both ? DIGEST_STREAM_CARRIED : DIGEST_STREAM_OLD;
}

/* ---- lists ---- */

void lane_check_take(struct lane_check *c) {
    if (!list_is_linked(&c->link)) return;
    list_remove(&c->link);
    list_remove(&c->bucket);
    if (c->counted != NULL) --*c->counted;
    c->counted = NULL;
}

void lane_check_free(struct lane_check *c) {
    lane_check_take(c);
    if (c->audit->huge == c) c->audit->huge = NULL;
    lane_pieces_free(c->pieces);
    mem_free(c);
}

/* ---- the end of a check ---- */

static bool remember(struct lane_audit *a, uint64_t hash) {
    if (a->seen_count * 2 >= a->seen_cap) {
        if (a->seen_cap >= DIFFERENT_MAX) return true; /* then one may count twice */
        size_t cap = a->seen_cap ? a->seen_cap * 2 : 1024;
        uint64_t *seen = NEW_ARRAY(uint64_t, cap);
        for (size_t i = 0; i < a->seen_cap; i++) {
            if (a->seen[i] == 0) continue;
            size_t at = a->seen[i] & (cap - 1);
            while (seen[at] != 0) at = (at + 1) & (cap - 1);
            seen[at] = a->seen[i];
        }
        mem_free(a->seen);
        a->seen = seen;
        a->seen_cap = cap;
    }
    if (hash == 0) hash = 1;
    size_t at = hash & (a->seen_cap - 1);
    for (; a->seen[at] != 0; at = (at + 1) & (a->seen_cap - 1))
        if (a->seen[at] == hash) return false;
    a->seen[at] = hash;
    a->seen_count++;
    return true;
}

static void keep_for_repair(struct lane_audit *a, const struct lane_check *c) {
    a->repair_full |= buf_size(&a->repair) + c->name_bytes + 8 > LANE_AUDIT_REPAIR_BYTES;
    if (a->repair_full) return;
    buf_append(&a->repair, &c->read.db, sizeof c->read.db);
    buf_append(&a->repair, &c->name_bytes, sizeof c->name_bytes);
    buf_append(&a->repair, c->name, c->name_bytes);
}

static void keep(struct lane_check *c, enum lane_differs differs, const struct lane_seen *f,
                 const char *why) {
    struct lane_audit *a = c->audit;
    if (!remember(a, lane_deadlines_hash(c->read.db, c->read.name)))
        return; /* told by SCAN twice */
    if (differs == LANE_UNDECIDED) {
        a->figures.undecided++;
    } else {
        a->figures.differences++;
        keep_for_repair(a, c);
    }
    if (a->named_count == LANE_AUDIT_NAMED) return;
    struct lane_difference *d = mem_zalloc(sizeof *d + c->name_bytes);
    d->differs = differs;
    d->db = c->read.db;
    d->why = why;
    d->name_bytes = c->name_bytes;
    memcpy(d->name, c->name, c->name_bytes);
    if (f != NULL) {
        d->seen[LANE_P] = c->p;
        d->seen[LANE_F] = *f;
        d->type = c->p.present ? c->p.type : f->type;
        d->module = c->p.present ? c->p.module : f->module;
    }
    a->named[a->named_count++] = d;
}

void lane_check_end(struct lane_check *c, enum lane_differs differs, const struct lane_seen *f,
                    const char *why) {
    struct lane_audit *a = c->audit;
    if (differs != LANE_UNDECIDED) a->figures.keys++;
    if (differs != LANE_EQUAL) keep(c, differs, f, why);
    lane_audit_moved(a);
    lane_check_free(c);
}

void lane_check_late(struct lane_check *c, const char *why) {
    struct lane_audit *a = c->audit;
    uint64_t now_ms = clock_mono_ms(a->clock);
    uint64_t hash = lane_deadlines_hash(c->read.db, c->read.name);
    lane_check_take(c);
    if (a->huge == c) a->huge = NULL;
    lane_pieces_free(c->pieces);
    c->pieces = NULL;
    if (c->late_since_ms == 0) c->late_since_ms = now_ms;
    c->not_before_ms = now_ms + AGAIN_MS;
    c->why = why;
    a->figures.late++;
    lane_check_put(c, &a->late, &a->late_count);
    list_push(&a->late_by_name[hash % LANE_AUDIT_BUCKETS], &c->bucket);
}

/* ---- judging ---- */

/* It is gone by one of the clocks, or will be before the other side has said so. */
static bool passes(const struct lane_audit *a, const struct lane_seen *seen) {
    return seen->present && seen->deadline_ms != 0 &&
           seen->deadline_ms <= clock_wall_ms(a->clock) + a->rules.slack_ms;
}

static enum lane_differs compare(const struct lane_audit *a, const struct lane_seen *p,
                                 const struct lane_seen *f) {
    bool p_gone = !p->present || passes(a, p), f_gone = !f->present || passes(a, f);
    if (p_gone && f_gone) return LANE_EQUAL;
    if (p_gone) return p->present ? LANE_DIFFERS_EXPIRY : LANE_DIFFERS_EXTRA;
    if (f_gone) return f->present ? LANE_DIFFERS_EXPIRY : LANE_DIFFERS_MISSING;
    if (p->type != f->type) return LANE_DIFFERS_TYPE;
    if (p->module >> LANE_MODULE_VERSION_BITS != f->module >> LANE_MODULE_VERSION_BITS)
        return LANE_DIFFERS_TYPE;
    if (p->module != f->module) return LANE_UNDECIDED;
    if (digest_equal(p->digest, f->digest)) return LANE_EQUAL;
    return p->deadline_ms != f->deadline_ms ? LANE_DIFFERS_EXPIRY : LANE_DIFFERS_VALUE;
}

static bool same(const struct lane_seen *a, const struct lane_seen *b) {
    return a->present == b->present && a->type == b->type && a->module == b->module &&
           a->deadline_ms == b->deadline_ms && digest_equal(a->digest, b->digest);
}

/* C22: a name that explains it may be on its way. */
static bool is_doubted(struct lane_check *c, const struct lane_seen *f) {
    const struct lane_audit *a = c->audit;
    if (a->fences == UINT64_MAX) return false;
    bool again = c->doubt_until > 0 && same(&c->doubt[LANE_P], &c->p) && same(&c->doubt[LANE_F], f);
    if (again) return a->fences < c->doubt_until;
    c->doubt[LANE_P] = c->p;
    c->doubt[LANE_F] = *f;
    c->doubt_until = a->fences + 2;
    return true;
}

void lane_check_judge(struct lane_check *c, struct lane_seen *f) {
    enum lane_differs differs = compare(c->audit, &c->p, f);
    if (differs != LANE_EQUAL && is_doubted(c, f))
        lane_check_late(c, "it changes all the time, without a command that names it");
    else
        lane_check_end(c, differs, f,
                       differs == LANE_UNDECIDED ? "its module writes another version of it there" : NULL);
}

/* ---- values as a whole ---- */

static enum err take_digest(void *self, const struct digest_key *key, struct why *why) {
    struct lane_audit *a = self;
    (void)why;
    a->digested = key->digest;
    return OK;
}

bool lane_audit_digest(struct lane_audit *a, struct rdb_key *key, struct slice payload,
                       enum digest_streams streams, struct digest *digest) {
    struct why why;
    if (a->digester == NULL) a->digester = digester_new(take_digest, a, NULL);
    digester_streams(a->digester, streams);
    if (dump_read(payload, RDB_LIMITS_DEFAULT, key, digester_handler(a->digester), &why) != OK)
        return false;
    *digest = a->digested;
    return true;
}

bool lane_check_module(struct slice payload, struct lane_seen *seen) {
    uint8_t rdb_type;
    struct slice value;
    struct why why;
    if (dump_open(payload, &rdb_type, &value, &why) != OK) return false;
    if (rdb_type != RDB_MODULE && rdb_type != RDB_MODULE_2) return false;
    if (value.size < 9 || value.data[0] != 0x81) return false; /* a length of eight bytes */
    XXH128_hash_t hash = XXH3_128bits_withSeed(value.data, value.size, (uint64_t)seen->deadline_ms);
    seen->module = bytes_be(value.data + 1, 8);
    seen->digest = (struct digest){.low = hash.low64, .high = hash.high64};
    return seen->module != 0;
}

/* DEADLINE_MS: what the digest takes for it, where 2 ms are no difference. */
static bool see(struct lane_check *c, const struct lane_value *value, int64_t deadline_ms,
                struct lane_seen *seen) {
    struct rdb_key key = {.db = (uint32_t)c->read.db,
                          .key = c->read.name,
                          .expire_at_ms = deadline_ms != 0 ? deadline_ms : -1,
                          .idle_s = -1,
                          .freq = -1};
    *seen = (struct lane_seen){.present = true, .deadline_ms = deadline_ms};
    if (!c->audit->ops->digest(c->audit, &key, value->payload, lane_audit_streams(c),
                               &seen->digest))
        return lane_check_module(value->payload, seen);
    seen->type = key.type;
    return true;
}

#define NO_FORM "its value has no canonical form"

static bool has_ended(const struct lane_check *c) {
    return !lane_audit_runs(c->audit);
}

static void count_answer(struct lane_audit *a, struct slice answer) {
    a->figures.bytes += answer.size;
    a->byte_credit -= (int64_t)answer.size;
    lane_audit_moved(a);
}

static bool on_primary(struct lane_read *read, struct slice answer, bool clean, struct buf *out,
                       uint32_t *replies) {
    struct lane_check *c = LANE_CHECK_OF(read);
    struct lane_audit *a = c->audit;
    struct lane_value value = {0};
    if (has_ended(c)) {
        lane_check_free(c);
        return false;
    }
    count_answer(a, answer);
    enum lane_copied said = lane_copy_read(c->lane->primary_version, answer, &value);
    if (!clean) {
        lane_check_late(c, "it does not become clean");
        return false;
    }
    if (said == LANE_COPY_FAILED) {
        lane_check_late(c, "the primary side does not answer DUMP");
        return false;
    }
    c->p = (struct lane_seen){0};
    if (said == LANE_COPY_VALUE && !see(c, &value, value.deadline_ms, &c->p)) {
        lane_check_end(c, LANE_UNDECIDED, NULL, NO_FORM);
        return false;
    }
    *replies = lane_copy_ask(out, a->follower_version, c->read.name);
    return true;
}

/* C3: what F says, if it cannot be told from P's. */
static int64_t near_deadline(const struct lane_check *c, int64_t deadline_ms) {
    bool exact = c->lane->primary_version >= HAS_PEXPIRETIME &&
                 c->audit->follower_version >= HAS_PEXPIRETIME;
    if (exact || deadline_ms == 0 || c->p.deadline_ms == 0) return deadline_ms;
    int64_t apart = deadline_ms - c->p.deadline_ms;
    return apart >= -OLD_TTL_MS && apart <= OLD_TTL_MS ? c->p.deadline_ms : deadline_ms;
}

static void on_follower(struct lane_read *read, struct slice answer, bool spoiled) {
    struct lane_check *c = LANE_CHECK_OF(read);
    struct lane_seen f = {0};
    struct lane_value value = {0};
    if (has_ended(c)) {
        lane_check_free(c);
        return;
    }
    count_answer(c->audit, answer);
    enum lane_copied said = lane_copy_read(c->audit->follower_version, answer, &value);
    if (spoiled)
        lane_check_late(c, "the follower side refused a write before it");
    else if (said == LANE_COPY_FAILED)
        lane_check_late(c, "the follower side does not answer DUMP");
    else if (said == LANE_COPY_VALUE && !see(c, &value, near_deadline(c, value.deadline_ms), &f))
        lane_check_end(c, LANE_UNDECIDED, NULL, NO_FORM);
    else
        lane_check_judge(c, &f);
}

static void on_lost(struct lane_read *read) {
    struct lane_check *c = LANE_CHECK_OF(read);
    if (has_ended(c))
        lane_check_free(c);
    else
        lane_check_late(c, "its connection broke, or the follower side is too slow");
}

static const struct lane_read_ops whole = {on_primary, on_follower, on_lost};

void lane_check_send(struct lane_check *c) {
    struct lane_audit *a = c->audit;
    lane_check_take(c);
    lane_check_put(c, &a->flying, &a->flying_count);
    c->read.ops = &whole;
    buf_clear(&a->scratch);
    uint32_t replies = lane_copy_ask(&a->scratch, c->lane->primary_version, c->read.name);
    lane_read_send(c->lane, &c->read, buf_slice(&a->scratch), replies);
}

/* ---- behind a copy ---- */

static struct lane_check *find_late(const struct lane_audit *a, int32_t db, struct slice name) {
    const struct list *bucket =
        &a->late_by_name[lane_deadlines_hash(db, name) % LANE_AUDIT_BUCKETS];
    LIST_EACH(bucket, at) {
        struct lane_check *c = LIST_OWNER(at, struct lane_check, bucket);
        if (c->read.db == db && slice_equal(c->read.name, name)) return c;
    }
    return NULL;
}

/* P's value at the copy's place is what was copied: F is asked at the same place. */
struct lane_read *lane_audit_copied(struct lane_watch *watch, const struct lane *lane, int32_t db,
                                    struct slice name, const struct lane_value *value,
                                    struct buf *out, uint32_t *replies) {
    struct lane_audit *a = LIST_OWNER(watch, struct lane_audit, watch);
    struct lane_check *c = find_late(a, db, name);
    (void)lane;
    if (a->huge != NULL && a->huge->read.db == db && slice_equal(a->huge->read.name, name))
        lane_pieces_void(a->huge, "it is copied again and again");
    if (c == NULL || !lane_audit_runs(a) || a->paused) return NULL;
    if (c->usage > a->rules.whole_bytes_max) return NULL; /* it is read in pieces, after the copy */
    c->p = (struct lane_seen){0};
    if (value != NULL && !see(c, value, value->deadline_ms, &c->p)) {
        lane_check_end(c, LANE_UNDECIDED, NULL, NO_FORM);
        return NULL;
    }
    lane_check_take(c);
    lane_check_put(c, &a->flying, &a->flying_count);
    c->read.ops = &whole;
    *replies = lane_copy_ask(out, a->follower_version, c->read.name);
    return &c->read;
}
