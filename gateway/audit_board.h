/* audit_board.h -- what a loop's audit found, for the main loop to read. See dual_audit.h. */
#ifndef GATEWAY_AUDIT_BOARD_H
#define GATEWAY_AUDIT_BOARD_H

#include "gateway/lane_audit.h"

#include <pthread.h>

struct audit_board {
    pthread_mutex_t lock; /* of all that follows */
    uint64_t order;       /* the one that it is about; 0: none yet */
    bool done;
    enum lane_audit_state state;
    struct lane_audit_figures figures;
    int64_t started_ms, ended_ms;
    unsigned slots;
    char error[160];
    char *named; /* JSON, once it is done: {"sample": [...], "undecided_keys": [...]}; or NULL */
    uint64_t repairs, repaired; /* orders carried out; keys of the last one */
    bool repair_full;
};

#endif
