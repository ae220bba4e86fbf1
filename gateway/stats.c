/* stats.c -- the gateway's counters, summed over its loops. See stats.h. */
#include "gateway/stats.h"

#include "gateway/dual.h"
#include "gateway/reads.h"
#include "gateway/worker.h"

#include "lib/base/mem.h"

#include <jansson.h>
#include <pthread.h>

#define UNKNOWN_MAX 32u
#define UNKNOWN_BYTES 64u

/* A figure of GATEWAY LANES as Prometheus has it: in seconds, and counters as such. */
struct lane_metric {
    struct metric metric;
    char name[80], help[96];
};

struct stats {
    struct lane_metric lanes[DUAL_FIGURES];
    pthread_mutex_t lock; /* of the names only */
    char unknown[UNKNOWN_MAX][UNKNOWN_BYTES];
    size_t unknown_count;
    uint64_t ops_before, ops_per_s;
    struct counter held, epoch, primary; /* for /metrics, which is another thread */
};

static const char *const classes[CLASSES] = {"read", "write", "other"};
static const char *const outcomes[OUTCOMES] = {"ok", "error", "lost"};

static bool ends_in(const char *text, const char *end) {
    size_t size = strlen(text), tail = strlen(end);
    return size > tail && strcmp(text + size - tail, end) == 0;
}

static void name_lane_metric(struct lane_metric *m, const char *figure) {
    bool ms = ends_in(figure, "_ms"), us = ends_in(figure, "_us") || ends_in(figure, "_us_max");
    bool at = ends_in(figure, "_s"); /* a moment, in seconds since 1970 */
    int size = (int)strlen(figure);
    if (at) size -= 2;
    if (ms || ends_in(figure, "_us")) size -= 3;
    if (ends_in(figure, "_us_max")) size -= 7;
    const char *unit = ends_in(figure, "_us_max") ? "_max_seconds"
                       : at                         ? "_timestamp_seconds"
                       : ms || us                   ? "_seconds"
                                                    : "";
    (void)snprintf(m->name, sizeof m->name, "drawbridge_lanes_%.*s%s", size, figure, unit);
    (void)snprintf(m->help, sizeof m->help, "See GATEWAY LANES: %s.", figure);
    m->metric = (struct metric){.name = m->name,
                                .type = ends_in(figure, "_total") ? METRIC_COUNTER : METRIC_GAUGE,
                                .help = m->help,
                                .scale = ms ? 1e-3 : us ? 1e-6 : 1};
}

struct stats *stats_open(void) {
#define DUAL_NAME(name, text) text,
    static const char *const figures[DUAL_FIGURES] = {DUAL_FIGURE_LIST(DUAL_NAME)};
#undef DUAL_NAME
    struct stats *stats = NEW(struct stats);
    for (unsigned i = 0; i < DUAL_FIGURES; i++) name_lane_metric(&stats->lanes[i], figures[i]);
    pthread_mutex_init(&stats->lock, NULL);
    return stats;
}

void stats_close(struct stats *stats) {
    if (stats == NULL) return;
    pthread_mutex_destroy(&stats->lock);
    mem_free(stats);
}

/* Printable ASCII in lower case, so that it can stand in JSON and in logs. */
void stats_unknown_command(struct gateway *gw, struct slice name) {
    struct stats *stats = gw->stats;
    char text[UNKNOWN_BYTES];
    size_t size = name.size < UNKNOWN_BYTES ? name.size : UNKNOWN_BYTES - 1;
    for (size_t i = 0; i < size; i++) {
        uint8_t c = name.data[i];
        if (c >= 'A' && c <= 'Z') c = (uint8_t)(c | 0x20);
        text[i] = c > ' ' && c < 0x7f ? (char)c : '?';
    }
    text[size] = '\0';
    pthread_mutex_lock(&stats->lock);
    bool known = stats->unknown_count == UNKNOWN_MAX;
    for (size_t i = 0; i < stats->unknown_count; i++) known |= strcmp(stats->unknown[i], text) == 0;
    if (!known) memcpy(stats->unknown[stats->unknown_count++], text, size + 1);
    pthread_mutex_unlock(&stats->lock);
}

static uint64_t count_ops(const struct worker_counters *c) {
    uint64_t ops = counter_get(&c->local);
    for (unsigned side = 0; side < SIDES; side++)
        for (unsigned class = 0; class < CLASSES; class ++)
            for (unsigned outcome = 0; outcome < OUTCOMES; outcome++)
                ops += counter_get(&c->requests[side][class][outcome]);
    return ops;
}

