/* metrics.h -- what Prometheus sees of state: phase, epoch, gates, links, audits, ledger. */
#ifndef STATE_METRICS_H
#define STATE_METRICS_H

struct buf;
struct core;

void state_metrics(struct core *core, struct buf *out);

#endif
