/* slowlog.h -- SLOWLOG: commands that took longer than slowlog-log-slower-than microseconds. */
#ifndef SERVER_SLOWLOG_H
#define SERVER_SLOWLOG_H

#include <stdint.h>

struct client;
struct engine;

void slowlog_commands_bind(struct engine *engine);
void slowlog_note(struct client *c, uint64_t took_us);

#endif
