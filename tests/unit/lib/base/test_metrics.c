/* test_metrics.c -- what is written is Prometheus' text format, without duplicates. */
#include "lib/base/mem.h"
#include "lib/base/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct numbers {
    struct counter requests, waited_us;
};

static const struct metric table[] = {
    {"x_requests_total", METRIC_COUNTER, "Requests.", offsetof(struct numbers, requests), 1},
    {"x_waited_seconds_total", METRIC_COUNTER, "Waiting.", offsetof(struct numbers, waited_us),
     1e-6},
};
static const struct metric up = {"x_up", METRIC_GAUGE, "Up.", 0, 1};
static const struct metric up_too = {"x_up", METRIC_GAUGE, "Up.", 0, 1};
static const struct metric latency = {"x_seconds", METRIC_HISTOGRAM, "Latency.", 0, 1e-6};

static void test_samples_are_gathered_escaped_and_unique(void **state) {
    (void)state;
    struct metrics metrics;
    struct buf out = {0};
    struct numbers a = {0}, b = {0};
    counter_add(&a.requests, 3);
    counter_add_any(&b.requests, 9007199254740993);
    counter_set(&a.waited_us, 1500000);
    struct metric_label labels_a[] = {METRIC_LABEL("side", "legacy"), METRIC_LABELS_END};
    struct metric_label labels_b[] = {METRIC_LABEL("side", "a\"b\\c\nd\xff"), METRIC_LABELS_END};
    metrics_init(&metrics);
    metrics_add_table(&metrics, table, 2, &a, labels_a);
    metrics_add(&metrics, &up, 1, METRIC_LABELS_END);
    metrics_add_table(&metrics, table, 1, &b, labels_b);
    metrics_add(&metrics, &up_too, 0, METRIC_LABELS_END);
    metrics_add(&metrics, &up_too, 0.1, METRIC_LABEL("link", "l"), METRIC_LABELS_END);
    metrics_write(&metrics, &out);
    assert_string_equal(buf_text(&out),
                        "# HELP x_requests_total Requests.\n"
                        "# TYPE x_requests_total counter\n"
                        "x_requests_total{side=\"legacy\"} 3\n"
                        "x_requests_total{side=\"a\\\"b\\\\c\\nd?\"} 9007199254740992\n"
                        "# HELP x_waited_seconds_total Waiting.\n"
                        "# TYPE x_waited_seconds_total counter\n"
                        "x_waited_seconds_total{side=\"legacy\"} 1.5\n"
                        "# HELP x_up Up.\n"
                        "# TYPE x_up gauge\n"
                        "x_up 1\n"
                        "x_up{link=\"l\"} 0.1\n");
    assert_int_equal(metrics.dropped, 1);
    metrics_close(&metrics);
    buf_close(&out);
}

static void test_histograms_are_cumulative(void **state) {
    (void)state;
    static const double bounds[] = {0.001, 0.01};
    struct hist *hist = NEW(struct hist);
    struct metrics metrics;
    struct buf out = {0};
    hist_record_n(hist, 500, 2); /* us */
    hist_record_n(hist, 5000, 3);
    hist_record(hist, 2000000);
    metrics_init(&metrics);
    metrics_add_hist(&metrics, &latency, hist, bounds, 2, NULL);
    metrics_add_hist(&metrics, &latency, hist, bounds, 2, NULL);
    metrics_write(&metrics, &out);
    assert_string_equal(buf_text(&out), "# HELP x_seconds Latency.\n"
                                        "# TYPE x_seconds histogram\n"
                                        "x_seconds_bucket{le=\"0.001\"} 2\n"
                                        "x_seconds_bucket{le=\"0.01\"} 5\n"
                                        "x_seconds_bucket{le=\"+Inf\"} 6\n"
                                        "x_seconds_sum 2.016\n"
                                        "x_seconds_count 6\n");
    metrics_close(&metrics);
    buf_close(&out);
    mem_free(hist);
}

static void test_there_is_a_bound(void **state) {
    (void)state;
    struct metrics metrics;
    metrics_init(&metrics);
    for (int i = 0; i < 10100; i++) {
        char text[16];
        (void)snprintf(text, sizeof text, "%d", i);
        metrics_add(&metrics, &up, i, METRIC_LABEL("i", text), METRIC_LABELS_END);
    }
    assert_int_equal(metrics.samples, 10000);
    assert_int_equal(metrics.dropped, 100);
    metrics_close(&metrics);
}

/* promtool is part of the test environment; what it says about us must be nothing. */
static void test_promtool_has_no_complaint(void **state) {
    (void)state;
    struct metrics metrics;
    struct buf out = {0};
    struct hist *hist = NEW(struct hist);
    struct numbers a = {0};
    hist_record(hist, 77);
    metrics_init(&metrics);
    metrics_add_process(&metrics, "test");
    metrics_add_table(&metrics, table, 2, &a, NULL);
    metrics_add_hist(&metrics, &latency, hist, NULL, 0, NULL);
    metrics_write(&metrics, &out);
    FILE *promtool = popen("promtool check metrics 2>&1", "w");
    assert_non_null(promtool);
    assert_int_equal(fwrite(buf_text(&out), 1, buf_size(&out), promtool), buf_size(&out));
    assert_int_equal(pclose(promtool), 0);
    metrics_close(&metrics);
    buf_close(&out);
    mem_free(hist);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples_are_gathered_escaped_and_unique),
        cmocka_unit_test(test_histograms_are_cumulative),
        cmocka_unit_test(test_there_is_a_bound),
        cmocka_unit_test(test_promtool_has_no_complaint),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