struct sums {
    uint64_t ops, errors, bytes_in, bytes_out, clients, backends_up;
};

static struct sums sum_up(struct gateway *gw, struct hist *request_us) {
    struct sums sums = {0};
    for (unsigned i = 0; i < gw->loops; i++) {
        const struct worker_counters *c = &gw->workers[i]->counters;
        for (unsigned side = 0; side < SIDES; side++) sums.errors += counter_get(&c->errors[side]);
        sums.ops += count_ops(c);
        sums.bytes_in += counter_get(&c->bytes_in);
        sums.bytes_out += counter_get(&c->bytes_out);
        sums.clients += counter_get(&c->clients);
        sums.backends_up += counter_get(&c->backends_up);
        hist_merge(request_us, &c->request_us);
    }
    return sums;
}

void stats_tick(struct gateway *gw) {
    uint64_t ops = 0;
    for (unsigned i = 0; i < gw->loops; i++) ops += count_ops(&gw->workers[i]->counters);
    gw->stats->ops_per_s = ops - gw->stats->ops_before;
    gw->stats->ops_before = ops;
    stats_tick_hold(gw);
}

void stats_tick_hold(struct gateway *gw) {
    counter_set(&gw->stats->held, hold_is_held(&gw->hold));
    counter_set(&gw->stats->epoch, gw->hold.epoch);
    counter_set(&gw->stats->primary, gw->hold.side);
}

static json_t *unknown_names(struct stats *stats) {
    json_t *names = json_array();
    pthread_mutex_lock(&stats->lock);
    for (size_t i = 0; i < stats->unknown_count; i++)
        json_array_append_new(names, json_string(stats->unknown[i]));
    pthread_mutex_unlock(&stats->lock);
    return names;
}

/* ---- latencies of each side and class ---- */

static void merge_latency(struct gateway *gw, unsigned side, unsigned class, struct hist *hist) {
    hist_clear(hist);
    for (unsigned i = 0; i < gw->loops; i++)
        hist_merge(hist, &gw->workers[i]->counters.latency_us[side][class]);
}

static const struct {
    const char *name, *label;
    double quantile;
} quantiles[] = {
    {"p50_us", "0.5", 0.5},       {"p99_us", "0.99", 0.99},     {"p999_us", "0.999", 0.999},
    {"p9999_us", "0.9999", 0.9999}, {"max_us", "1", 1},
};
#define QUANTILES (sizeof quantiles / sizeof *quantiles)

/* What only exists exactly is told exactly. */
static uint64_t quantile_of(const struct hist *hist, size_t i) {
    return quantiles[i].quantile < 1 ? hist_quantile(hist, quantiles[i].quantile) : hist_max(hist);
}

static json_t *latency_json(struct gateway *gw) {
    struct hist *hist = NEW(struct hist);
    json_t *sides = json_object();
    for (unsigned side = 0; side < SIDES; side++) {
        json_t *of_side = json_object();
        for (unsigned class = 0; class < CLASSES; class ++) {
            merge_latency(gw, side, class, hist);
            json_t *one = json_pack("{s:I}", "count", (json_int_t)hist_count(hist));
            for (size_t i = 0; i < QUANTILES; i++)
                json_object_set_new(one, quantiles[i].name,
                                    json_integer((json_int_t)quantile_of(hist, i)));
            json_object_set_new(of_side, classes[class], one);
        }
        json_object_set_new(sides, gateway_side_name((enum side)side), of_side);
    }
    mem_free(hist);
    return sides;
}

void stats_write_json(struct gateway *gw, struct buf *out) {
    struct hist *hist = NEW(struct hist);
    struct sums s = sum_up(gw, hist);
    json_t *object = json_pack(
        "{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:b,s:I,s:s,s:b,s:o,s:I,s:I,s:s}", "clients",
        (json_int_t)s.clients, "ops_total", (json_int_t)s.ops, "ops_per_s",
        (json_int_t)gw->stats->ops_per_s, "bytes_in", (json_int_t)s.bytes_in, "bytes_out",
        (json_int_t)s.bytes_out, "errors_total", (json_int_t)s.errors, "p50_us",
        (json_int_t)hist_quantile(hist, 0.5), "p99_us", (json_int_t)hist_quantile(hist, 0.99),
        "p999_us", (json_int_t)hist_quantile(hist, 0.999), "max_us", (json_int_t)hist_max(hist),
        "held", hold_is_held(&gw->hold), "pinned", (int)gw->pinned, "epoch",
        (json_int_t)gw->hold.epoch, "primary", gateway_side_name(gw->hold.side), "backend_up",
        s.backends_up > 0, "unknown_commands", unknown_names(gw->stats), "scripts",
        (json_int_t)scripts_count(gw->scripts), "scripts_missing",
        (json_int_t)scripts_missing(gw->scripts), "capture",
        !gw->capture_known ? "undecided" : gw->lanes ? "lane" : "stream");
    mem_free(hist);
    const char *peer = gw->config->gateway.peer.text;
    json_object_set_new(object, "peer", json_string(peer != NULL ? peer : ""));
    json_object_set_new(object, "latency", latency_json(gw));
    json_object_set_new(object, "reads", reads_summary(gw->reads));
    char *text = json_dumps(object, JSON_COMPACT);
    buf_append(out, text, strlen(text));
    free(text);
    json_decref(object);
}

