/* latency.h -- LATENCY: spikes over latency-monitor-threshold milliseconds, by event. */
#ifndef SERVER_LATENCY_H
#define SERVER_LATENCY_H

#include "lib/base/buf.h"
#include "lib/redis/command.h"

#include <stdint.h>

struct engine;

void latency_commands_bind(struct engine *engine);
/* EVENT lives for ever. */
void latency_note(struct engine *engine, const char *event, uint64_t ms);

/* One call of COMMAND took so long (LATENCY HISTOGRAM, INFO latencystats). */
void latency_record(struct engine *engine, const struct command *command, uint64_t took_us);
void latency_forget_histograms(struct engine *engine);
void latency_info(struct engine *engine, struct buf *out);

#endif
