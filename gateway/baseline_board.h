/* baseline_board.h -- where the baseline comes from (C15): what the main loop was told, for the lanes'
 * loop, and what that loop says about the file, for the main loop.
 *
 *     gateway.baseline, or state's BASELINE --> board --> dual_baseline.c
 *                                status <-- board <-- why the last file was not taken
 */
#ifndef GATEWAY_BASELINE_BOARD_H
#define GATEWAY_BASELINE_BOARD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define BASELINE_PATH_BYTES 1024

struct baseline_board {
    _Atomic uint64_t orders; /* counts changes of `path`; may be read without the lock */
    pthread_mutex_t lock;    /* of all that follows */
    char path[BASELINE_PATH_BYTES]; /* or "scan" */
    int64_t migration;              /* state's number of the one that ordered it; 0: none did */
    char said[240];                 /* "": there is nothing to say */
};

static inline void baseline_board_init(struct baseline_board *b, const char *path) {
    *b = (struct baseline_board){.orders = 1};
    (void)snprintf(b->path, sizeof b->path, "%s", path);
    (void)pthread_mutex_init(&b->lock, NULL);
}

/* Each migration says it once: who is told again goes on with what it has, or has done. */
static inline void baseline_board_order(struct baseline_board *b, int64_t migration,
                                        const char *path) {
    (void)pthread_mutex_lock(&b->lock);
    bool again = b->migration == migration && strcmp(b->path, path) == 0;
    b->migration = migration;
    if (!again) {
        (void)snprintf(b->path, sizeof b->path, "%s", path);
        b->said[0] = '\0';
        atomic_fetch_add(&b->orders, 1);
    }
    (void)pthread_mutex_unlock(&b->lock);
}

static inline void baseline_board_say(struct baseline_board *b, const char *said) {
    (void)pthread_mutex_lock(&b->lock);
    (void)snprintf(b->said, sizeof b->said, "%s", said);
    (void)pthread_mutex_unlock(&b->lock);
}

#endif
