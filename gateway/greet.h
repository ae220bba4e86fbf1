/* greet.h -- how a connection to a side becomes ready for use (C25); see the drawing in backend.h.
 */
#ifndef GATEWAY_GREET_H
#define GATEWAY_GREET_H

#include "gateway/backend.h"

struct sm greet_machine(void);
void greet_begin(struct backend *backend);                      /* it is connected */
size_t greet_take(struct backend *backend, struct slice bytes); /* returns what was used */
void greet_failed(struct backend *backend, enum err err, const char *why); /* before it was ready */

/* The server is not a primary any more: hang up, tell state, resolve and dial again. */
void greet_downgraded(struct backend *backend, const char *why);

#endif