/* ---- Prometheus ---- */
#define COUNTER(field_, name_, help_)                                                              \
    { name_, METRIC_COUNTER, help_, offsetof(struct worker_counters, field_), 0 }
#define GAUGE(field_, name_, help_)                                                                \
    { name_, METRIC_GAUGE, help_, offsetof(struct worker_counters, field_), 0 }

static const struct metric loop_metrics[] = {
    COUNTER(local, "drawbridge_gateway_local_total",
            "Requests that were answered by the gateway itself."),
    COUNTER(connections, "drawbridge_gateway_connections_total", "Connections that were accepted."),
    COUNTER(rejected, "drawbridge_gateway_rejected_total",
            "Clients and requests that were refused: too many, wrong password, not the protocol."),
    COUNTER(bytes_in, "drawbridge_gateway_received_bytes_total", "Bytes from clients."),
    COUNTER(bytes_out, "drawbridge_gateway_sent_bytes_total", "Bytes to clients."),
    COUNTER(broken_clients, "drawbridge_gateway_broken_clients_total",
            "Clients that were closed because a connection to the primary side was lost."),
    COUNTER(blackouts, "drawbridge_gateway_blackouts_total",
            "Requests that failed because the primary side could not be used for too long."),
    GAUGE(clients, "drawbridge_gateway_clients", "Clients that are connected."),
    GAUGE(backends_up, "drawbridge_gateway_backends", "Connections to both sides that are ready."),
};

static const struct metric requests_metric = {
    "drawbridge_requests_total", METRIC_COUNTER,
    "Requests that were sent to a side, by how they ended.", 0, 0};
static const struct metric errors_metric = {"drawbridge_gateway_error_replies_total",
                                            METRIC_COUNTER, "Error replies from a side.", 0, 0};
static const struct metric duration_metric = {
    "drawbridge_request_duration_seconds", METRIC_HISTOGRAM,
    "From sending a request to the primary side until its reply was relayed.", 0, 1e-6};
static const struct metric overhead_metric = {
    "drawbridge_gateway_overhead_seconds", METRIC_HISTOGRAM,
    "What the gateway itself took, once for each request and once for each reply: from reading it "
    "to the end of the turn that sent it on.",
    0, 1e-6};
static const struct metric hold_metric = {"drawbridge_hold_seconds", METRIC_HISTOGRAM,
                                          "How long a client was held at a barrier.", 0, 1e-6};
static const struct metric latency_metric = {
    "drawbridge_side_latency_seconds", METRIC_HISTOGRAM,
    "From sending to a side until its answer, by class: of clients' commands, and at the other side "
    "of what lanes do there and of canary reads.",
    0, 1e-6};
static const struct metric quantile_metric = {
    "drawbridge_side_latency_quantile_seconds", METRIC_GAUGE,
    "The same since the start, as quantiles; 1 is the longest.", 0, 0};
static const struct metric held_metric = {"drawbridge_gateway_held", METRIC_GAUGE,
                                          "1 while a barrier holds the clients.", 0, 0};
static const struct metric epoch_metric = {"drawbridge_epoch", METRIC_GAUGE,
                                           "The epoch that this gateway obeys.", 0, 0};
static const struct metric primary_metric = {"drawbridge_gateway_primary", METRIC_GAUGE,
                                             "1 for the side that clients are forwarded to.", 0, 0};

static const struct metric not_after_metric = {
    "drawbridge_tls_not_after_timestamp_seconds", METRIC_GAUGE,
    "When the certificate of the TLS listener ends.", 0, 0};

