/* api.h -- the one HTTP API of state, for command line, console and scripts (docs/API.md).
 *
 * HTTP runs in a thread of its own; each request goes to the loop by a mailbox, and is answered
 * from there, or by the store's job that it began. Bounds: API_WAITING_MAX requests at a time, the
 * rest get 503. Everything in a request is untrusted.
 */
#ifndef STATE_API_H
#define STATE_API_H

#include "state/core.h"

#define API_WAITING_MAX 256

struct api;

MUST_CHECK enum err api_open(struct api **api, struct core *core, struct why *why);
void api_close(struct api *api); /* NULL is fine */

#endif
