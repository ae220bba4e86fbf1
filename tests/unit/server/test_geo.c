/* test_geo.c -- places as scores: known ones, and that a cover misses nothing. */
#include "server/geo.h"

#include "lib/base/rand.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct geo_point palermo = {13.361389, 38.115556}, catania = {15.087269, 37.502669};

static void test_known_places_have_the_scores_that_redis_gives_them(void **state) {
    (void)state;
    assert_true(geo_encode(palermo) == UINT64_C(3479099956230698));
    assert_true(geo_encode(catania) == UINT64_C(3479447370796909));
    struct geo_point back = geo_decode(3479099956230698.0);
    assert_true(back.longitude == 13.36138933897018433 && back.latitude == 38.11555639549629859);
    assert_int_equal(llrint(geo_distance(back, geo_decode(3479447370796909.0)) * 10000),
                     1662741516);
}

static void test_any_double_is_some_place(void **state) {
    (void)state;
    const double scores[] = {-1, -1e300, 1e300, HUGE_VAL, -HUGE_VAL, 9223372036854775808.0, 0.5};
    for (size_t i = 0; i < sizeof scores / sizeof *scores; i++)
        assert_true(geo_is_valid(geo_decode(scores[i])));
}

static double between(struct rng *rng, double low, double high) {
    return low + (high - low) * ((double)rng_below(rng, 1u << 30) / (double)(1u << 30));
}

/* As Redis does, boxes whose edge lies past a pole or the date line are not asked for here: its
 * cells do not go round the corner there either. */
static void test_what_lies_in_an_area_lies_in_a_cell_of_its_cover(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    printf("seed %llu\n", (unsigned long long)seed);
    struct rng rng = rng_from(seed);
    unsigned inside = 0;
    for (int round = 0; round < 2000; round++) {
        struct geo_area area = {.unit = 1, .is_box = rng_below(&rng, 2)};
        area.centre = (struct geo_point){between(&rng, -150, 150), between(&rng, -60, 60)};
        area.radius = pow(10, between(&rng, 0, 5.5));
        area.width = pow(10, between(&rng, 0, 5.5));
        area.height = pow(10, between(&rng, 0, 5.5));
        struct geo_cell cells[GEO_CELLS];
        geo_cover(&area, cells);
        double reach = (area.is_box ? fmax(area.width, area.height) : area.radius) / 100000;
        for (int i = 0; i < 40; i++) {
            struct geo_point p = {area.centre.longitude + between(&rng, -reach, reach),
                                  area.centre.latitude + between(&rng, -reach, reach)};
            double distance, score = (double)geo_encode(p), low, high;
            bool covered = false;
            if (!geo_contains(&area, geo_decode(score), &distance)) continue;
            inside++;
            for (int n = 0; n < GEO_CELLS; n++) {
                if (cells[n].step == 0) continue;
                geo_cell_scores(cells[n], &low, &high);
                covered |= score >= low && score < high;
            }
            assert_true(covered);
        }
    }
    assert_true(inside > 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_places_have_the_scores_that_redis_gives_them),
        cmocka_unit_test(test_any_double_is_some_place),
        cmocka_unit_test(test_what_lies_in_an_area_lies_in_a_cell_of_its_cover),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
