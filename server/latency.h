/* latency.h -- LATENCY: spikes over latency-monitor-threshold milliseconds, by event. */
#ifndef SERVER_LATENCY_H
#define SERVER_LATENCY_H

#include <stdint.h>

struct engine;

void latency_commands_bind(struct engine *engine);
/* EVENT lives for ever. */
void latency_note(struct engine *engine, const char *event, uint64_t ms);

#endif
