/* metrics_http.c -- /metrics of a role. See metrics_http.h. */
#include "lib/net/metrics_http.h"

#include "lib/base/mem.h"
#include "lib/net/http.h"

#include <string.h>

struct metrics_http {
    struct http *http;
    const char *role;
    void (*collect)(void *self, struct metrics *metrics);
    void *self;
};

static void answer(void *self, struct http_request *request) {
    struct metrics_http *served = self;
    if (strcmp(http_path(request), "/metrics") != 0) {
        http_answer_text(request, 404, "there is only /metrics here");
        return;
    }
    if (strcmp(http_method(request), "GET") != 0) {
        http_answer_text(request, 405, "only GET");
        return;
    }
    struct metrics metrics;
    struct buf out = {0};
    metrics_init(&metrics);
    metrics_add_process(&metrics, served->role);
    if (served->collect) served->collect(served->self, &metrics);
    metrics_write(&metrics, &out);
    metrics_close(&metrics);
    http_answer(request, 200, METRICS_CONTENT_TYPE, &out);
}

enum err metrics_http_open(struct metrics_http **metrics, const struct endpoint *listen,
                           const char *role, void (*collect)(void *self, struct metrics *metrics),
                           void *self, struct why *why) {
    if (listen->kind == ENDPOINT_NONE) {
        *metrics = NULL;
        return OK;
    }
    struct metrics_http *made = NEW(struct metrics_http);
    *made = (struct metrics_http){NULL, role, collect, self};
    enum err err = http_open(&made->http, listen, NULL, answer, made, why);
    if (err) {
        mem_free(made);
        return why_add(why, err, "metrics");
    }
    *metrics = made;
    return OK;
}

uint16_t metrics_http_port(const struct metrics_http *metrics) {
    return http_port(metrics->http);
}

void metrics_http_close(struct metrics_http *metrics) {
    if (metrics == NULL) return;
    http_close(metrics->http);
    mem_free(metrics);
}
