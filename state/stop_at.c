/* stop_at.c -- for tests: stop this process inside a chosen step of a barrier. See stop_at.h. */
#include "state/stop_at.h"

#include "lib/base/log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Whether the file asks for WORD of STEP; then it is removed. */
static bool is_wanted(enum barrier_step step, const char *word) {
    const char *path = getenv("DRAWBRIDGE_TEST_STOP_AT");
    FILE *file = path ? fopen(path, "re") : NULL;
    if (!file) return false;
    char line[64] = "", wanted[64];
    char *got = fgets(line, sizeof line, file);
    (void)fclose(file);
    if (!got) return false;
    line[strcspn(line, "\n")] = '\0';
    (void)snprintf(wanted, sizeof wanted, "%s %s", barrier_step_name(step), word);
    return strcmp(line, wanted) == 0 && unlink(path) == 0;
}

static void stop_now(void *self) {
    (void)self;
    log_warn("state.stops_for_a_test");
    (void)raise(SIGSTOP);
}

void stop_at_before(enum barrier_step step) {
    if (is_wanted(step, "before")) stop_now(NULL);
}

/* Streams asked to be flushed before this does, so it comes after them. */
void stop_at_after(enum barrier_step step, struct loop *loop, struct loop_work *work) {
    if (is_wanted(step, "after")) loop_at_flush(loop, work, stop_now, NULL);
}
