/* report_metrics.c -- how a link fares, as metrics. See report.h. */
#include "syncer/report.h"

static uint64_t lag_bytes(const struct link_status *s, const struct spool_info *spool) {
    return s->positioned && spool->end > s->applied.offset ? spool->end - s->applied.offset : 0;
}

void report_metrics(struct link *link, struct metrics *m) {
    static const struct metric up = {"drawbridge_link_up", METRIC_GAUGE, "1 while the link is connected to its source.", 0, 0};
    static const struct metric target_up = {"drawbridge_link_target_up", METRIC_GAUGE, "1 while the link is connected to its target.", 0, 0};
    static const struct metric lag_s = {"drawbridge_link_lag_seconds", METRIC_GAUGE, "Age of the oldest unit that is not applied.", 0, 0};
    static const struct metric lag_b = {"drawbridge_link_lag_bytes", METRIC_GAUGE, "Received and not applied.", 0, 0};
    static const struct metric last = {"drawbridge_link_last_apply_timestamp_seconds", METRIC_GAUGE, "When something was applied last.", 0, 0};
    static const struct metric units = {"drawbridge_link_units_total", METRIC_COUNTER, "Units that were applied.", 0, 0};
    static const struct metric commands = {"drawbridge_link_commands_total", METRIC_COUNTER, "Commands that were looked at.", 0, 0};
    static const struct metric dirty = {"drawbridge_link_dirty_keys", METRIC_GAUGE, "Keys that wait to be copied again.", 0, 0};
    static const struct metric quarantined = {"drawbridge_quarantined_keys", METRIC_GAUGE, "Keys that cannot be copied.", 0, 0};
    static const struct metric foreign = {"drawbridge_link_foreign_units_total", METRIC_COUNTER, "Units in a standby link's stream that the other link did not write.", 0, 0};
    static const struct metric way_back = {"drawbridge_link_way_back", METRIC_GAUGE, "1 while this link could take over without a new copy.", 0, 0};
    static const struct metric reconnects = {"drawbridge_link_reconnects_total", METRIC_COUNTER, "Connections that broke.", 0, 0};
    static const struct metric spool_b = {"drawbridge_spool_bytes", METRIC_GAUGE, "Bytes in the spool.", 0, 0};
    static const struct metric spool_l = {"drawbridge_spool_limit_bytes", METRIC_GAUGE, "Bytes that the spool may have.", 0, 0};
    static const struct metric keys = {"drawbridge_copy_keys", METRIC_GAUGE, "Keys of the present copy, by state.", 0, 0};
    static const struct metric copied = {"drawbridge_copy_bytes", METRIC_GAUGE, "Bytes of the RDB that are at the target.", 0, 0};
    struct link_status s;
    struct spool_info spool;
    link_get_status(link, &s);
    spool_look(link->spool, &spool);
    struct metric_label l[] = {METRIC_LABEL("link", link->name), METRIC_LABELS_END};
    metrics_add_labels(m, &up, s.source_up, l);
    metrics_add_labels(m, &target_up, s.target_up, l);
    metrics_add_labels(m, &lag_s, (double)link_lag_ms(link) / 1000, l);
    metrics_add_labels(m, &lag_b, (double)lag_bytes(&s, &spool), l);
    metrics_add_labels(m, &last, (double)s.applied_wall_ms / 1000, l);
    metrics_add_labels(m, &units, (double)s.units_total, l);
    metrics_add_labels(m, &commands, (double)s.commands_total, l);
    metrics_add_labels(m, &dirty, (double)s.dirty_keys, l);
    metrics_add_labels(m, &quarantined, (double)s.quarantined_keys, l);
    metrics_add_labels(m, &foreign, (double)s.foreign_total, l);
    metrics_add_labels(m, &way_back, s.way_back, l);
    metrics_add_labels(m, &reconnects, (double)s.reconnects, l);
    metrics_add_labels(m, &spool_b, (double)spool.bytes, l);
    metrics_add_labels(m, &spool_l, (double)spool.limit_bytes, l);
    metrics_add_labels(m, &copied, (double)s.copy.bytes, l);
    metrics_add(m, &keys, (double)s.copy.keys, l[0], METRIC_LABEL("state", "copied"), METRIC_LABELS_END);
    metrics_add(m, &keys, (double)(s.copy.keys_total > s.copy.keys ? s.copy.keys_total - s.copy.keys : 0), l[0],
                METRIC_LABEL("state", "waiting"), METRIC_LABELS_END);
}
