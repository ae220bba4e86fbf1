/* metrics.c -- Prometheus' text format. See metrics.h. */
#include "lib/base/metrics.h"

#include "lib/base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SAMPLES_MAX 10000
#define LABEL_BYTES_MAX 128
#define LABELS_MAX 8

struct metric_family {
    const struct metric *metric;
    struct buf text; /* its sample lines */
};

void metrics_init(struct metrics *metrics) {
    *metrics = (struct metrics){0};
}

void metrics_close(struct metrics *metrics) {
    for (size_t i = 0; i < metrics->count; i++) buf_close(&metrics->families[i].text);
    mem_free(metrics->families);
    mem_free(metrics->seen);
    *metrics = (struct metrics){0};
}

/* ---- families and duplicates ---- */

static struct metric_family *family_of(struct metrics *metrics, const struct metric *metric) {
    for (size_t i = 0; i < metrics->count; i++)
        if (strcmp(metrics->families[i].metric->name, metric->name) == 0)
            return &metrics->families[i];
    if (metrics->count == metrics->cap) {
        metrics->cap = metrics->cap ? metrics->cap * 2 : 32;
        metrics->families =
            mem_realloc(metrics->families, metrics->cap * sizeof *metrics->families);
    }
    metrics->families[metrics->count] = (struct metric_family){.metric = metric};
    return &metrics->families[metrics->count++];
}

