/* test_journal.c -- a process that dies between any two stores leaves a journal that reads as
 * before or as after; nothing is ever forgotten for lack of room. */
#include "gateway/journal.h"
#include "gateway/journal_layout.h"

#include "lib/base/mem.h"
#include "lib/base/rand.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define NAMES 300u
#define IDS 40u
#define ENTRY_KEYS 6u
#define HASHES 200u
#define SERVERS 300u

static const char boot[JOURNAL_BOOT_SIZE + 1] = "01234567-89ab-cdef-0123-456789abcdef";

/* What a journal says, or must say. */
struct picture {
    bool dirty[2][NAMES]; /* also by an entry */
    int64_t deadlines[HASHES];
    bool connections[2][SERVERS];
    bool slots[JOURNAL_SLOTS];
    bool everything, deadlines_lost, connections_lost;
    bool strange; /* something that nobody wrote */
};

struct world {
    struct journal journal;
    uint8_t *memory;
    struct rng rng;
    /* what was told */
    bool keys[2][NAMES], slots[JOURNAL_SLOTS];
    uint32_t entries[IDS][ENTRY_KEYS]; /* name + 1, and NAMES more for database 1 */
    bool entry_all[IDS];
    struct picture before, after, found;
    uint64_t stores, looked;
    unsigned look_every;
    size_t name_size; /* names are this long */
};

static struct slice name_of(const struct world *world, unsigned number, char *text) {
    memset(text, 'x', world->name_size);
    snprintf(text, 16, "key-%u-", number);
    text[strlen(text)] = 'x';
    return slice_from(text, world->name_size);
}

/* ---- reading ---- */

static void read_key(void *self, int32_t db, struct slice name) {
    struct picture *found = self;
    char text[17] = "";
    unsigned number;
    memcpy(text, name.data, name.size < 16 ? name.size : 16);
    if (db < 0 || db > 1 || sscanf(text, "key-%u-", &number) != 1 || number >= NAMES)
        found->strange = true;
    else
        found->dirty[db][number] = true;
}

static void read_slot(void *self, unsigned slot) {
    ((struct picture *)self)->slots[slot] = true;
}

static void read_everything(void *self) {
    ((struct picture *)self)->everything = true;
}

static void read_deadline(void *self, uint64_t hash, int64_t deadline_ms) {
    struct picture *found = self;
    if (hash >= HASHES)
        found->strange = true;
    else
        found->deadlines[hash] = deadline_ms;
}

static void read_deadlines_lost(void *self) {
    ((struct picture *)self)->deadlines_lost = true;
}

static void read_connection(void *self, enum journal_side side, int64_t id, const char *run_id) {
    struct picture *found = self;
    if (id < 0 || id >= (int64_t)SERVERS || strcmp(run_id, "0123456789") != 0)
        found->strange = true;
    else
        found->connections[side][id] = true;
}

static void read_connections_lost(void *self) {
    ((struct picture *)self)->connections_lost = true;
}

static enum journal_found look_at(struct slice file, const char *of_boot, struct picture *found) {
    struct journal_reader reader = {.self = found,
                                    .key = read_key,
                                    .slot = read_slot,
                                    .everything = read_everything,
                                    .deadline = read_deadline,
                                    .deadlines_lost = read_deadlines_lost,
                                    .connection = read_connection,
                                    .connections_lost = read_connections_lost};
    memset(found, 0, sizeof *found);
    return journal_read(file, of_boot, &reader);
}

/* ---- the model ---- */

static void paint(const struct world *world, struct picture *picture) {
    memcpy(picture->dirty, world->keys, sizeof picture->dirty);
    memcpy(picture->slots, world->slots, sizeof picture->slots);
    picture->everything = false;
    for (size_t i = 0; i < IDS; i++) {
        picture->everything |= world->entry_all[i];
        for (size_t k = 0; k < ENTRY_KEYS; k++) {
            uint32_t key = world->entries[i][k];
            if (key != 0) picture->dirty[(key - 1) / NAMES][(key - 1) % NAMES] = true;
        }
    }
}

static void check_keys(const struct world *w) {
    char text[9000];
    for (int32_t db = 0; db < 2; db++) {
        for (unsigned i = 0; i < NAMES; i++) {
            bool must = w->before.dirty[db][i] && w->after.dirty[db][i];
            bool may = w->before.dirty[db][i] || w->after.dirty[db][i];
            bool is = w->found.dirty[db][i];
            if (is && !may) fail_msg("key %u of db %d comes from nowhere", i, db);
            if (must && !is && !w->found.everything &&
                !w->found.slots[slot_cluster(name_of(w, i, text))])
                fail_msg("key %u of db %d is forgotten", i, db);
        }
    }
}

