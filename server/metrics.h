/* metrics.h -- /metrics of the server, as Prometheus text, at the address of the option `metrics`.
 *
 * The engine copies its figures into counters ten times a second or so; the thread of the HTTP
 * server reads these and nothing else. So a reading costs the engine nothing, and is answered even
 * while the engine is busy: drawbridge_server_sampled_timestamp_seconds then says since when.
 *
 * A turn is everything between two sleeps of the loop: sockets read, commands executed, files and
 * replies written. How long turns take is what other clients wait; it is measured only while
 * metrics are served.
 */
#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include "lib/base/why.h"

struct engine;

/* Settings are read, the loop does not run yet. Nothing is opened without the option. */
MUST_CHECK enum err server_metrics_open(struct engine *engine, struct why *why);
void server_metrics_close(struct engine *engine); /* fine without */

/* The end of a turn; the loop is going to sleep. */
void server_metrics_turn(struct engine *engine);
/* Copy the figures: each tick, and now and then in anything long. */
void server_metrics_sample(struct engine *engine);

#endif
