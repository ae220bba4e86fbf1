/* xstream_args.c -- ids, entries and propagation of streams. See xstream_args.h. */
#include "server/xstream_args.h"

#include "lib/base/mem.h"

#include <errno.h>
#include <stdlib.h>

#define ID_ARG_MAX 127 /* bytes; longer arguments are no ids */

static size_t write_unsigned(char *text, uint64_t number) {
    char digits[20];
    size_t at = sizeof digits;
    do digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    memcpy(text, digits + at, sizeof digits - at);
    return sizeof digits - at;
}

size_t xstream_id_write(char text[STREAM_ID_TEXT], struct stream_id id) {
    size_t size = write_unsigned(text, id.ms);
    text[size++] = '-';
    return size + write_unsigned(text + size, id.seq);
}

struct slice xstream_id_text(char text[STREAM_ID_TEXT], struct stream_id id) {
    return slice_from(text, xstream_id_write(text, id));
}

/* As Redis reads unsigned numbers: strictly below 2^63, as strtoull does from there on. */
static bool read_unsigned(const char *text, uint64_t *number) {
    int64_t small;
    if (slice_to_int(slice_text(text), &small)) {
        *number = (uint64_t)small;
        return small >= 0;
    }
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0 && *text != '\0' && *end == '\0';
}

static bool read_id(struct slice arg, uint64_t missing_seq, struct stream_id *id, bool *any_seq) {
    char text[ID_ARG_MAX + 1];
    if (arg.size > ID_ARG_MAX) return false;
    if (arg.size) memcpy(text, arg.data, arg.size);
    text[arg.size] = '\0';
    char *dash = strchr(text, '-');
    struct stream_id read = {0, missing_seq};
    if (any_seq) *any_seq = false;
    if (dash) {
        *dash = '\0';
        if (any_seq && strcmp(dash + 1, "*") == 0) {
            *any_seq = true;
            read.seq = 0;
        } else if (!read_unsigned(dash + 1, &read.seq)) {
            return false;
        }
    }
    if (!read_unsigned(text, &read.ms)) return false;
    *id = read;
    return true;
}

static bool or_reply(struct client *c, bool good) {
    if (!good) reply_error(c, "ERR Invalid stream ID specified as stream command argument");
    return good;
}

bool xstream_id_read(struct slice arg, uint64_t missing_seq, struct stream_id *id) {
    return read_id(arg, missing_seq, id, NULL);
}

bool arg_stream_id(struct client *c, struct slice arg, struct stream_id *id) {
    return or_reply(c, read_id(arg, 0, id, NULL));
}

bool arg_stream_new_id(struct client *c, struct slice arg, struct stream_id *id, bool *any_seq) {
    return or_reply(c, read_id(arg, 0, id, any_seq));
}

bool arg_stream_id_or_end(struct client *c, struct slice arg, uint64_t missing_seq,
                          struct stream_id *id) {
    if (slice_equal(arg, SLICE("-"))) {
        *id = STREAM_ID_MIN;
    } else if (slice_equal(arg, SLICE("+"))) {
        *id = STREAM_ID_MAX;
    } else {
        return or_reply(c, read_id(arg, missing_seq, id, NULL));
    }
    return true;
}

static bool is_open(struct slice *arg) {
    if (arg->size < 2 || arg->data[0] != '(') return false;
    *arg = slice_drop(*arg, 1);
    return true;
}

bool arg_stream_start(struct client *c, struct slice arg, struct stream_id *id) {
    if (!is_open(&arg)) return arg_stream_id_or_end(c, arg, 0, id);
    if (!arg_stream_id(c, arg, id)) return false;
    if (stream_id_next(id)) return true;
    reply_error(c, "ERR invalid start ID for the interval");
    return false;
}

bool arg_stream_end(struct client *c, struct slice arg, struct stream_id *id) {
    if (!is_open(&arg)) return arg_stream_id_or_end(c, arg, UINT64_MAX, id);
    if (!or_reply(c, read_id(arg, UINT64_MAX, id, NULL))) return false;
    if (stream_id_previous(id)) return true;
    reply_error(c, "ERR invalid end ID for the interval");
    return false;
}