static void check_found(const struct world *w) {
    check_keys(w);
    assert_false(w->found.strange);
    for (unsigned i = 0; i < JOURNAL_SLOTS; i++)
        if (w->before.slots[i] && w->after.slots[i]) assert_true(w->found.slots[i]);
    if (w->before.everything && w->after.everything) assert_true(w->found.everything);
    for (unsigned i = 0; i < HASHES; i++) {
        int64_t is = w->found.deadlines[i];
        if (w->found.deadlines_lost && is == 0) continue;
        if (is != w->before.deadlines[i] && is != w->after.deadlines[i])
            fail_msg("deadline %u is %" PRId64, i, is);
    }
    for (unsigned side = 0; side < 2; side++) {
        for (unsigned i = 0; i < SERVERS; i++) {
            bool is = w->found.connections[side][i];
            bool must = w->before.connections[side][i] && w->after.connections[side][i];
            bool may = w->before.connections[side][i] || w->after.connections[side][i];
            if (must) assert_true(is || w->found.connections_lost);
            if (!may) assert_false(is);
        }
    }
}

static void after_store(void *self) {
    struct world *w = self;
    if (++w->stores % w->look_every != 0) return;
    w->looked++;
    assert_int_equal(look_at(slice_from(w->memory, w->journal.size), boot, &w->found),
                     JOURNAL_GOOD);
    check_found(w);
}

/* ---- what is done ---- */

static void do_entry(struct world *w) {
    unsigned id = (unsigned)rng_below(&w->rng, IDS);
    struct journal_key keys[ENTRY_KEYS];
    static char texts[ENTRY_KEYS][9000];
    size_t count, have = 0;
    while (have < ENTRY_KEYS && w->entries[id][have] != 0) have++;
    if (have == ENTRY_KEYS || w->entry_all[id]) return;
    if (rng_below(&w->rng, 30) == 0) {
        w->entry_all[id] = true;
        paint(w, &w->after);
        journal_entry_all(&w->journal, id);
        return;
    }
    count = 1 + rng_below(&w->rng, ENTRY_KEYS - have);
    for (size_t i = 0; i < count; i++) {
        unsigned name = (unsigned)rng_below(&w->rng, NAMES), db = (unsigned)rng_below(&w->rng, 2);
        keys[i] = (struct journal_key){.name = name_of(w, name, texts[i]), .db = (int32_t)db};
        w->entries[id][have + i] = name + 1 + db * NAMES;
    }
    paint(w, &w->after);
    journal_entry(&w->journal, id, keys, count);
}

static void do_forget(struct world *w) {
    unsigned id = (unsigned)rng_below(&w->rng, IDS);
    memset(w->entries[id], 0, sizeof w->entries[id]);
    w->entry_all[id] = false;
    paint(w, &w->after);
    journal_forget(&w->journal, id);
}

static void do_key(struct world *w) {
    char text[9000];
    unsigned name = (unsigned)rng_below(&w->rng, NAMES), db = (unsigned)rng_below(&w->rng, 2);
    bool dirty = rng_below(&w->rng, 2) == 0;
    w->keys[db][name] = dirty;
    paint(w, &w->after);
    journal_key(&w->journal, (int32_t)db, name_of(w, name, text), dirty);
}

static void do_deadline(struct world *w) {
    unsigned hash = (unsigned)rng_below(&w->rng, HASHES);
    int64_t at = rng_below(&w->rng, 3) == 0 ? 0 : (int64_t)rng_below(&w->rng, 1000000);
    w->after.deadlines[hash] = at;
    journal_deadline(&w->journal, hash, at);
}

static void do_connection(struct world *w) {
    unsigned id = (unsigned)rng_below(&w->rng, SERVERS), side = (unsigned)rng_below(&w->rng, 2);
    bool open = w->after.connections[side][id];
    w->after.connections[side][id] = !open;
    if (open)
        journal_gone(&w->journal, (enum journal_side)side, id, "0123456789");
    else
        journal_opened(&w->journal, (enum journal_side)side, id, "0123456789");
}

