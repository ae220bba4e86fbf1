/* test_lanes_journal.c -- what lanes knew when their process died, other lanes know again. */
#include "gateway/lanes_journal.h"

#include "lib/base/rand.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define NAMES 400u

static char folder[64];

static void op_to_primary(void *self, unsigned lane, struct lane_item *item, struct slice bytes,
                          uint32_t replies, int32_t db, int32_t db_after) {
    (void)self, (void)lane, (void)item, (void)bytes, (void)replies, (void)db, (void)db_after;
}
static void op_to_follower(void *self, unsigned lane, const struct lane_item *item) {
    (void)self, (void)lane, (void)item;
}
static void op_answered(void *self, struct lane_item *item, struct slice answer) {
    (void)self, (void)item, (void)answer;
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

/* A process: its lanes and their journal. */
struct process {
    struct journal_file file;
    struct lane_journal table;
    struct lanes lanes;
    struct lanes_recovered recovered;
};

static void start(struct process *p, unsigned lanes) {
    struct why why = {""};
    struct lane_rules rules = lane_rules_default;
    memset(p, 0, sizeof *p);
    if (journal_file_open(&p->file, folder, "loop-0", 4u << 20, &why) != OK)
        fail_msg("%s", why.text);
    lanes_journal_bind(&p->table, &p->file.journal);
    lanes_init(&p->lanes, &ops, NULL, &p->table, clock_real(), &rules, lanes);
    lanes_recover(&p->lanes, &p->file, "loop-0", &p->recovered);
    if (journal_file_commit(&p->file, &why) != OK) fail_msg("%s", why.text);
}

/* It dies: nothing is written any more. */
static void die(struct process *p) {
    journal_file_close(&p->file);
    p->table = lane_journal_none;
    lanes_close(&p->lanes);
    lanes_recovered_close(&p->recovered);
}

static struct lane *lane_with(struct process *p, struct slice name) {
    return &p->lanes.lane[lane_of(p->lanes.count, name)];
}

static struct slice name_of(unsigned i, char text[24]) {
    return slice_from(text, (size_t)snprintf(text, 24, "key:%u", i));
}

static void test_dirty_keys_slots_and_deadlines_come_back_to_any_number_of_lanes(void **state) {
    (void)state;
    static const unsigned counts[] = {4, 4, 1, 7};
    struct process p;
    char text[24];
    struct rng rng = rng_from(rand_test_seed());
    bool dirty[NAMES] = {false};
    int64_t deadlines[NAMES];
    for (unsigned i = 0; i < NAMES; i++) deadlines[i] = LANE_DEADLINE_NONE;
    start(&p, 3);
    assert_int_equal(p.recovered.found, JOURNAL_MISSING);
    assert_int_equal(p.lanes.lane[0].keys.dirty_slot_count + p.lanes.lane[1].keys.dirty_slot_count +
                         p.lanes.lane[2].keys.dirty_slot_count,
                     LANE_SLOTS);
    /* The pass over all slots is done. */
    for (unsigned i = 0; i < 3; i++) {
        lane_keys_pass_begin(&p.lanes.lane[i].keys);
        lane_keys_pass_end(&p.lanes.lane[i].keys);
    }
    lanes_unbury_others(&p.lanes, &p.file.journal);
    for (size_t round = 0; round < 4; round++) {
        for (unsigned n = 0; n < 300; n++) {
            unsigned i = (unsigned)rng_below(&rng, NAMES);
            struct slice name = name_of(i, text);
            struct lane *lane = lane_with(&p, name);
            if (rng_below(&rng, 2)) {
                lane_mark(lane, 0, name);
                dirty[i] = true;
            } else {
                deadlines[i] = rng_below(&rng, 3) ? 5 + (int64_t)rng_below(&rng, 1u << 30)
                                                  : LANE_DEADLINE_NONE;
                lane_deadlines_set(&lane->deadlines, lane_deadlines_hash(0, name), deadlines[i], 0);
            }
        }
        die(&p);
        start(&p, counts[round]);
        assert_int_equal(p.recovered.found, JOURNAL_GOOD);
        assert_false(p.recovered.others);
        for (unsigned i = 0; i < NAMES; i++) {
            struct slice name = name_of(i, text);
            struct lane *lane = lane_with(&p, name);
            assert_int_equal(lane_keys_is_dirty(&lane->keys, 0, name), dirty[i]);
            assert_false(lane_keys_is_dirty(&lane->keys, 1, name));
            assert_int_equal(lane_deadlines_find(&lane->deadlines, lane_deadlines_hash(0, name)),
                             deadlines[i]);
        }
    }
    lane_keys_mark_slot(&p.lanes.lane[0].keys, 7); /* 7 % 7 */
    die(&p);
    start(&p, 2);
    assert_int_equal(p.recovered.slots, 1);
    assert_int_equal(p.lanes.lane[1].keys.dirty_slot_count, 1);
    die(&p);
    struct why why;
    assert_int_equal(journal_file_remove(folder, "loop-0", &why), OK);
}

static struct effect *write_of(struct slice name) {
    struct effect_facts facts = {.now_ms = 1, .primary_version = 70015, .follower_version = 70015};
    struct slice argv[] = {SLICE("APPEND"), name, SLICE("x")};
    return effect_new(&facts, 0, command_lookup(3, argv), 3, argv);
}

static void test_a_command_that_left_makes_its_key_dirty(void **state) {
    (void)state;
    struct process p;
    char text[24];
    start(&p, 1);
    lanes_unbury_others(&p.lanes, &p.file.journal);
    struct lane *lane = &p.lanes.lane[0];
    lane_primary_up(lane, 70015);
    lane_follower_up(lane, 70015);
    lane_keys_pass_begin(&lane->keys);
    lane_keys_pass_end(&lane->keys);
    journal_opened(&p.file.journal, JOURNAL_P, 11, "the-run-id");
    struct lanes_place place = {0};
    struct lane_item *item;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(lanes_send(&p.lanes, &place, write_of(name_of(i, text)), NULL, &item),
                         LANES_SENT);
    lane_primary_answered(lane, SLICE("-ERR nothing was done\r\n")); /* the first */
    lane_primary_answered(lane, SLICE(":1\r\n")); /* the second; F has not confirmed it */
    die(&p);
    start(&p, 1);
    lane = &p.lanes.lane[0];
    assert_false(lane_keys_is_dirty(&lane->keys, 0, name_of(0, text)));
    assert_true(lane_keys_is_dirty(&lane->keys, 0, name_of(1, text)));
    assert_true(lane_keys_is_dirty(&lane->keys, 0, name_of(2, text)));
    /* And the connection on which they left is to be killed first. */
    assert_int_equal(p.recovered.count, 1);
    assert_int_equal(p.recovered.buried[0].server_id, 11);
    assert_string_equal(p.recovered.buried[0].run_id, "the-run-id");
    assert_int_equal(lane->primary_lost, 1);
    die(&p); /* before it was killed: the next process hears of it too */
    start(&p, 2);
    assert_int_equal(p.recovered.count, 1);
    lanes_unbury(&p.lanes, &p.file.journal, &p.recovered.buried[0]);
    assert_int_equal(p.lanes.lane[1].primary_lost, 0);
    die(&p);
    start(&p, 1);
    assert_int_equal(p.recovered.count, 0);
    die(&p);
    struct why why;
    assert_int_equal(journal_file_remove(folder, "loop-0", &why), OK);
}

/* Between P's answer to a FLUSHDB and F's, no key is known to be the same on both sides. */
static void test_what_emptied_a_database_at_P_only_makes_everything_dirty(void **state) {
    (void)state;
    struct process p;
    struct effect_facts facts = {.now_ms = 1, .primary_version = 70015, .follower_version = 70015};
    struct slice argv[] = {SLICE("FLUSHDB")};
    for (int confirmed = 0; confirmed < 2; confirmed++) {
        start(&p, 2);
        lanes_unbury_others(&p.lanes, &p.file.journal);
        for (unsigned i = 0; i < 2; i++) {
            lane_primary_up(&p.lanes.lane[i], 70015);
            lane_follower_up(&p.lanes.lane[i], 70015);
            lane_keys_pass_begin(&p.lanes.lane[i].keys);
            lane_keys_pass_end(&p.lanes.lane[i].keys);
        }
        struct lanes_place place = {0};
        struct lane_item *item;
        (void)lanes_send(&p.lanes, &place, effect_new(&facts, 0, command_lookup(1, argv), 1, argv),
                         NULL, &item);
        lanes_turn(&p.lanes);
        struct lane *home = &p.lanes.lane[0];
        assert_int_equal(home->flight.count, 1);
        lane_primary_answered(home, SLICE("+OK\r\n"));
        for (int i = 0; i < 4; i++) lanes_turn(&p.lanes);
        if (confirmed) {
            assert_int_equal(home->sent.count, 1);
            lane_follower_answered(home, SLICE("+OK\r\n"));
        }
        die(&p);
        start(&p, 1);
        assert_int_equal(p.recovered.found, JOURNAL_GOOD);
        assert_int_equal(p.lanes.lane[0].keys.dirty_slot_count, confirmed ? 0 : LANE_SLOTS);
        die(&p);
        struct why why;
        assert_int_equal(journal_file_remove(folder, "loop-0", &why), OK);
    }
}

static void test_a_table_of_deadlines_without_room_is_so_afterwards_too(void **state) {
    (void)state;
    struct process p;
    char text[24];
    start(&p, 1);
    struct lane_deadlines *d = &p.lanes.lane[0].deadlines;
    d->max = 10;
    for (unsigned i = 0; i < 20; i++)
        lane_deadlines_set(d, lane_deadlines_hash(0, name_of(i, text)), 1000 + i, 0);
    assert_true(d->lost);
    die(&p);
    start(&p, 1); /* with more room: all of them are known */
    d = &p.lanes.lane[0].deadlines;
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(lane_deadlines_find(d, lane_deadlines_hash(0, name_of(i, text))),
                         1000 + i);
    journal_deadlines_lost(&p.file.journal);
    die(&p);
    start(&p, 1);
    assert_true(p.lanes.lane[0].deadlines.lost);
    die(&p);
    start(&p, 1); /* and for good */
    assert_true(p.lanes.lane[0].deadlines.lost);
    die(&p);
    struct why why;
    assert_int_equal(journal_file_remove(folder, "loop-0", &why), OK);
}

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/lanes-journal-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state) {
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s/loop-0.lock", folder);
    unlink(path);
    return rmdir(folder);
}