struct stream_id *arg_stream_ids(struct client *c, int count, const struct slice *argv) {
    struct stream_id *ids = NEW_ARRAY(struct stream_id, (size_t)count);
    for (int i = 0; i < count; i++) {
        if (arg_stream_id(c, argv[i], &ids[i])) continue;
        mem_free(ids);
        return NULL;
    }
    return ids;
}

/* ---- replies ---- */

void reply_stream_id(struct client *c, struct stream_id id) {
    char text[STREAM_ID_TEXT];
    reply_bulk(c, xstream_id_text(text, id));
}

void reply_stream_entry(struct client *c, const struct xstream_entry *entry) {
    struct rdb_fields fields = entry->fields;
    struct slice field, value;
    reply_array(c, 2);
    reply_stream_id(c, entry->id);
    reply_array(c, (size_t)fields.count * 2);
    while (rdb_fields_next(&fields, &field, &value)) {
        reply_bulk(c, field);
        reply_bulk(c, value);
    }
}

void reply_stream_range(struct client *c, const struct xstream *stream, struct stream_id start,
                        struct stream_id end, uint64_t most, bool backward) {
    struct xstream_iter iter;
    struct xstream_entry entry;
    size_t mark = reply_later(c), count = 0;
    xstream_iter_init(&iter, stream, start, end, backward);
    while ((most == 0 || count < most) && xstream_next(&iter, &entry)) {
        reply_stream_entry(c, &entry);
        count++;
    }
    reply_later_array(c, mark, count);
}

void reply_no_such_group(struct client *c, struct slice key, struct slice group, const char *more) {
    reply_error(c, "NOGROUP No such key '%.*s' or consumer group '%.*s'%s", (int)key.size,
                (const char *)key.data, (int)group.size, (const char *)group.data, more);
}

/* ---- changes ---- */

void xstream_noted(struct client *c, struct slice key, const char *event, uint64_t dirty) {
    c->engine->dirty += dirty;
    if (event) notify_key(c->db, NOTIFY_STREAM, event, key);
}

struct xstream_consumer *xstream_consumer_seen(struct client *c, struct slice key,
                                               struct xstream_group *group, struct slice name,
                                               bool *created) {
    struct xstream_consumer *consumer = xstream_consumer_find(group, name);
    if (created) *created = consumer == NULL;
    if (consumer) {
        consumer->seen_ms = c->engine->now_ms;
        return consumer;
    }
    consumer = xstream_consumer_add(group, name, c->engine->now_ms);
    xstream_noted(c, key, "xgroup-createconsumer", 1);
    return consumer;
}

void xstream_propagate_claim(struct client *c, struct slice key, const struct xstream_group *group,
                             struct slice id, const struct xstream_pending *pending) {
    char time[NUMBER_TEXT], count[NUMBER_TEXT], last[STREAM_ID_TEXT];
    struct slice argv[] = {
        SLICE("XCLAIM"),
        key,
        group->named.name,
        pending->consumer->named.name,
        SLICE("0"),
        id,
        SLICE("TIME"),
        slice_from(time, number_write_int(time, pending->delivered_ms)),
        SLICE("RETRYCOUNT"),
        slice_from(count, number_write_int(count, (int64_t)pending->deliveries)),
        SLICE("FORCE"),
        SLICE("JUSTID"),
        SLICE("LASTID"),
        xstream_id_text(last, group->last_id),
    };
    propagate_also(c, (int)COUNT(argv), argv);
}

void xstream_propagate_last_id(struct client *c, struct slice key,
                               const struct xstream_group *group) {
    char last[STREAM_ID_TEXT], read[NUMBER_TEXT];
    PROPAGATE_ALSO(c, SLICE("XGROUP"), SLICE("SETID"), key, group->named.name,
                   xstream_id_text(last, group->last_id), SLICE("ENTRIESREAD"),
                   slice_from(read, number_write_int(read, group->entries_read)));
}
