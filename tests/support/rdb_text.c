/* rdb_text.c -- see rdb_text.h. */
#include "tests/support/rdb_text.h"

#include <inttypes.h>

static void put_hex(struct buf *line, struct slice bytes) {
    buf_byte(line, '"');
    for (size_t i = 0; i < bytes.size; i++) {
        buf_byte(line, (uint8_t) "0123456789abcdef"[bytes.data[i] >> 4]);
        buf_byte(line, (uint8_t) "0123456789abcdef"[bytes.data[i] & 15]);
    }
    buf_byte(line, '"');
}

static void put_item(struct rdb_text *w, struct slice bytes) {
    buf_printf(&w->line, "%s", w->comma);
    put_hex(&w->line, bytes);
    w->comma = ",";
}

static void print(struct rdb_text *w) {
    w->emit(w, buf_slice(&w->line));
    buf_clear(&w->line);
}

static enum err on_aux(void *self, struct slice name, struct slice value, struct why *why) {
    (void)why;
    struct rdb_text *w = self;
    buf_printf(&w->line, "{\"aux\":");
    put_hex(&w->line, name);
    buf_printf(&w->line, ",\"value\":");
    put_hex(&w->line, value);
    buf_printf(&w->line, "}");
    print(w);
    return OK;
}

static enum err on_function(void *self, struct slice code, struct why *why) {
    (void)why;
    struct rdb_text *w = self;
    buf_printf(&w->line, "{\"function\":");
    put_hex(&w->line, code);
    buf_printf(&w->line, "}");
    print(w);
    return OK;
}

static enum err on_key_begin(void *self, const struct rdb_key *key, uint64_t count,
                             struct why *why) {
    (void)why, (void)count;
    struct rdb_text *w = self;
    buf_clear(&w->line);
    buf_printf(&w->line, "{\"db\":%u,\"key\":", key->db);
    put_hex(&w->line, key->key);
    buf_printf(&w->line,
               ",\"type\":\"%s\",\"rdb_type\":%u,\"expire\":%" PRId64 ",\"idle\":%" PRId64
               ",\"freq\":%" PRId64 ",\"value\":%s",
               value_type_name(key->type), (unsigned)key->rdb_type, key->expire_at_ms, key->idle_s,
               key->freq, key->type == VALUE_STREAM ? "{\"entries\":[" : "[");
    w->comma = "";
    w->in_group = w->in_consumer = false;
    return OK;
}

static enum err on_text(void *self, struct slice text, struct why *why) {
    (void)why;
    put_item(self, text);
    return OK;
}

static enum err on_hash_field(void *self, struct slice field, struct slice value, struct why *why) {
    (void)why;
    put_item(self, field);
    put_item(self, value);
    return OK;
}

static enum err on_zset_member(void *self, struct slice member, double score, struct why *why) {
    (void)why;
    struct rdb_text *w = self;
    uint64_t bits;
    memcpy(&bits, &score, sizeof bits);
    put_item(w, member);
    buf_printf(&w->line, ",\"%016" PRIx64 "\"", bits);
    return OK;
}

static enum err on_entry(void *self, struct stream_id id, struct rdb_fields *fields,
                         struct why *why) {
    (void)why;
    struct rdb_text *w = self;
    struct slice field, value;
    buf_printf(&w->line, "%s[\"%" PRIu64 "-%" PRIu64 "\",[", w->comma, id.ms, id.seq);
    w->comma = "";
    while (rdb_fields_next(fields, &field, &value)) {
        put_item(w, field);
        put_item(w, value);
    }
    buf_printf(&w->line, "]]");
    w->comma = ",";
    return OK;
}