static void add_loop(struct metrics *m, const struct worker *w) {
    const struct worker_counters *c = &w->counters;
    char number[12];
    (void)snprintf(number, sizeof number, "%u", w->number);
    struct metric_label labels[] = {METRIC_LABEL("loop", number), METRIC_LABELS_END};
    metrics_add_table(m, loop_metrics, sizeof loop_metrics / sizeof *loop_metrics, c, labels);
    for (unsigned side = 0; side < SIDES; side++) {
        const char *name = gateway_side_name((enum side)side);
        for (unsigned i = 0; i < CLASSES * OUTCOMES; i++)
            metrics_add(m, &requests_metric,
                        (double)counter_get(&c->requests[side][i / OUTCOMES][i % OUTCOMES]),
                        METRIC_LABEL("loop", number), METRIC_LABEL("side", name),
                        METRIC_LABEL("class", classes[i / OUTCOMES]),
                        METRIC_LABEL("outcome", outcomes[i % OUTCOMES]), METRIC_LABELS_END);
        metrics_add(m, &errors_metric, (double)counter_get(&c->errors[side]),
                    METRIC_LABEL("loop", number), METRIC_LABEL("side", name), METRIC_LABELS_END);
    }
}

/* Capture `lane`: the figures of GATEWAY LANES. */
static void add_lanes(struct gateway *gw, struct metrics *m) {
    const struct lane_metric *table = gw->stats->lanes;
    for (unsigned i = 0; i < DUAL_FIGURES; i++) {
        uint64_t sum = 0;
        for (unsigned n = 0; n < gw->loops; n++) sum += counter_get(&gw->workers[n]->counters.lanes[i]);
        metrics_add(m, &table[i].metric, (double)sum * table[i].metric.scale, METRIC_LABELS_END);
    }
}

static void add_latencies(struct gateway *gw, struct metrics *m) {
    struct hist *hist = NEW(struct hist);
    for (unsigned side = 0; side < SIDES; side++)
        for (unsigned class = 0; class < CLASSES; class ++) {
            merge_latency(gw, side, class, hist);
            if (hist_count(hist) == 0) continue;
            const char *name = gateway_side_name((enum side)side);
            struct metric_label labels[] = {METRIC_LABEL("side", name),
                                            METRIC_LABEL("class", classes[class]),
                                            METRIC_LABELS_END};
            metrics_add_hist(m, &latency_metric, hist, NULL, 0, labels);
            for (size_t i = 0; i < QUANTILES; i++)
                metrics_add(m, &quantile_metric, (double)quantile_of(hist, i) * 1e-6,
                            METRIC_LABEL("side", name), METRIC_LABEL("class", classes[class]),
                            METRIC_LABEL("q", quantiles[i].label), METRIC_LABELS_END);
        }
    mem_free(hist);
}

void stats_add_metrics(void *self, struct metrics *m) {
    struct gateway *gw = self;
    struct hist *request_us = NEW(struct hist), *held_us = NEW(struct hist);
    struct hist *overhead_us = NEW(struct hist);
    for (unsigned i = 0; i < gw->loops; i++) {
        add_loop(m, gw->workers[i]);
        hist_merge(request_us, &gw->workers[i]->counters.request_us);
        hist_merge(held_us, &gw->workers[i]->counters.held_us);
        hist_merge(overhead_us, &gw->workers[i]->counters.overhead_us);
    }
    if (gw->lanes) add_lanes(gw, m);
    struct metric_label none[] = {METRIC_LABELS_END};
    metrics_add_hist(m, &duration_metric, request_us, NULL, 0, none);
    add_latencies(gw, m);
    reads_add_metrics(gw->reads, m);
    metrics_add_hist(m, &overhead_metric, overhead_us, NULL, 0, none);
    metrics_add_hist(m, &hold_metric, held_us, NULL, 0, none);
    metrics_add(m, &held_metric, (double)counter_get(&gw->stats->held), METRIC_LABELS_END);
    metrics_add(m, &epoch_metric, (double)counter_get(&gw->stats->epoch), METRIC_LABELS_END);
    if (counter_get(&gw->workers[0]->counters.tls_not_after_s) > 0)
        metrics_add(m, &not_after_metric,
                    (double)counter_get(&gw->workers[0]->counters.tls_not_after_s),
                    METRIC_LABELS_END);
    for (unsigned side = 0; side < SIDES; side++)
        metrics_add(m, &primary_metric, counter_get(&gw->stats->primary) == side,
                    METRIC_LABEL("side", gateway_side_name((enum side)side)), METRIC_LABELS_END);
    mem_free(request_us);
    mem_free(held_us);
    mem_free(overhead_us);
}
