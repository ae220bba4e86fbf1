/* test_witness.c -- which names that P tells are explained, and which are dirty (C22). */
#include "gateway/witness.h"

#include "lib/base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- lanes that nobody carries out ---- */

static void op_to_primary(void *self, unsigned lane, struct lane_item *item, struct slice bytes,
                          uint32_t replies, int32_t db, int32_t db_after) {
    (void)lane, (void)bytes, (void)replies, (void)db, (void)db_after;
    if (item->kind == LANE_COMMAND) witness_sent(self, item->effect);
}
static void op_to_follower(void *self, unsigned lane, const struct lane_item *item) {
    (void)self, (void)lane, (void)item;
}
static void op_answered(void *self, struct lane_item *item, struct slice answer) {
    (void)item, (void)answer;
    witness_owe(self);
}
static void op_item(void *self, struct lane_item *item) {
    (void)self, (void)item;
}
static void op_wrote(void *self, const struct effect *effect) {
    (void)self, (void)effect;
}
static void op_scan(void *self, enum lane_side side, int32_t db, uint64_t cursor, uint64_t round) {
    (void)self, (void)side, (void)db, (void)cursor, (void)round;
}

static const struct lanes_ops ops = {op_to_primary, op_to_follower, op_answered, op_item,
                                     op_item,       op_wrote,       op_scan};

static const struct effect_facts facts = {.primary_version = 70015, .follower_version = 70015};

struct bench {
    struct lanes lanes;
    struct witness w;
    uint64_t scripts, now_us;
    bool beyond;
};

static struct witness_answer answer_of(const struct bench *b) {
    return (struct witness_answer){.scripts_known = true,
                                   .scripts = b->scripts,
                                   .databases_beyond = b->beyond,
                                   .databases = {5}}; /* 0 and 2 */
}

static void ask(struct bench *b) {
    witness_asked(&b->w, ++b->now_us);
}
static void tell(struct bench *b) {
    struct witness_answer answer = answer_of(b);
    witness_told(&b->w, &answer);
}
static void fence(struct bench *b) {
    ask(b);
    tell(b);
}

static void set_up(struct bench *b) {
    *b = (struct bench){.scripts = 7};
    lanes_init(&b->lanes, &ops, &b->w, &lane_journal_none, clock_real(), &lane_rules_default, 2);
    witness_init(&b->w, &b->lanes);
    witness_watch(&b->w, true);
    for (unsigned i = 0; i < 2; i++) {
        lane_primary_up(&b->lanes.lane[i], 70015);
        lane_follower_up(&b->lanes.lane[i], 70015);
    }
    b->w.safe = (struct witness_safe){.known = true, .run_id = "run", .scripts = 7};
    witness_begin(&b->w, "run");
    for (int i = 0; i < 3; i++) fence(b);
}

static void tear_down(struct bench *b) {
    witness_close(&b->w);
    lanes_close(&b->lanes);
}

static struct lane *lane_with(struct bench *b, const char *name) {
    return &b->lanes.lane[lane_of(2, slice_text(name))];
}

static bool is_dirty(struct bench *b, int32_t db, const char *name) {
    return lane_keys_is_dirty(&lane_with(b, name)->keys, db, slice_text(name));
}

static size_t dirty_slots(const struct bench *b) {
    return b->lanes.lane[0].keys.dirty_slot_count + b->lanes.lane[1].keys.dirty_slot_count;
}

/* SET NAME leaves for P. */
static void leaves(struct bench *b, const char *name) {
    struct slice argv[] = {SLICE("SET"), slice_text(name), SLICE("1")};
    struct lanes_place place = {0};
    struct lane_item *item = NULL;
    struct effect *e = effect_new(&facts, 0, command_lookup(3, argv), 3, argv);
    assert_int_equal(lanes_send(&b->lanes, &place, e, NULL, &item), LANES_SENT);
}
static void is_answered(struct bench *b, const char *name) {
    lane_primary_answered(lane_with(b, name), SLICE("+OK\r\n"));
}
static void is_named(struct bench *b, const char *name) {
    witness_name(&b->w, slice_text(name));
}

/* ---- names ---- */

static void test_what_a_lane_wrote_is_explained(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    leaves(&b, "a");
    is_named(&b, "a");
    is_answered(&b, "a");
    assert_false(witness_is_proved(&b.w));
    fence(&b);
    assert_true(witness_is_proved(&b.w));
    assert_false(is_dirty(&b, 0, "a"));
    assert_int_equal(b.w.figures.explained, 1);
    tear_down(&b);
}

