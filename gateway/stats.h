/* stats.h -- the gateway's counters, summed over its loops: as JSON for state, as Prometheus text,
 * and as answers for the admin socket.
 *
 * Counters are written by their loop and read by anybody (lib/base/metrics.h).
 */
#ifndef GATEWAY_STATS_H
#define GATEWAY_STATS_H

#include "gateway/gw.h"

#include "lib/base/metrics.h"

struct stats *stats_open(void);
void stats_close(struct stats *stats); /* NULL is fine */

/* Remember the NAME of a command that the table does not know (the first 32, for a gate). From any
 * loop. */
void stats_unknown_command(struct gateway *gw, struct slice name);

/* The object of the report STATS (docs/CONTROL.md). On the main loop, which owns gw->hold. */
void stats_write_json(struct gateway *gw, struct buf *out);
void stats_tick(struct gateway *gw);      /* each second: rates */
void stats_tick_hold(struct gateway *gw); /* gw->hold changed */

/* All metrics of the gateway SELF; from any thread. */
void stats_add_metrics(void *self, struct metrics *metrics);

#endif
