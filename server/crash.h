/* crash.h -- when the process dies of a signal, the log says where.
 *
 * SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT (our own assertions) leave a stack trace in the log;
 * then the signal does what it always does, so a core file is left as before. crash-log-enabled no:
 * nothing of the kind. Where somebody else (a sanitizer) handles these signals, it stays so.
 * Source: sigsegvHandler() of Redis 7.0, in content, not in form.
 */
#ifndef SERVER_CRASH_H
#define SERVER_CRASH_H

#include "server/engine.h"

/* Once, at the start; ENGINE lives for ever. */
void crash_open(struct engine *engine);
/* After crash-log-enabled was changed. */
MUST_CHECK enum err crash_apply(struct engine *engine, struct why *why);

#endif