static void do_slot(struct world *w) {
    unsigned slot = (unsigned)rng_below(&w->rng, JOURNAL_SLOTS);
    bool dirty = rng_below(&w->rng, 2) == 0;
    w->slots[slot] = dirty;
    paint(w, &w->after);
    journal_slot(&w->journal, slot, dirty);
}

static void step(struct world *w) {
    w->before = w->after;
    uint64_t what = rng_below(&w->rng, 100);
    if (what < 30)
        do_entry(w);
    else if (what < 55)
        do_forget(w);
    else if (what < 75)
        do_key(w);
    else if (what < 90)
        do_deadline(w);
    else if (what < 95)
        do_connection(w);
    else
        do_slot(w);
    w->before = w->after;
}

static void run(size_t size, size_t name_size, unsigned steps, unsigned look_every, uint64_t seed,
                struct journal_figures *figures) {
    static struct world w;
    memset(&w, 0, sizeof w);
    w.rng = rng_from(seed);
    w.memory = mem_zalloc(size);
    w.look_every = look_every;
    w.name_size = name_size;
    journal_init(&w.journal, w.memory, size, boot);
    w.journal.stored = after_store;
    w.journal.stored_self = &w;
    for (unsigned i = 0; i < steps; i++) step(&w);
    w.stores = 0;
    w.look_every = 1;
    after_store(&w);
    *figures = w.journal.figures;
    journal_close(&w.journal);
    mem_free(w.memory);
    print_message("%" PRIu64 " crashes, %" PRIu64 " records moved, %" PRIu64 " slots spilled\n",
                  w.looked, figures->moved, figures->spilled);
}

static void test_a_crash_between_any_two_stores_loses_nothing(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    print_message("seed %" PRIu64 "\n", seed);
    struct journal_figures figures;
    run(256u << 10, 20, 1000, 1, seed, &figures);
    assert_int_equal(figures.spilled, 0);
    /* The ring goes round many times: records are moved. */
    run(256u << 10, 120, 30000, 50, seed + 1, &figures);
    assert_int_equal(figures.spilled, 0);
    assert_true(figures.moved > 100);
}

static void test_without_room_keys_become_slots(void **state) {
    (void)state;
    struct journal_figures figures;
    run(JOURNAL_SIZE_MIN, 900, 4000, 7, rand_test_seed() + 2, &figures);
    assert_true(figures.spilled > 10);
    /* A name that no record can hold. */
    run(256u << 10, 8999, 300, 3, rand_test_seed() + 3, &figures);
    assert_true(figures.spilled > 10);
}

static void test_deadlines_without_room_say_so(void **state) {
    (void)state;
    static struct picture found;
    struct journal journal;
    uint8_t *memory = mem_zalloc(JOURNAL_SIZE_MIN);
    journal_init(&journal, memory, JOURNAL_SIZE_MIN, boot);
    for (unsigned i = 0; i < 5000; i++) journal_deadline(&journal, i % HASHES + i, 7);
    assert_int_equal(look_at(slice_from(memory, JOURNAL_SIZE_MIN), boot, &found), JOURNAL_GOOD);
    assert_true(found.deadlines_lost);
    journal_close(&journal);
    mem_free(memory);
}

static void test_connections_without_room_say_so(void **state) {
    (void)state;
    static struct picture found;
    struct journal journal;
    uint8_t *memory = mem_zalloc(JOURNAL_SIZE_MIN);
    journal_init(&journal, memory, JOURNAL_SIZE_MIN, boot);
    for (int i = 0; i < (int)JOURNAL_CONNECTIONS; i++)
        journal_opened(&journal, JOURNAL_P, i, "0123456789");
    assert_int_equal(look_at(slice_from(memory, JOURNAL_SIZE_MIN), boot, &found), JOURNAL_GOOD);
    assert_false(found.connections_lost);
    journal_opened(&journal, JOURNAL_F, 5, "0123456789");
    assert_int_equal(look_at(slice_from(memory, JOURNAL_SIZE_MIN), boot, &found), JOURNAL_GOOD);
    assert_true(found.connections_lost);
    journal_close(&journal);
    mem_free(memory);
}

/* ---- files that are not what they should be ---- */

