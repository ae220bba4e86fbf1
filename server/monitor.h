/* monitor.h -- MONITOR: every command that is executed, to those who asked. engine->monitor is NULL
 * while nobody does. */
#ifndef SERVER_MONITOR_H
#define SERVER_MONITOR_H

struct client;
struct engine;

void monitor_commands_bind(struct engine *engine);
void monitor_feed(struct client *c); /* the client's command is about to run */
void monitor_forget(struct client *c);

#endif
