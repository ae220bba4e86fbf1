/* dual_figures.c -- the figures of the lanes, for other threads: all of one moment. */
#include "gateway/dual.h"
#include "gateway/worker.h"

_Static_assert(DUAL_FIGURES <= WORKER_LANE_FIGURES, "worker.h has no room for the figures");

void dual_put_figures(struct worker *w, const uint64_t figures[DUAL_FIGURES]) {
    (void)pthread_mutex_lock(&w->lanes_lock);
    for (unsigned i = 0; i < DUAL_FIGURES; i++) counter_set(&w->counters.lanes[i], figures[i]);
    (void)pthread_mutex_unlock(&w->lanes_lock);
}

void dual_read_figures(struct worker *w, uint64_t figures[DUAL_FIGURES]) {
    (void)pthread_mutex_lock(&w->lanes_lock);
    for (unsigned i = 0; i < DUAL_FIGURES; i++) figures[i] = counter_get(&w->counters.lanes[i]);
    (void)pthread_mutex_unlock(&w->lanes_lock);
}
