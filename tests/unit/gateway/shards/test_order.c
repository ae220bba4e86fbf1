/* test_order.c -- units of one slot are executed in their order, or are said to be displaced (C22b).
 *
 * The random test plays a Cluster of two nodes with one connection to each: slots are moved key by
 * key, as resharding does, and back; nodes answer what reaches them in order, late. What was
 * executed is written down by slot, and compared with the order in which it was asked for. A part of
 * the rule can be taken out: then it must find something.
 */
#include "gateway/shards/order.h"

#include "lib/base/mem.h"
#include "lib/base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define UNITS 400u
#define SLOTS 3u
#define KEYS 2u

struct play {
    struct shards_unit order; /* first */
    unsigned key, node;       /* KEY: of the slot */
    bool asking;
    unsigned executed; /* when; 0: not yet */
    unsigned popped;
};

static void test_units_leave_at_once_and_come_back_in_order(void **state) {
    (void)state;
    struct shards_order o = {0};
    struct shards_unit a = {.slot = 1}, b = {.slot = 2};
    shards_order_add(&o, &a);
    shards_order_add(&o, &b);
    assert_ptr_equal(shards_order_next(&o, NULL, 0), &a);
    assert_ptr_equal(shards_order_next(&o, &a, 0), &b);
    shards_order_sent(&o, &a);
    shards_order_sent(&o, &b);
    assert_null(shards_order_next(&o, NULL, 0));
    shards_order_answered(&o, &b);
    assert_null(shards_order_pop(&o));
    shards_order_answered(&o, &a);
    assert_ptr_equal(shards_order_pop(&o), &a);
    assert_ptr_equal(shards_order_pop(&o), &b);
    assert_int_equal(o.count, 0);
    shards_order_close(&o);
}

static void test_a_redirected_unit_stops_its_slot_until_all_is_answered(void **state) {
    (void)state;
    struct shards_order o = {0};
    struct shards_unit a = {.slot = 1}, b = {.slot = 1}, c = {.slot = 1}, d = {.slot = 2};
    shards_order_add(&o, &a);
    shards_order_add(&o, &b);
    shards_order_sent(&o, &a);
    shards_order_sent(&o, &b);
    shards_order_redirected(&o, &a, 1, 0, 0);
    shards_order_add(&o, &c);
    shards_order_add(&o, &d);
    assert_ptr_equal(shards_order_next(&o, NULL, 0), &d); /* another slot is free */
    shards_order_redirected(&o, &b, 1, 0, 0);
    assert_ptr_equal(shards_order_next(&o, NULL, 0), &a);
    assert_ptr_equal(shards_order_next(&o, &a, 0), &d); /* b waits for a */
    shards_order_sent(&o, &a);
    shards_order_answered(&o, &a);
    assert_ptr_equal(shards_order_next(&o, NULL, 0), &b);
    shards_order_sent(&o, &b);
    shards_order_answered(&o, &b);
    assert_false(a.displaced || b.displaced);
    assert_ptr_equal(shards_order_next(&o, NULL, 0), &c);
    shards_order_sent(&o, &c);
    shards_order_answered(&o, &c);
    shards_order_close(&o);
}

static void test_what_was_executed_before_it_displaces_a_unit(void **state) {
    (void)state;
    struct shards_order o = {0};
    struct shards_unit a = {.slot = 1}, b = {.slot = 1};
    shards_order_add(&o, &a);
    shards_order_add(&o, &b);
    shards_order_sent(&o, &a);
    shards_order_sent(&o, &b);
    shards_order_redirected(&o, &a, 1, 0, 50);
    shards_order_answered(&o, &b);
    assert_true(a.displaced && !b.displaced);
    assert_null(shards_order_next(&o, NULL, 49));
    assert_ptr_equal(shards_order_next(&o, NULL, 50), &a);
    shards_order_close(&o);
}

static void test_another_owner_stops_what_is_unanswered(void **state) {
    (void)state;
    struct shards_order o = {0};
    struct shards_unit a = {.slot = 1}, b = {.slot = 1};
    shards_order_add(&o, &a);
    shards_order_sent(&o, &a);
    shards_order_stop(&o, 1);
    shards_order_stop(&o, 2); /* nothing of it is here */
    shards_order_add(&o, &b);
    assert_null(shards_order_next(&o, NULL, 0));
    shards_order_answered(&o, &a);
    assert_ptr_equal(shards_order_next(&o, NULL, 0), &b);
    shards_order_close(&o);
}

/* ---- at random ---- */

enum off {
    OFF_NOTHING,
    OFF_STOP,      /* a slot of which something was redirected goes on as before */
    OFF_DISPLACED, /* nobody looks at what was displaced */
};

struct world {
    enum off off;
    struct rng rng;
    struct shards_order order;
    struct play *sent[2][UNITS * 64]; /* by node, in order */
    size_t at[2], end[2];
    unsigned owner[SLOTS];  /* the truth */
    unsigned map[SLOTS];    /* what the connection believes */
    bool moving[SLOTS];     /* to the other one */
    bool gone[SLOTS][KEYS]; /* the key was moved already */
    unsigned clock, popped;
};

static struct shards_unit *next(const struct world *w, const struct shards_unit *after) {
    if (w->off != OFF_STOP) return shards_order_next(&w->order, after, 0);
    struct shards_unit *at = after != NULL ? after->next : w->order.head;
    while (at != NULL && at->state != SHARDS_WAITS) at = at->next;
    return at;
}

