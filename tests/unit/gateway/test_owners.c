/* test_owners.c -- whose a command is, and when it must not go on. */
#include "gateway/owners.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* 'a' is in slot 15495, 'b' in 3300, 'c' in 7365. */
static void deal(struct slot_table *table, uint64_t version, unsigned a, unsigned b, unsigned c) {
    slot_table_init(table);
    table->version = version;
    table->count = 2;
    memcpy(table->gateway[0].name, "one", 4);
    memcpy(table->gateway[1].name, "two", 4);
    memset(table->owner, 0, sizeof table->owner);
    table->owner[slot_cluster(SLICE("a"))] = (uint8_t)a;
    table->owner[slot_cluster(SLICE("b"))] = (uint8_t)b;
    table->owner[slot_cluster(SLICE("c"))] = (uint8_t)c;
}

static struct effect *command(size_t argc, const struct slice *argv) {
    struct effect_facts facts = {.primary_version = 70015, .follower_version = 70015};
    return effect_new(&facts, 0, command_lookup(argc, argv), argc, argv);
}

static struct effect *set_b(void) {
    return command(3, (struct slice[]){SLICE("SET"), SLICE("b"), SLICE("1")});
}

static struct effect *rename_b_c(void) {
    return command(3, (struct slice[]){SLICE("RENAME"), SLICE("b"), SLICE("c")});
}

static void test_a_command_goes_to_the_owner_of_what_it_writes(void **state) {
    struct slot_table table;
    struct effect *e = set_b();
    struct owners_ask ask = {.version = 3};
    unsigned home = 9;
    (void)state;
    deal(&table, 3, 0, 1, 0);
    ask.table = &table;
    ask.home = 1;
    assert_int_equal(owners_route(&table, 0, e, &ask, &home), OWNERS_FORWARD);
    assert_int_equal(home, 1);
    assert_int_equal(owners_route(&table, 1, e, &ask, &home), OWNERS_OURS);
    assert_int_equal(owners_route(NULL, 1, e, &ask, &home), OWNERS_LATER);
    effect_free(e);
}

static void test_what_waits_for_a_slot_that_has_moved_is_lost(void **state) {
    struct slot_table before, after;
    struct effect *e = set_b();
    unsigned home = 9;
    (void)state;
    deal(&before, 3, 0, 0, 0);
    deal(&after, 4, 0, 1, 0);
    struct owners_ask ask = {.version = 3, .table = &before, .home = 0};
    assert_int_equal(owners_route(&before, 0, e, &ask, &home), OWNERS_OURS);
    assert_int_equal(owners_route(&after, 0, e, &ask, &home), OWNERS_LOST);
    ask = (struct owners_ask){.from_peer = true, .version = 3};
    assert_int_equal(owners_route(&after, 0, e, &ask, &home), OWNERS_LOST);
    ask.version = 5; /* it knows a later table */
    assert_int_equal(owners_route(&after, 0, e, &ask, &home), OWNERS_LATER);
    effect_free(e);
}

static void test_what_would_be_overtaken_while_it_waits_for_pins_is_lost(void **state) {
    struct slot_table before, after;
    struct effect *wide = rename_b_c(), *narrow = set_b();
    unsigned home = 9;
    (void)state;
    deal(&before, 3, 0, 0, 0);
    deal(&after, 4, 0, 0, 1);
    struct owners_ask ask = {.from_peer = true, .version = 3};
    assert_int_equal(owners_route(&after, 0, wide, &ask, &home), OWNERS_LOST);
    assert_int_equal(owners_route(&after, 0, narrow, &ask, &home), OWNERS_OURS);
    ask.version = 4; /* its client knew, and sent nothing behind it */
    assert_int_equal(owners_route(&after, 0, wide, &ask, &home), OWNERS_OURS);
    ask = (struct owners_ask){.version = 3, .table = &before, .home = 0};
    assert_int_equal(owners_route(&after, 0, wide, &ask, &home), OWNERS_LOST);
    effect_free(wide);
    effect_free(narrow);
}

static void test_a_first_table_is_trusted_only_as_the_journal_knows_it(void **state) {
    struct slot_table table;
    struct owners_news news;
    (void)state;
    deal(&table, 7, 0, 0, 1);
    table.gateway[0].since = 5;
    owners_read(&news, &table, SLICE("one"), NULL, 0, 5, true);
    assert_true(news.gained && news.trusted);
    owners_read(&news, &table, SLICE("one"), NULL, 0, 4, true);
    assert_true(news.gained && !news.trusted);
    owners_read(&news, &table, SLICE("one"), NULL, 0, 5, false);
    assert_false(news.trusted);
    uint64_t had[LANE_SLOTS / 64];
    memcpy(had, news.owned, sizeof had);
    owners_read(&news, &table, SLICE("one"), had, table.version - 1, 5, true);
    assert_true(!news.gained && !news.trusted && news.count == SLOT_CLUSTER_COUNT - 1);
    owners_read(&news, &table, SLICE("three"), had, table.version - 1, 5, true);
    assert_true(news.self == table.count && news.count == 0 && !news.gained);
}

/* It stood still, and others had its slots meanwhile: they are its own again, and not as it left them. */
static void test_slots_that_were_anothers_by_a_table_that_was_missed_are_gained(void **state) {
    struct slot_table table;
    struct owners_news news;
    (void)state;
    deal(&table, 7, 0, 0, 0);
    table.gateway[0].since = 6;
    uint64_t had[LANE_SLOTS / 64];
    memset(had, 0xff, sizeof had);
    owners_read(&news, &table, SLICE("one"), had, 4, 5, true);
    assert_true(news.missed && news.gained && !news.trusted);
    owners_read(&news, &table, SLICE("one"), had, 6, 5, true); /* seen: nothing since */
    assert_false(news.missed || news.gained);
    table.gateway[0].since = 4;
    owners_read(&news, &table, SLICE("one"), had, 4, 5, true); /* it gained nothing by 5 .. 7 */
    assert_false(news.missed || news.gained);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_command_goes_to_the_owner_of_what_it_writes),
        cmocka_unit_test(test_what_waits_for_a_slot_that_has_moved_is_lost),
        cmocka_unit_test(test_what_would_be_overtaken_while_it_waits_for_pins_is_lost),
        cmocka_unit_test(test_a_first_table_is_trusted_only_as_the_journal_knows_it),
        cmocka_unit_test(test_slots_that_were_anothers_by_a_table_that_was_missed_are_gained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
