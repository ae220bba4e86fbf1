/* report.h -- how a link fares: as the JSON of docs/CONTROL.md, as a log line, as metrics. */
#ifndef SYNCER_REPORT_H
#define SYNCER_REPORT_H

#include "lib/base/metrics.h"
#include "syncer/link.h"

/* {"link": "forward", "role": ..., ...} */
void report_json(struct link *link, struct buf *out);

/* One line of progress. RATE_US: since the last one. */
void report_log(struct link *link);

void report_metrics(struct link *link, struct metrics *metrics);

#endif
