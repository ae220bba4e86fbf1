/* restore.c -- DUMP and RESTORE: one key's value as bytes. See lib/redis/dump.h.
 *
 * Source: cluster.c of Redis 7.0 (dumpCommand, restoreCommand). Payloads are always checked to the
 * last byte, whatever sanitize-dump-payload would say.
 */
#include "lib/base/mem.h"
#include "lib/redis/bytes.h"
#include "lib/redis/crc64.h"
#include "lib/redis/dump.h"
#include "server/access.h"
#include "server/args.h"
#include "server/persistence.h"
#include "server/reply.h"
#include "server/value_rdb.h"

#define CRC_BYTES 8u

static void dump_command(struct client *c) {
    struct entry *e = key_read(c, c->argv[1]);
    if (!e) {
        reply_null(c);
        return;
    }
    struct value value = entry_value(e);
    struct buf body = {0}, payload = {0};
    value_put(&body, &value, c->engine->settings.rdbcompression);
    dump_put_as_redis(&payload, value_rdb_type(&value), buf_slice(&body));
    reply_bulk(c, buf_slice(&payload));
    buf_close(&body);
    buf_close(&payload);
}

struct restore {
    struct client *c;
    bool replace, absolute;
    int64_t ttl, idle_s, freq;
    struct value value; /* of the payload; owned if it is a container */
    struct buf text;    /* the bytes of a string */
    bool got;
};

static bool read_options(struct restore *r) {
    struct client *c = r->c;
    for (int i = 4; i < c->argc; i++) {
        int more = c->argc - i - 1;
        if (arg_is(c->argv[i], "replace")) {
            r->replace = true;
        } else if (arg_is(c->argv[i], "absttl")) {
            r->absolute = true;
        } else if (arg_is(c->argv[i], "idletime") && more >= 1 && r->freq == -1) {
            if (!arg_int(c, c->argv[++i], &r->idle_s, NULL)) return false;
            if (r->idle_s < 0) {
                reply_error(c, "ERR Invalid IDLETIME value, must be >= 0");
                return false;
            }
        } else if (arg_is(c->argv[i], "freq") && more >= 1 && r->idle_s == -1) {
            if (!arg_int(c, c->argv[++i], &r->freq, NULL)) return false;
            if (r->freq < 0 || r->freq > 255) {
                reply_error(c, "ERR Invalid FREQ value, must be >= 0 and <= 255");
                return false;
            }
        } else {
            reply_syntax_error(c);
            return false;
        }
    }
    return true;
}

static enum err take_value(void *self, const struct rdb_key *key, const struct value *value,
                           struct why *why) {
    struct restore *r = self;
    (void)key;
    (void)why;
    r->value = *value;
    if (value->type == TYPE_STRING) {
        buf_add(&r->text, value->bytes);
        r->value.bytes = buf_slice(&r->text);
    }
    r->got = true;
    return OK;
}

/* DEBUG SET-SKIP-CHECKSUM-VALIDATION: tests break payloads and want to see the rest of the checks.
 */
static void mend_checksum(struct slice payload, struct buf *mended) {
    buf_add(mended, payload);
    if (payload.size < CRC_BYTES) return;
    size_t body = payload.size - CRC_BYTES;
    bytes_put_le(mended->data + mended->start + body, crc64_add(0, slice_take(payload, body)),
                 CRC_BYTES);
}

static enum err read_payload(struct restore *r, struct why *why) {
    struct client *c = r->c;
    struct slice payload = c->argv[3];
    struct buf mended = {0};
    if (persistence_of(c->engine)->skip_checksums) {
        mend_checksum(payload, &mended);
        payload = buf_slice(&mended);
    }
    struct value_builder builder;
    value_builder_init(&builder, &c->engine->settings.types, r, take_value);
    struct rdb_key key = {
        .db = (uint32_t)c->db->id, .key = c->argv[1], .expire_at_ms = -1, .idle_s = -1, .freq = -1};
    enum err err = dump_read(payload, RDB_LIMITS_DEFAULT, &key, &builder.handler, why);
    value_builder_close(&builder);
    buf_close(&mended);
    return err;
}

static bool payload_is_sound(struct client *c) {
    uint8_t type;
    struct slice value;
    struct why why;
    if (persistence_of(c->engine)->skip_checksums) return c->argv[3].size >= DUMP_BYTES_MIN;
    return dump_open(c->argv[3], &type, &value, &why) == OK;
}

