/* api_reads.h -- what the API reads from the ledger, and the plans of --dry-run. */
#ifndef STATE_API_READS_H
#define STATE_API_READS_H

#include "state/core.h"

enum api_table { API_CHECKPOINTS, API_BARRIERS, API_DIFFERENCES, API_VERIFY };

/* The result comes by DONE, once the store's thread has read it. */
void api_read_events(struct core *core, int64_t after, int64_t limit, core_done *done, void *self);
void api_read_table(struct core *core, enum api_table table, int64_t id, core_done *done,
                    void *self);

/* What would happen: steps, predicted hold, what can be undone. */
json_t *api_plan(struct core *core, enum side from, int64_t max_hold_ms);
json_t *api_simple_plan(struct core *core, enum workflow_event event, const char *what);

#endif
