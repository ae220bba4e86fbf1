/* report.c -- how a link fares. See report.h. */
#include "syncer/report.h"

#include "lib/base/clock.h"
#include "lib/base/log.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

static json_t *text_of(struct slice bytes) {
    json_t *text = json_stringn((const char *)bytes.data, bytes.size);
    if (text) return text;
    struct buf hex = {0}; /* not UTF-8 */
    for (size_t i = 0; i < bytes.size; i++)
        if (bytes.data[i] >= 0x20 && bytes.data[i] < 0x7f && bytes.data[i] != '\\') buf_byte(&hex, bytes.data[i]);
        else buf_printf(&hex, "\\x%02x", bytes.data[i]);
    text = json_string(buf_text(&hex));
    buf_close(&hex);
    return text;
}

static json_t *number(uint64_t n) { return json_integer((json_int_t)n); }

static json_t *copy_json(const struct link_copy_status *c) {
    return json_pack("{s:b,s:o,s:o,s:o,s:o,s:I,s:I,s:I,s:o}", "done", c->done, "keys", number(c->keys), "keys_total",
                     number(c->keys_total > c->keys ? c->keys_total : c->keys), "bytes", number(c->bytes), "bytes_total",
                     number(c->bytes_total), "eta_ms", (json_int_t)c->eta_ms, "started_ms", (json_int_t)c->started_ms,
                     "ended_ms", (json_int_t)c->ended_ms, "copies", number(c->copies));
}

static json_t *quarantine_json(struct link *link) {
    json_t *list = json_array();
    pthread_mutex_lock(&link->lock);
    for (size_t i = 0; i < link->quarantined_shown; i++) {
        const struct link_quarantined *q = &link->quarantined[i];
        json_array_append_new(list, json_pack("{s:i,s:o,s:s}", "db", q->db, "key", text_of(buf_slice(&q->key)), "why", q->reason));
    }
    pthread_mutex_unlock(&link->lock);
    return list;
}

/* What was received and is not applied; of a standby link nothing is due. */
static uint64_t lag_bytes(const struct link_status *s, const struct spool_info *spool) {
    return s->positioned && spool->end > s->applied.offset ? spool->end - s->applied.offset : 0;
}

void report_json(struct link *link, struct buf *out) {
    struct link_status s;
    struct link_orders orders;
    struct spool_info spool;
    link_get_status(link, &s);
    link_get_orders(link, &orders);
    spool_look(link->spool, &spool);
    bool standby = orders.role == LINK_STANDBY;
    uint64_t lag = standby ? 0 : lag_bytes(&s, &spool);
    json_t *o = json_object();
    json_object_set_new(o, "link", json_string(link->name));
    json_object_set_new(o, "role", json_string(standby ? "standby" : "active"));
    json_object_set_new(o, "state", json_string(link_state_name(s.state)));
    json_object_set_new(o, "since_ms", json_integer(s.since_ms));
    json_object_set_new(o, "error", text_of(slice_text(s.error)));
    json_object_set_new(o, "source", json_pack("{s:s,s:o,s:o,s:o,s:b}", "replid", spool.replid, "received_offset", number(spool.end),
                                               "spooled_offset", number(spool.synced), "begin_offset", number(spool.begin), "up", s.source_up));
    json_object_set_new(o, "target_up", json_boolean(s.target_up));
    json_object_set_new(o, "applied_offset", number(s.positioned ? s.applied.offset : 0));
    json_object_set_new(o, "lag_bytes", number(lag));
    json_object_set_new(o, "lag_ms", json_integer(standby ? 0 : link_lag_ms(link)));
    json_object_set_new(o, "idle", json_boolean(lag == 0 && s.positioned));
    json_object_set_new(o, "copy", copy_json(&s.copy));
    json_object_set_new(o, "units_total", number(s.units_total));
    json_object_set_new(o, "commands_total", number(s.commands_total));
    json_object_set_new(o, "unknown_commands_total", number(s.unknown_total));
    json_object_set_new(o, "dirty_keys", number(s.dirty_keys));
    json_object_set_new(o, "quarantined_keys", number(s.quarantined_keys));
    json_object_set_new(o, "quarantined", quarantine_json(link));
    json_object_set_new(o, "foreign_units", number(s.foreign_units));
    json_object_set_new(o, "foreign_units_total", number(s.foreign_total));
    json_object_set_new(o, "spool_bytes", number(spool.bytes));
    json_object_set_new(o, "spool_limit_bytes", number(spool.limit_bytes));
    json_object_set_new(o, "way_back", json_boolean(s.way_back && spool.kind != SPOOL_EMPTY && spool.kind != SPOOL_RECEIVING));
    json_object_set_new(o, "reconnects", number(s.reconnects));
    json_object_set_new(o, "weak_fence", json_boolean(s.weak_fence));
    char *text = json_dumps(o, JSON_COMPACT);
    if (text) buf_append(out, text, strlen(text));
    free(text);
    json_decref(o);
}

void report_log(struct link *link) {
    struct link_status s;
    struct spool_info spool;
    link_get_status(link, &s);
    spool_look(link->spool, &spool);
    if (s.state == LINK_COPYING || s.state == LINK_SNAPSHOT) {
        int64_t ms = clock_wall_ms(clock_real()) - s.copy.started_ms;
        log_info("link.progress", LOG_S("link", link->name), LOG_S("state", link_state_name(s.state)), LOG_U("keys", s.copy.keys),
                 LOG_U("rdb_applied_bytes", s.copy.bytes), LOG_U("rdb_received_bytes", spool.rdb_received),
                 LOG_U("keys_per_s", ms > 0 ? s.copy.keys * 1000 / (uint64_t)ms : 0), LOG_I("eta_ms", s.copy.eta_ms),
                 LOG_U("spool_bytes", spool.bytes));
        return;
    }
    log_info("link.progress", LOG_S("link", link->name), LOG_S("state", link_state_name(s.state)), LOG_U("applied", s.applied.offset),
             LOG_U("received", spool.end), LOG_U("lag_bytes", lag_bytes(&s, &spool)), LOG_I("lag_ms", link_lag_ms(link)),
             LOG_U("units", s.units_total), LOG_U("commands", s.commands_total), LOG_U("dirty", s.dirty_keys),
             LOG_U("quarantined", s.quarantined_keys), LOG_U("spool_bytes", spool.bytes));
}