static void pump(struct world *w) {
    struct shards_unit *at = next(w, NULL);
    for (; at != NULL; at = next(w, at)) {
        struct play *p = (struct play *)(void *)at;
        unsigned node = p->asking ? p->node : w->map[at->slot];
        if (rng_below(&w->rng, 4) == 0) break; /* the connection is full, say */
        p->node = node;
        shards_order_sent(&w->order, at);
        assert_true(w->end[node] < UNITS * 64);
        w->sent[node][w->end[node]++] = p;
    }
}

/* The node NODE answers the first of what it was sent. */
static void serve(struct world *w, unsigned node) {
    if (w->at[node] == w->end[node]) return;
    struct play *p = w->sent[node][w->at[node]++];
    uint16_t slot = p->order.slot;
    bool here = w->owner[slot] == node && !(w->moving[slot] && w->gone[slot][p->key]);
    bool asked = p->asking && w->moving[slot] && w->owner[slot] != node && w->gone[slot][p->key];
    p->asking = false;
    if (here || asked) {
        assert_int_equal(p->executed, 0);
        p->executed = ++w->clock;
        shards_order_answered(&w->order, &p->order);
        return;
    }
    if (w->owner[slot] == node) { /* ASK */
        p->asking = true;
        p->node = 1 - node;
    } else { /* MOVED: the map is read anew */
        if (w->map[slot] != w->owner[slot]) shards_order_stop(&w->order, slot);
        w->map[slot] = w->owner[slot];
    }
    shards_order_redirected(&w->order, &p->order, slot, 0, 0);
}

static void reshard(struct world *w) {
    unsigned slot = (unsigned)rng_below(&w->rng, SLOTS);
    if (!w->moving[slot]) {
        w->moving[slot] = true;
        for (unsigned i = 0; i < KEYS; i++) w->gone[slot][i] = false;
    } else if (rng_below(&w->rng, 2) == 0) {
        w->gone[slot][rng_below(&w->rng, KEYS)] = true;
    } else if (rng_below(&w->rng, 3) == 0) { /* it is called off: the keys come back */
        w->moving[slot] = false;
    } else {
        w->moving[slot] = false;
        w->owner[slot] = 1 - w->owner[slot];
    }
}

static void take_answers(struct world *w) {
    for (struct shards_unit *u; (u = shards_order_pop(&w->order)) != NULL;)
        ((struct play *)(void *)u)->popped = ++w->popped;
}

/* Returns how many were executed out of their order without being said to be displaced. */
static size_t run(uint64_t seed, enum off off, size_t *displaced) {
    struct world *w = NEW(struct world);
    struct play *plays = NEW_ARRAY(struct play, UNITS);
    size_t added = 0, wrong = 0;
    w->off = off;
    w->rng = rng_from(seed);
    while (w->popped < UNITS) {
        uint64_t dice = rng_below(&w->rng, 10);
        if (dice < 4 && added < UNITS) {
            struct play *p = &plays[added++];
            p->order.slot = (uint16_t)rng_below(&w->rng, SLOTS);
            p->key = (unsigned)rng_below(&w->rng, KEYS);
            shards_order_add(&w->order, &p->order);
        } else if (dice < 8) {
            serve(w, (unsigned)rng_below(&w->rng, 2));
        } else if (dice == 8 && added < UNITS) {
            reshard(w);
        }
        pump(w);
        take_answers(w);
    }
    for (size_t i = 0; i < UNITS; i++) {
        if (plays[i].order.displaced) (*displaced)++;
        if (off == OFF_DISPLACED) plays[i].order.displaced = false;
        assert_int_equal(plays[i].popped, i + 1);
        for (size_t k = i + 1; k < UNITS; k++) {
            if (plays[k].order.slot != plays[i].order.slot) continue;
            if (plays[k].executed > plays[i].executed || plays[i].order.displaced) continue;
            if (off == OFF_NOTHING)
                print_message("seed %llu: unit %zu was executed before %zu\n",
                              (unsigned long long)seed, k, i);
            wrong++;
        }
    }
    shards_order_close(&w->order);
    mem_free(plays);
    mem_free(w);
    return wrong;
}

static void test_any_resharding_keeps_the_order_or_says_so(void **state) {
    (void)state;
    size_t displaced = 0;
    for (uint64_t seed = 1; seed <= 60; seed++)
        assert_int_equal(run(seed, OFF_NOTHING, &displaced), 0);
    assert_true(displaced > 0 && displaced < 60 * UNITS / 4);
}

static void test_each_part_of_the_rule_is_missed_when_it_is_taken_out(void **state) {
    (void)state;
    for (enum off off = OFF_STOP; off <= OFF_DISPLACED; off++) {
        size_t wrong = 0, displaced = 0;
        uint64_t seed = 0;
        while (wrong == 0 && ++seed <= 60) wrong = run(seed, off, &displaced);
        assert_true(wrong > 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units_leave_at_once_and_come_back_in_order),
        cmocka_unit_test(test_a_redirected_unit_stops_its_slot_until_all_is_answered),
        cmocka_unit_test(test_what_was_executed_before_it_displaces_a_unit),
        cmocka_unit_test(test_another_owner_stops_what_is_unanswered),
        cmocka_unit_test(test_any_resharding_keeps_the_order_or_says_so),
        cmocka_unit_test(test_each_part_of_the_rule_is_missed_when_it_is_taken_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