static uint8_t *some_journal(size_t *size, uint64_t *log_bytes) {
    struct journal journal;
    char text[64];
    *size = JOURNAL_SIZE_MIN;
    uint8_t *memory = mem_zalloc(*size);
    journal_init(&journal, memory, *size, boot);
    for (unsigned i = 0; i < 20; i++) {
        snprintf(text, sizeof text, "key-%u-", i);
        struct journal_key key = {.name = slice_text(text)};
        journal_entry(&journal, i, &key, 1);
        journal_key(&journal, 1, slice_text(text), true);
        journal_deadline(&journal, i, 99);
        if (i % 3 == 0) journal_forget(&journal, i);
    }
    journal_opened(&journal, JOURNAL_P, 7, "0123456789");
    journal_close(&journal);
    *log_bytes = atomic_load(&((struct journal_head *)(void *)memory)->tail);
    return memory;
}

static void test_a_journal_of_another_boot_or_version_is_not_used(void **state) {
    (void)state;
    static struct picture found;
    size_t size;
    uint64_t log;
    uint8_t *memory = some_journal(&size, &log);
    struct slice file = slice_from(memory, size);
    assert_int_equal(look_at(file, boot, &found), JOURNAL_GOOD);
    assert_int_equal(look_at(file, "11234567-89ab-cdef-0123-456789abcdef", &found),
                     JOURNAL_OTHER_BOOT);
    assert_int_equal(look_at(file, "", &found), JOURNAL_OTHER_BOOT);
    ((struct journal_head *)(void *)memory)->version++;
    assert_int_equal(look_at(file, boot, &found), JOURNAL_OTHER_VERSION);
    assert_false(found.dirty[0][1]);
    mem_free(memory);
}

static void test_a_journal_that_was_cut_is_damaged(void **state) {
    (void)state;
    static struct picture found;
    size_t size;
    uint64_t log;
    uint8_t *memory = some_journal(&size, &log);
    for (size_t cut = 0; cut < size; cut += cut < 512 ? 1 : 997) {
        uint8_t *exact = mem_dup(memory, cut > 0 ? cut : 1);
        assert_int_equal(look_at(slice_from(exact, cut), boot, &found), JOURNAL_CORRUPT);
        mem_free(exact);
    }
    mem_free(memory);
}

static void test_a_record_that_was_damaged_is_noticed(void **state) {
    (void)state;
    static struct picture found;
    size_t size;
    uint64_t log;
    uint8_t *memory = some_journal(&size, &log);
    const size_t number_at = offsetof(struct journal_record, number);
    size_t record = JOURNAL_HEAD_BYTES + atomic_load(&((struct journal_head *)(void *)memory)->oldest);
    while (record < JOURNAL_HEAD_BYTES + log) {
        uint32_t bytes = ((struct journal_record *)(void *)(memory + record))->size;
        for (size_t i = 0; i < bytes; i++) {
            if (i >= number_at && i < number_at + 8) continue; /* not under the checksum */
            memory[record + i] ^= 0x10;
            assert_int_equal(look_at(slice_from(memory, size), boot, &found), JOURNAL_CORRUPT);
            memory[record + i] ^= 0x10;
        }
        record += bytes;
    }
    assert_int_equal(look_at(slice_from(memory, size), boot, &found), JOURNAL_GOOD);
    mem_free(memory);
}

static void test_any_damage_is_survived(void **state) {
    (void)state;
    static struct picture found;
    struct rng rng = rng_from(rand_test_seed());
    size_t size;
    uint64_t log;
    uint8_t *memory = some_journal(&size, &log);
    uint8_t *copy = mem_alloc(size);
    for (unsigned i = 0; i < 3000; i++) {
        memcpy(copy, memory, size);
        for (uint64_t n = 1 + rng_below(&rng, 4); n > 0; n--) {
            size_t at = rng_below(&rng, rng_below(&rng, 2) ? JOURNAL_HEAD_BYTES + log : 200);
            copy[at] = (uint8_t)rng_next(&rng);
        }
        struct journal_head *head = (struct journal_head *)(void *)copy;
        if (rng_below(&rng, 2)) head->check = journal_head_check(head);
        (void)look_at(slice_from(copy, size), boot, &found);
    }
    mem_free(copy);
    mem_free(memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_crash_between_any_two_stores_loses_nothing),
        cmocka_unit_test(test_without_room_keys_become_slots),
        cmocka_unit_test(test_deadlines_without_room_say_so),
        cmocka_unit_test(test_connections_without_room_say_so),
        cmocka_unit_test(test_a_journal_of_another_boot_or_version_is_not_used),
        cmocka_unit_test(test_a_journal_that_was_cut_is_damaged),
        cmocka_unit_test(test_a_record_that_was_damaged_is_noticed),
        cmocka_unit_test(test_any_damage_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