static void test_a_process_that_ended_in_order_says_which_servers_it_knew(void **state) {
    (void)state;
    struct process p;
    start(&p, 2);
    lanes_note_server(&p.file.journal, LANE_P, "a-run-id");
    lanes_note_server(&p.file.journal, LANE_F, "");
    die(&p);
    start(&p, 3);
    assert_int_equal(p.recovered.found, JOURNAL_GOOD);
    assert_string_equal(p.recovered.run_id[LANE_P], "a-run-id");
    assert_string_equal(p.recovered.run_id[LANE_F], "");
    assert_int_equal(p.recovered.count, 0); /* nobody is to be killed */
    die(&p);
    start(&p, 3); /* killed before it has met anybody: then it is not known any more */
    assert_string_equal(p.recovered.run_id[LANE_P], "");
    die(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dirty_keys_slots_and_deadlines_come_back_to_any_number_of_lanes),
        cmocka_unit_test(test_a_command_that_left_makes_its_key_dirty),
        cmocka_unit_test(test_a_process_that_ended_in_order_says_which_servers_it_knew),
        cmocka_unit_test(test_what_emptied_a_database_at_P_only_makes_everything_dirty),
        cmocka_unit_test(test_a_table_of_deadlines_without_room_is_so_afterwards_too),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