static void test_what_nobody_here_wrote_is_dirty_in_every_database_in_use(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    is_named(&b, "a");
    assert_false(witness_is_proved(&b.w));
    fence(&b);
    assert_true(is_dirty(&b, 0, "a") && is_dirty(&b, 2, "a"));
    assert_false(is_dirty(&b, 1, "a") || is_dirty(&b, 0, "b"));
    is_named(&b, "drawbridge:mark"); /* C5a */
    fence(&b);
    assert_false(is_dirty(&b, 0, "drawbridge:mark"));
    tear_down(&b);
}

/* F may have keys there when P has none any more. */
static void test_a_database_is_in_use_once_something_simple_was_sent_there(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    witness_sent_name(&b.w, 3, SLICE("b"));
    is_named(&b, "a");
    fence(&b);
    assert_true(is_dirty(&b, 3, "a"));
    assert_false(is_dirty(&b, 1, "a"));
    tear_down(&b);
}

static void test_a_command_that_was_answered_before_the_last_fence_explains_nothing(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    leaves(&b, "a");
    is_named(&b, "a");
    is_answered(&b, "a");
    fence(&b);
    is_named(&b, "a"); /* again: by somebody else */
    fence(&b);
    assert_true(is_dirty(&b, 0, "a"));
    tear_down(&b);
}

static void test_a_command_that_is_unanswered_over_many_fences_explains_its_name(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    leaves(&b, "a");
    for (int i = 0; i < 5; i++) fence(&b);
    ask(&b);
    is_answered(&b, "a"); /* executed behind this fence, in its turn */
    tell(&b);
    is_named(&b, "a");
    assert_false(witness_is_proved(&b.w));
    fence(&b);
    assert_false(is_dirty(&b, 0, "a"));
    assert_true(witness_is_proved(&b.w));
    tear_down(&b);
}

static void test_while_scripts_run_nothing_is_explained(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    leaves(&b, "a");
    is_named(&b, "a");
    b.scripts++; /* somebody's */
    fence(&b);
    assert_true(is_dirty(&b, 0, "a"));
    leaves(&b, "c"); /* the names of the fence's own turn come behind its answer */
    is_named(&b, "c");
    fence(&b);
    assert_true(is_dirty(&b, 0, "c"));
    leaves(&b, "d");
    is_named(&b, "d");
    fence(&b);
    assert_false(is_dirty(&b, 0, "d"));
    tear_down(&b);
}

static void test_a_flush_is_explained_by_our_own_only(void **state) {
    (void)state;
    struct bench b;
    struct slice argv[] = {SLICE("FLUSHALL")};
    set_up(&b);
    struct effect *e = effect_new(&facts, 0, command_lookup(1, argv), 1, argv);
    witness_sent(&b.w, e);
    effect_free(e);
    witness_flush(&b.w);
    fence(&b);
    assert_int_equal(dirty_slots(&b), 0);
    witness_flush(&b.w);
    assert_false(witness_is_proved(&b.w));
    fence(&b);
    fence(&b);
    assert_int_equal(dirty_slots(&b), LANE_SLOTS);
    tear_down(&b);
}

static void test_an_answer_that_proves_nothing_is_asked_for_again(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    is_named(&b, "a");
    ask(&b);
    witness_told(&b.w, NULL);
    assert_false(witness_is_proved(&b.w) || is_dirty(&b, 0, "a"));
    assert_true(witness_wants(&b.w, b.now_us + 5001, false));
    fence(&b);
    assert_true(is_dirty(&b, 0, "a"));
    tear_down(&b);
}

static void test_what_was_answered_while_a_fence_was_on_its_way_needs_another(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    assert_true(witness_is_proved(&b.w));
    assert_false(witness_wants(&b.w, b.now_us + 5001, true));
    ask(&b);
    witness_owe(&b.w);
    tell(&b);
    assert_false(witness_is_proved(&b.w));
    assert_true(witness_wants(&b.w, b.now_us, true));
    assert_false(witness_wants(&b.w, b.now_us, false)); /* not that often */
    fence(&b);
    assert_true(witness_is_proved(&b.w));
    tear_down(&b);
}

static void test_names_without_room_make_their_slots_dirty(void **state) {
    (void)state;
    struct bench b;
    char name[40];
    set_up(&b);
    static char large[WITNESS_WINDOW_BYTES - 20];
    memset(large, 'x', sizeof large);
    witness_name(&b.w, slice_from(large, sizeof large));
    assert_int_equal(dirty_slots(&b), 0);
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "key with a name %d", i);
        is_named(&b, name);
        assert_true(is_dirty(&b, 0, name));
    }
    assert_true(dirty_slots(&b) > 0 && dirty_slots(&b) <= 5);
    b.beyond = true; /* more databases than it can count */
    is_named(&b, "a");
    fence(&b);
    assert_true(is_dirty(&b, 5000, "a"));
    tear_down(&b);
}

/* ---- slots that change hands ---- */