static uint64_t hash_text(uint64_t hash, const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) hash = (hash ^ (uint8_t)text[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static void seen_put(uint64_t *seen, size_t cap, uint64_t hash) {
    size_t at = hash & (cap - 1);
    while (seen[at]) at = (at + 1) & (cap - 1);
    seen[at] = hash;
}

static bool seen_has(const struct metrics *metrics, uint64_t hash) {
    if (metrics->seen_cap == 0) return false;
    for (size_t at = hash & (metrics->seen_cap - 1); metrics->seen[at];
         at = (at + 1) & (metrics->seen_cap - 1))
        if (metrics->seen[at] == hash) return true;
    return false;
}

static void seen_grow(struct metrics *metrics) {
    if (metrics->samples * 2 < metrics->seen_cap) return;
    size_t cap = metrics->seen_cap ? metrics->seen_cap * 2 : 128;
    uint64_t *bigger = NEW_ARRAY(uint64_t, cap);
    for (size_t i = 0; i < metrics->seen_cap; i++)
        if (metrics->seen[i]) seen_put(bigger, cap, metrics->seen[i]);
    mem_free(metrics->seen);
    metrics->seen = bigger;
    metrics->seen_cap = cap;
}

/* Whether a sample of this name with these LABELS may be added; it counts as added then. */
static bool admit(struct metrics *metrics, const struct metric *metric, const struct buf *labels) {
    struct slice text = buf_slice(labels);
    uint64_t hash = hash_text(UINT64_C(0xcbf29ce484222325), metric->name, strlen(metric->name));
    hash = hash_text(hash, (const char *)text.data, text.size) | 1;
    if (metrics->samples >= SAMPLES_MAX || seen_has(metrics, hash)) {
        metrics->dropped++;
        return false;
    }
    seen_grow(metrics);
    seen_put(metrics->seen, metrics->seen_cap, hash);
    metrics->samples++;
    return true;
}

/* ---- pieces of a line ---- */

static void put_label_value(struct buf *out, const char *value) {
    size_t size = strnlen(value, LABEL_BYTES_MAX);
    for (size_t i = 0; i < size; i++) {
        char c = value[i];
        if (c == '\n')
            buf_add(out, SLICE("\\n"));
        else if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if ((uint8_t)c < 0x20 || (uint8_t)c >= 0x7f)
            buf_byte(out, '?'); /* must be UTF-8 */
        else
            buf_byte(out, (uint8_t)c);
    }
}

/* name="value",name="value" */
static void put_labels(struct buf *out, const struct metric_label *labels) {
    for (size_t i = 0; labels && labels[i].name; i++) {
        buf_printf(out, "%s%s=\"", i ? "," : "", labels[i].name);
        put_label_value(out, labels[i].value ? labels[i].value : "");
        buf_byte(out, '"');
    }
}

static void put_number(struct buf *out, double value) {
    char text[40];
    if (isnan(value))
        (void)snprintf(text, sizeof text, "NaN");
    else if (isinf(value))
        (void)snprintf(text, sizeof text, value > 0 ? "+Inf" : "-Inf");
    else {
        (void)snprintf(text, sizeof text, "%.15g", value);
        double back = strtod(text, NULL);
        if (back < value || back > value) (void)snprintf(text, sizeof text, "%.17g", value);
    }
    buf_add(out, slice_text(text));
}

static void put_sample(struct buf *out, const char *name, const char *suffix,
                       const struct buf *labels, double value) {
    buf_printf(out, "%s%s", name, suffix);
    if (buf_size(labels)) {
        buf_byte(out, '{');
        buf_add(out, buf_slice(labels));
        buf_byte(out, '}');
    }
    buf_byte(out, ' ');
    put_number(out, value);
    buf_byte(out, '\n');
}

/* ---- adding ---- */

void metrics_add_labels(struct metrics *metrics, const struct metric *metric, double value,
                        const struct metric_label *labels) {
    ASSERT(metric->type != METRIC_HISTOGRAM);
    struct buf text = {0};
    put_labels(&text, labels);
    if (admit(metrics, metric, &text))
        put_sample(&family_of(metrics, metric)->text, metric->name, "", &text, value);
    buf_close(&text);
}

void metrics_add(struct metrics *metrics, const struct metric *metric, double value, ...) {
    struct metric_label labels[LABELS_MAX + 1];
    size_t count = 0;
    va_list args;
    va_start(args, value);
    for (;;) {
        labels[count] = va_arg(args, struct metric_label);
        if (labels[count].name == NULL) break;
        count++;
        ASSERT(count <= LABELS_MAX);
    }
    va_end(args);
    metrics_add_labels(metrics, metric, value, labels);
}

static double scale_of(const struct metric *metric) {
    return metric->scale > 0 ? metric->scale : 1;
}

void metrics_add_table(struct metrics *metrics, const struct metric *table, size_t count,
                       const void *base, const struct metric_label *labels) {
    for (size_t i = 0; i < count; i++) {
        if (table[i].type == METRIC_HISTOGRAM) continue;
        const struct counter *counter =
            (const struct counter *)(const void *)((const char *)base + table[i].offset);
        double value = (double)counter_get(counter) * scale_of(&table[i]);
        metrics_add_labels(metrics, &table[i], value, labels);
    }
}

static const double usual_bounds[] = {50e-6,  100e-6, 200e-6, 300e-6, 500e-6, 750e-6, 1e-3,
                                      1.5e-3, 2e-3,   3e-3,   5e-3,   10e-3,  20e-3,  50e-3,
                                      100e-3, 250e-3, 500e-3, 1,      2.5,    10};

void metrics_add_hist(struct metrics *metrics, const struct metric *metric, const struct hist *hist,
                      const double *bounds, size_t bound_count, const struct metric_label *labels) {
    ASSERT(metric->type == METRIC_HISTOGRAM);
    if (bounds == NULL) {
        bounds = usual_bounds;
        bound_count = sizeof usual_bounds / sizeof *usual_bounds;
    }
    struct buf text = {0};
    put_labels(&text, labels);
    if (!admit(metrics, metric, &text)) {
        buf_close(&text);
        return;
    }
    struct buf *out = &family_of(metrics, metric)->text;
    double scale = scale_of(metric);
    /* Counted from the buckets, so that the last one and _count agree while others record. */
    uint64_t all = hist_count_to(hist, UINT64_MAX);
    for (size_t i = 0; i <= bound_count; i++) {
        double bound = i < bound_count ? bounds[i] : (double)INFINITY;
        struct buf with = {0};
        buf_add(&with, buf_slice(&text));
        buf_printf(&with, "%sle=\"", buf_size(&text) ? "," : "");
        put_number(&with, bound);
        buf_byte(&with, '"');
        uint64_t below =
            i < bound_count ? hist_count_to(hist, (uint64_t)llround(bound / scale)) : all;
        put_sample(out, metric->name, "_bucket", &with, (double)(below < all ? below : all));
        buf_close(&with);
    }
    put_sample(out, metric->name, "_sum", &text, (double)hist_sum(hist) * scale);
    put_sample(out, metric->name, "_count", &text, (double)all);
    buf_close(&text);
}

void metrics_write(struct metrics *metrics, struct buf *out) {
    static const char *const types[] = {"counter", "gauge", "histogram"};
    for (size_t i = 0; i < metrics->count; i++) {
        const struct metric *metric = metrics->families[i].metric;
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help, metric->name,
                   types[metric->type]);
        buf_add(out, buf_slice(&metrics->families[i].text));
    }
}
