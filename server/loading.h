/* loading.h -- loading in slices: between them the engine does everything else it has to do.
 *
 *     at start      engine_run() --> HOOK_STARTED --> load ---------> loading_advance() --> a turn
 *     a full sync   a turn: the RDB is whole --> engine_later() --> load --> ... the same
 *
 * Whoever loads says after each piece, or each key, how far it is. When a slice of
 * LOADING_SLICE_US is over, one turn of the loop runs right there: clients are accepted and
 * answered (-LOADING, but for commands that may run meanwhile), time goes on, signals are heard.
 * So nobody waits longer than a slice, a piece and a turn; a piece is at most LOADING_PIECE_BYTES
 * of a file, or one command of an AOF.
 *
 * Inside a command (DEBUG RELOAD) the loop runs already: then it is loaded in one go.
 * Source of behaviour: startLoading, loadingProgress and processEventsWhileBlocked in Redis 7.0.
 */
#ifndef SERVER_LOADING_H
#define SERVER_LOADING_H

#include "lib/base/why.h"

#include <stddef.h>
#include <stdint.h>

#define LOADING_SLICE_US 2000u
#define LOADING_PIECE_BYTES ((size_t)64 * 1024)

struct engine;

/* TOTAL_BYTES: of all files together. Not while something is being loaded. */
void loading_begin(struct engine *engine, uint64_t total_bytes);
/* The same beside data that are served meanwhile (async_loading): only commands that would disturb
 * it are refused, and no snapshot begins. */
void loading_begin_aside(struct engine *engine, uint64_t total_bytes);
/* Each of these may run a turn. ERR_STATE: the server is shutting down, so give up.
 * BYTES more were read, or are in: */
MUST_CHECK enum err loading_advance(struct engine *engine, uint64_t bytes, struct why *why);
/* A key, or a command, is in (key-load-delay). */
MUST_CHECK enum err loading_key(struct engine *engine, struct why *why);
/* Something took a moment. */
MUST_CHECK enum err loading_look(struct engine *engine, struct why *why);
void loading_end(struct engine *engine);

#endif
