/* pause.h -- CLIENT PAUSE: commands wait in their clients' input until the pause ends. */
#ifndef SERVER_PAUSE_H
#define SERVER_PAUSE_H

#include <stdbool.h>
#include <stdint.h>

struct client;
struct engine;

bool pause_is_active(
    const struct engine *engine); /* of any kind: nothing may expire or be evicted */
/* Whether a command with these flags must wait; then the client is marked CLIENT_PAUSED. */
bool pause_applies(struct client *c, uint32_t flags, bool is_exec);
/* Who wants it; each has a pause of its own, and the strictest of those that run counts. */
enum pause_purpose { PAUSE_CLIENT, PAUSE_FAILOVER, PAUSE_SHUTDOWN, PAUSE_DISK, PAUSE_PURPOSES };
/* Until END_MS (engine's wall clock); a running pause is only made longer, and stricter. */
void pause_start(struct engine *engine, enum pause_purpose purpose, int64_t end_ms, bool all);
void pause_end(struct engine *engine, enum pause_purpose purpose);
void pause_check(struct engine *engine);           /* ends those whose time has come */
int64_t pause_end_ms(const struct engine *engine); /* of the first to end; 0: none */

#endif
