/* metrics_http.h -- /metrics of a role: collected when it is asked for, in the HTTP server's
 * thread. */
#ifndef LIB_NET_METRICS_HTTP_H
#define LIB_NET_METRICS_HTTP_H

#include "lib/base/metrics.h"
#include "lib/base/why.h"
#include "lib/net/endpoint.h"

struct metrics_http;

/* COLLECT adds the role's metrics; it runs in another thread, so it reads counters and histograms
 * (which allow that) and nothing else of a loop. What every process has is added here. LISTEN of
 * kind ENDPOINT_NONE: nothing is opened, *METRICS becomes NULL. ROLE is a constant. */
MUST_CHECK enum err metrics_http_open(struct metrics_http **metrics, const struct endpoint *listen,
                                      const char *role,
                                      void (*collect)(void *self, struct metrics *metrics),
                                      void *self, struct why *why);
uint16_t metrics_http_port(const struct metrics_http *metrics);
void metrics_http_close(struct metrics_http *metrics); /* NULL is fine */

#endif