static enum err on_stream(void *self, const struct rdb_stream *s, struct why *why) {
    (void)why;
    struct rdb_text *w = self;
    buf_printf(&w->line,
               "],\"length\":%" PRIu64 ",\"last\":\"%" PRIu64 "-%" PRIu64
               "\",\"deleted\":\"%" PRIu64 "-%" PRIu64 "\",\"added\":%" PRIu64 ",\"groups\":[",
               s->length, s->last_id.ms, s->last_id.seq, s->max_deleted_id.ms,
               s->max_deleted_id.seq, s->entries_added);
    w->comma = "";
    return OK;
}

static void close_consumer(struct rdb_text *w) {
    if (w->in_consumer) buf_printf(&w->line, "]}");
    w->in_consumer = false;
}

static void close_group(struct rdb_text *w) {
    close_consumer(w);
    if (w->in_group) buf_printf(&w->line, "]}");
    w->in_group = false;
}

static enum err on_group(void *self, const struct rdb_group *group, struct why *why) {
    (void)why;
    struct rdb_text *w = self;
    buf_printf(&w->line, "%s", w->in_group ? "" : w->comma);
    bool more = w->in_group;
    close_group(w);
    buf_printf(&w->line, "%s{\"name\":", more ? "," : "");
    put_hex(&w->line, group->name);
    buf_printf(&w->line, ",\"last\":\"%" PRIu64 "-%" PRIu64 "\",\"read\":%" PRId64 ",\"pending\":[",
               group->last_id.ms, group->last_id.seq, group->entries_read);
    w->in_group = true;
    w->comma = "";
    return OK;
}

static enum err on_pending(void *self, const struct rdb_pending *p, struct why *why) {
    (void)why;
    struct rdb_text *w = self;
    buf_printf(&w->line, "%s[\"%" PRIu64 "-%" PRIu64 "\",%" PRId64 ",%" PRIu64 "]", w->comma,
               p->id.ms, p->id.seq, p->delivered_ms, p->deliveries);
    w->comma = ",";
    return OK;
}

/* Consumers follow the pending entries inside the same array: as objects. */
static enum err on_consumer(void *self, const struct rdb_consumer *c, struct why *why) {
    (void)why;
    struct rdb_text *w = self;
    if (w->in_consumer) w->comma = ",";
    close_consumer(w);
    buf_printf(&w->line, "%s{\"consumer\":", w->comma);
    put_hex(&w->line, c->name);
    buf_printf(&w->line, ",\"seen\":%" PRId64 ",\"active\":%" PRId64 ",\"owns\":[", c->seen_ms,
               c->active_ms);
    w->comma = "";
    w->in_consumer = true;
    return OK;
}

static enum err on_consumer_pending(void *self, struct stream_id id, struct why *why) {
    (void)why;
    struct rdb_text *w = self;
    buf_printf(&w->line, "%s\"%" PRIu64 "-%" PRIu64 "\"", w->comma, id.ms, id.seq);
    w->comma = ",";
    return OK;
}

static enum err on_key_end(void *self, const struct rdb_key *key, struct why *why) {
    (void)why;
    struct rdb_text *w = self;
    close_group(w);
    buf_printf(&w->line, "%s}", key->type == VALUE_STREAM ? "]}" : "]");
    print(w);
    return OK;
}

static const struct rdb_handler printer = {
    .aux = on_aux,
    .function = on_function,
    .key_begin = on_key_begin,
    .string = on_text,
    .list_item = on_text,
    .set_member = on_text,
    .hash_field = on_hash_field,
    .zset_member = on_zset_member,
    .entry = on_entry,
    .stream = on_stream,
    .group = on_group,
    .pending = on_pending,
    .consumer = on_consumer,
    .consumer_pending = on_consumer_pending,
    .key_end = on_key_end,
};

static void keep(struct rdb_text *text, struct slice line) {
    buf_add(&text->all, line);
    buf_byte(&text->all, '\n');
}

void rdb_text_init(struct rdb_text *text) {
    *text = (struct rdb_text){.handler = printer, .emit = keep};
    text->handler.self = text;
}

void rdb_text_close(struct rdb_text *text) {
    buf_close(&text->line);
    buf_close(&text->all);
}