static void own(struct bench *b, const char *without) {
    uint64_t owned[LANE_SLOTS / 64];
    memset(owned, 0xff, sizeof owned);
    for (const char *c = without; *c != '\0'; c++) {
        unsigned slot = slot_cluster(slice_from(c, 1));
        owned[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
    }
    lanes_own(&b->lanes, owned, true, true);
}

/* The owner before handed on what its last fence covered; it is written behind that. */
static void test_what_is_named_in_a_hold_is_dirty_if_its_slot_is_ours_after_it(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    own(&b, "abcd");
    is_named(&b, "a"); /* before the hold: its owner was told, too */
    witness_keep(&b.w, true);
    is_named(&b, "b");
    is_named(&b, "c");
    for (int i = 0; i < 3; i++) fence(&b);
    own(&b, "cd");
    witness_owned(&b.w);
    assert_true(is_dirty(&b, 0, "b") && is_dirty(&b, 2, "b"));
    assert_false(is_dirty(&b, 0, "a") || is_dirty(&b, 0, "c"));
    assert_int_equal(dirty_slots(&b), 0);
    witness_keep(&b.w, false);
    own(&b, "d");
    witness_owned(&b.w); /* without a hold nothing is kept */
    assert_false(is_dirty(&b, 0, "c"));
    is_named(&b, "d");
    own(&b, "");
    witness_owned(&b.w);
    assert_false(is_dirty(&b, 0, "d"));
    tear_down(&b);
}

static void test_a_flush_and_names_without_room_in_a_hold(void **state) {
    (void)state;
    struct bench b;
    static char large[WITNESS_WINDOW_BYTES - 20];
    set_up(&b);
    memset(large, 'a', sizeof large);
    own(&b, "bc");
    witness_keep(&b.w, true);
    unsigned slot = slot_cluster(slice_from(large, sizeof large));
    b.lanes.owned[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
    for (unsigned i = 0; i < 2; i++) b.lanes.lane[i].keys.owns_all = false;
    witness_name(&b.w, slice_from(large, sizeof large));
    for (int i = 0; i < 10; i++) is_named(&b, "b");
    own(&b, "c");
    witness_owned(&b.w);
    assert_true(is_dirty(&b, 0, "b"));
    assert_int_equal(dirty_slots(&b), 1);
    witness_flush(&b.w);
    fence(&b);
    fence(&b);
    lanes_own(&b.lanes, b.lanes.owned, true, true);
    size_t before = dirty_slots(&b);
    assert_int_equal(before, LANE_SLOTS - 1); /* of those that are ours */
    own(&b, "");
    witness_owned(&b.w);
    assert_false(witness_is_proved(&b.w));
    fence(&b);
    assert_int_equal(dirty_slots(&b), LANE_SLOTS);
    tear_down(&b);
}

/* ---- gaps ---- */

static void test_names_that_were_missed(void **state) {
    (void)state;
    static const struct {
        const char *run_id;
        uint64_t scripts;
        bool all;
    } cases[] = {{"run", 7, false}, {"run", 8, true}, {"run", 6, true}, {"other", 7, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench b;
        set_up(&b);
        is_named(&b, "a");
        witness_end(&b.w);
        assert_true(is_dirty(&b, 0, "a")); /* nobody will explain it */
        assert_false(witness_is_proved(&b.w));
        witness_begin(&b.w, cases[i].run_id);
        b.scripts = cases[i].scripts;
        fence(&b);
        assert_int_equal(dirty_slots(&b), cases[i].all ? LANE_SLOTS : 0);
        assert_int_equal(b.w.figures.gaps, 3);
        tear_down(&b);
    }
}

/* A script of the fence's own turn is counted by its answer, but its names come behind it. */
static void test_what_is_safe_lags_one_fence_behind(void **state) {
    (void)state;
    struct bench b;
    set_up(&b);
    b.scripts = 9;
    fence(&b);
    assert_int_equal(b.w.safe.scripts, 7);
    fence(&b);
    assert_int_equal(b.w.safe.scripts, 9);
    tear_down(&b);
}

static void test_the_other_side_turns_to_p_without_a_gap_when_it_is_armed(void **state) {
    (void)state;
    for (int armed = 0; armed < 2; armed++) {
        struct bench b;
        set_up(&b);
        struct witness f;
        witness_init(&f, &b.lanes);
        witness_begin(&f, "run of f");
        witness_name(&f, SLICE("a")); /* what we write there is nothing to look at */
        if (armed) {
            struct witness_answer answer = answer_of(&b);
            witness_asked(&f, 1);
            witness_told(&f, &answer);
        }
        assert_int_equal(witness_is_armed(&f), armed);
        witness_watch(&b.w, false);
        witness_watch(&f, true);
        struct witness_answer answer = answer_of(&b);
        witness_asked(&f, 2);
        witness_told(&f, &answer);
        assert_false(is_dirty(&b, 0, "a") && armed);
        assert_int_equal(dirty_slots(&b), armed ? 0 : LANE_SLOTS);
        witness_close(&f);
        tear_down(&b);
    }
}

/* ---- what P answers ---- */

#define STATS                                                                                      \
    "# Commandstats\r\ncmdstat_set:calls=3,usec=1\r\ncmdstat_evalsha:calls=20,usec=1\r\n"          \
    "cmdstat_eval:calls=3,usec=1\r\ncmdstat_evalsha_ro:calls=9,usec=1\r\ncmdstat_fcall:calls=1,usec=2\r\n"
#define KEYS "# Keyspace\r\ndb0:keys=1,expires=0\r\ndb11:keys=2,expires=1\r\n"

static void bulk(struct buf *out, const char *text, bool verbatim) {
    if (verbatim)
        buf_printf(out, "=%zu\r\ntxt:%s\r\n", strlen(text) + 4, text);
    else
        buf_printf(out, "$%zu\r\n%s\r\n", strlen(text), text);
}

static void test_info_is_read_in_both_protocols(void **state) {
    (void)state;
    for (int verbatim = 0; verbatim < 2; verbatim++) {
        struct buf out = {0};
        struct witness_answer a;
        bulk(&out, STATS, verbatim);
        bulk(&out, KEYS, verbatim);
        assert_true(witness_read(buf_slice(&out), &a));
        assert_true(a.scripts_known && !a.databases_beyond);
        assert_int_equal(a.scripts, 24);
        assert_int_equal(a.databases[0], 1 | 1 << 11);
        buf_close(&out);
    }
}

static void test_errors_of_info(void **state) {
    (void)state;
    struct witness_answer a;
    assert_false(witness_read(SLICE("-BUSY Redis is busy\r\n-BUSY Redis is busy\r\n"), &a));
    assert_false(witness_read(SLICE("-LOADING it\r\n-LOADING it\r\n"), &a));
    assert_false(witness_read(SLICE("$5\r\nab"), &a));
    assert_true(witness_read(SLICE("-NOPERM no\r\n-NOPERM no\r\n"), &a));
    assert_false(a.scripts_known);
    assert_true(witness_read(SLICE("$3\r\nodd\r\n$7\r\ndb9999:\r\n"), &a));
    assert_true(!a.scripts_known && a.databases_beyond);
}

static void test_what_is_safe_is_read_as_it_was_written(void **state) {
    (void)state;
    struct witness_safe safe = {.known = true, .run_id = "0123456789012345678901234567890123456789",
                                .scripts = UINT64_MAX},
                        read;
    char text[WITNESS_SAFE_SIZE];
    witness_safe_write(&safe, text);
    witness_safe_read(&read, slice_from(text, sizeof text));
    assert_true(read.known);
    assert_int_equal(read.scripts, safe.scripts);
    assert_string_equal(read.run_id, safe.run_id);
    for (size_t size = 0; size < sizeof text; size++) { /* cut, or overwritten in part */
        witness_safe_read(&read, slice_from(text, size));
        assert_false(read.known);
    }
    memset(text, ' ', sizeof text);
    witness_safe_read(&read, slice_from(text, sizeof text));
    assert_false(read.known);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_lane_wrote_is_explained),
        cmocka_unit_test(test_what_nobody_here_wrote_is_dirty_in_every_database_in_use),
        cmocka_unit_test(test_a_database_is_in_use_once_something_simple_was_sent_there),
        cmocka_unit_test(test_a_command_that_was_answered_before_the_last_fence_explains_nothing),
        cmocka_unit_test(test_a_command_that_is_unanswered_over_many_fences_explains_its_name),
        cmocka_unit_test(test_while_scripts_run_nothing_is_explained),
        cmocka_unit_test(test_a_flush_is_explained_by_our_own_only),
        cmocka_unit_test(test_an_answer_that_proves_nothing_is_asked_for_again),
        cmocka_unit_test(test_what_was_answered_while_a_fence_was_on_its_way_needs_another),
        cmocka_unit_test(test_names_without_room_make_their_slots_dirty),
        cmocka_unit_test(test_what_is_named_in_a_hold_is_dirty_if_its_slot_is_ours_after_it),
        cmocka_unit_test(test_a_flush_and_names_without_room_in_a_hold),
        cmocka_unit_test(test_names_that_were_missed),
        cmocka_unit_test(test_what_is_safe_lags_one_fence_behind),
        cmocka_unit_test(test_the_other_side_turns_to_p_without_a_gap_when_it_is_armed),
        cmocka_unit_test(test_info_is_read_in_both_protocols),
        cmocka_unit_test(test_errors_of_info),
        cmocka_unit_test(test_what_is_safe_is_read_as_it_was_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