/* In Redis's words, which people search their logs for. */
static const char *form_of(uint8_t rdb_type) {
    switch (rdb_type) {
    case RDB_HASH_ZIPMAP: return "Zipmap";
    case RDB_LIST_ZIPLIST: return "List ziplist";
    case RDB_HASH_ZIPLIST: return "Hash ziplist";
    case RDB_ZSET_ZIPLIST: return "Zset ziplist";
    case RDB_HASH_LISTPACK: return "Hash listpack";
    case RDB_ZSET_LISTPACK: return "Zset listpack";
    case RDB_SET_LISTPACK: return "Set listpack";
    case RDB_SET_INTSET: return "Intset";
    case RDB_LIST_QUICKLIST:
    case RDB_LIST_QUICKLIST_2: return "Quicklist";
    case RDB_STREAM:
    case RDB_STREAM_2:
    case RDB_STREAM_3: return "Stream listpack";
    default: return "Payload";
    }
}

/* The client learns only that; whoever has to find out why reads the log. */
static void refuse_payload(struct client *c, const struct why *why) {
    struct slice payload = c->argv[3];
    engine_log(c->engine, '#', "RESTORE from %s: %s integrity check failed: %s", c->peer,
               form_of(payload.size ? payload.data[0] : RDB_STRING), why->text);
    reply_error(c, "ERR Bad data format");
}

/* The deadline lies in the past: nothing is made, what was there is gone. */
static void restore_nothing(struct restore *r) {
    struct client *c = r->c;
    if (key_delete(c, c->argv[1])) {
        key_changed(c, c->argv[1], NOTIFY_GENERIC, "del", 1);
        PROPAGATE_INSTEAD(c, SLICE("DEL"), c->argv[1]);
    }
    if (r->value.type != TYPE_STRING) value_free(&r->value);
    reply_ok(c);
}

static void propagate_restore(struct restore *r, int64_t deadline_ms) {
    struct client *c = r->c;
    char number[24];
    struct slice *argv = NEW_ARRAY(struct slice, (size_t)c->argc + 1);
    int argc = c->argc;
    memcpy(argv, c->argv, (size_t)argc * sizeof *argv);
    argv[2] = slice_from(number, number_write_int(number, deadline_ms));
    if (!r->absolute) argv[argc++] = SLICE("ABSTTL");
    propagate_instead(c, argc, argv);
    mem_free(argv);
}

static void restore_value(struct restore *r, int64_t deadline_ms) {
    struct client *c = r->c;
    struct entry *e = key_replace(c, c->argv[1], &r->value);
    if (deadline_ms >= 0) e = db_set_expiry(c->db, e, deadline_ms);
    bool lfu = access_is_lfu(c->engine->settings.maxmemory_policy);
    if (r->idle_s >= 0 && !lfu) access_set_idle_s(c->engine, e, r->idle_s);
    if (r->freq >= 0 && lfu) access_set_frequency(c->engine, e, (int)r->freq);
    key_changed(c, c->argv[1], NOTIFY_GENERIC, "restore", 1);
    if (r->ttl) propagate_restore(r, deadline_ms);
    reply_ok(c);
}

/* Whether a deadline in the past deletes: not where somebody else decides when keys go (C8). */
static bool past_deletes(const struct client *c) {
    const struct engine *engine = c->engine;
    if (engine->loading || engine->role == ROLE_REPLICA ||
        c->flags & (CLIENT_LOADING | CLIENT_MASTER))
        return false;
    return !(engine->settings.import_mode && c->flags & CLIENT_IMPORT_SOURCE);
}

static void restore_run(struct restore *r) {
    struct client *c = r->c;
    struct why why = {{0}};
    if (!r->replace && key_lookup(c, c->argv[1])) {
        reply_error(c, "BUSYKEY Target key name already exists.");
        return;
    }
    if (!arg_int(c, c->argv[2], &r->ttl, NULL)) return;
    if (r->ttl < 0) {
        reply_error(c, "ERR Invalid TTL value, must be >= 0");
        return;
    }
    if (!payload_is_sound(c)) {
        reply_error(c, "ERR DUMP payload version or checksum are wrong");
        return;
    }
    enum err err = read_payload(r, &why);
    if (err || !r->got) {
        if (err == ERR_REFUSED)
            reply_error(c, "ERR %s", why.text);
        else
            refuse_payload(c, &why);
        return;
    }
    int64_t deadline_ms = r->ttl ? r->ttl : -1;
    if (r->ttl && !r->absolute && __builtin_add_overflow(r->ttl, c->engine->now_ms, &deadline_ms))
        deadline_ms = INT64_MAX;
    if (r->ttl && deadline_ms <= c->engine->now_ms && past_deletes(c))
        restore_nothing(r);
    else
        restore_value(r, deadline_ms);
}

static void restore_command(struct client *c) {
    struct restore r = {.c = c, .idle_s = -1, .freq = -1};
    if (read_options(&r)) restore_run(&r);
    buf_close(&r.text);
}

void restore_open(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"dump", dump_command}, {"restore", restore_command}, {"restore-asking", restore_command}};
    command_bind(engine, bindings, COUNT(bindings));
}
