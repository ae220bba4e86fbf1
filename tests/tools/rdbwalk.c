/* rdbwalk.c -- print every key of an RDB file, for tests.
 *
 *     rdbwalk [--digest] [--raw BYTES] [--lax] FILE
 *
 * One line of JSON for each key, library of functions and aux field. All strings are hexadecimal,
 * scores are their eight bytes as a hexadecimal number. --digest prints "db key digest" instead.
 * --raw takes values up to BYTES whole and reads them as DUMP payloads. --lax skips empty keys.
 */
#include "lib/base/buf.h"
#include "lib/redis/digest.h"
#include "lib/redis/dump.h"
#include "lib/redis/rdb_read.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct walk {
    struct rdb_handler pieces; /* what payloads are read with */
    struct rdb_limits limits;
    struct buf line; /* of the key that is read: printed when it is complete */
    const char *comma;
    bool in_group, in_consumer;
};

static void put_hex(struct buf *line, struct slice bytes) {
    buf_byte(line, '"');
    for (size_t i = 0; i < bytes.size; i++) {
        buf_byte(line, (uint8_t) "0123456789abcdef"[bytes.data[i] >> 4]);
        buf_byte(line, (uint8_t) "0123456789abcdef"[bytes.data[i] & 15]);
    }
    buf_byte(line, '"');
}

static void put_item(struct walk *w, struct slice bytes) {
    buf_printf(&w->line, "%s", w->comma);
    put_hex(&w->line, bytes);
    w->comma = ",";
}

static void print(struct walk *w) {
    struct slice line = buf_slice(&w->line);
    fwrite(line.data, 1, line.size, stdout);
    putchar('\n');
    buf_clear(&w->line);
}

static enum err on_aux(void *self, struct slice name, struct slice value, struct why *why) {
    (void)why;
    struct walk *w = self;
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
    struct walk *w = self;
    buf_printf(&w->line, "{\"function\":");
    put_hex(&w->line, code);
    buf_printf(&w->line, "}");
    print(w);
    return OK;
}

static enum err on_key_begin(void *self, const struct rdb_key *key, uint64_t count,
                             struct why *why) {
    (void)why, (void)count;
    struct walk *w = self;
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
    struct walk *w = self;
    uint64_t bits;
    memcpy(&bits, &score, sizeof bits);
    put_item(w, member);
    buf_printf(&w->line, ",\"%016" PRIx64 "\"", bits);
    return OK;
}

static enum err on_entry(void *self, struct stream_id id, struct rdb_fields *fields,
                         struct why *why) {
    (void)why;
    struct walk *w = self;
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
    struct walk *w = self;
    buf_printf(&w->line,
               "],\"length\":%" PRIu64 ",\"last\":\"%" PRIu64 "-%" PRIu64
               "\",\"deleted\":\"%" PRIu64 "-%" PRIu64 "\",\"added\":%" PRIu64 ",\"groups\":[",
               s->length, s->last_id.ms, s->last_id.seq, s->max_deleted_id.ms,
               s->max_deleted_id.seq, s->entries_added);
    w->comma = "";
    return OK;
}

static void close_consumer(struct walk *w) {
    if (w->in_consumer) buf_printf(&w->line, "]}");
    w->in_consumer = false;
}

static void close_group(struct walk *w) {
    close_consumer(w);
    if (w->in_group) buf_printf(&w->line, "]}");
    w->in_group = false;
}

static enum err on_group(void *self, const struct rdb_group *group, struct why *why) {
    (void)why;
    struct walk *w = self;
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
    struct walk *w = self;
    buf_printf(&w->line, "%s[\"%" PRIu64 "-%" PRIu64 "\",%" PRId64 ",%" PRIu64 "]", w->comma,
               p->id.ms, p->id.seq, p->delivered_ms, p->deliveries);
    w->comma = ",";
    return OK;
}

/* Consumers follow the pending entries inside the same array: as objects. */
static enum err on_consumer(void *self, const struct rdb_consumer *c, struct why *why) {
    (void)why;
    struct walk *w = self;
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
    struct walk *w = self;
    buf_printf(&w->line, "%s\"%" PRIu64 "-%" PRIu64 "\"", w->comma, id.ms, id.seq);
    w->comma = ",";
    return OK;
}

static enum err on_key_end(void *self, const struct rdb_key *key, struct why *why) {
    (void)why;
    struct walk *w = self;
    close_group(w);
    buf_printf(&w->line, "%s}", key->type == VALUE_STREAM ? "]}" : "]");
    print(w);
    return OK;
}

/* A value that came whole goes the way of RESTORE. */
static enum err on_value_raw(void *self, const struct rdb_key *key, struct slice payload,
                             struct why *why) {
    struct walk *w = self;
    struct buf dump = {0};
    struct rdb_key copy = *key;
    dump_put(&dump, key->rdb_type, payload);
    enum err err = dump_read(buf_slice(&dump), w->limits, &copy, &w->pieces, why);
    buf_close(&dump);
    return err;
}

static enum err on_digest(void *self, const struct digest_key *key, struct why *why) {
    (void)why;
    struct walk *w = self;
    char text[DIGEST_TEXT_SIZE];
    digest_write(key->digest, text);
    buf_printf(&w->line, "%u ", key->key->db);
    put_hex(&w->line, key->key->key);
    buf_printf(&w->line, " %s", text);
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

static int run(struct walk *w, int fd, const struct rdb_handler *handler) {
    struct rdb_source_file file;
    struct why why;
    rdb_source_file_init(&file, fd);
    struct rdb_reader *reader = rdb_reader_open(&file.source, w->limits, handler);
    enum err err = rdb_reader_run(reader, &why);
    if (err != OK) fprintf(stderr, "%s (%s)\n", why.text, err_text(err));
    rdb_reader_close(reader);
    return err == OK ? 0 : 1;
}

int main(int argc, char **argv) {
    struct walk w = {.limits = RDB_LIMITS_DEFAULT};
    bool digest = false;
    const char *path = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--digest") == 0)
            digest = true;
        else if (strcmp(argv[i], "--lax") == 0)
            w.limits.skip_empty = true;
        else if (strcmp(argv[i], "--raw") == 0 && i + 1 < argc)
            w.limits.raw_bytes_max = strtoull(argv[++i], NULL, 10);
        else
            path = argv[i];
    }
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) {
        fprintf(stderr, "usage: rdbwalk [--digest] [--raw BYTES] [--lax] FILE\n");
        return 2;
    }
    struct digester *digester = digester_new(on_digest, &w, NULL);
    w.pieces = digest ? *digester_handler(digester) : printer;
    if (!digest) w.pieces.self = &w;
    struct rdb_handler whole = w.pieces;
    whole.self = digest ? w.pieces.self : &w;
    int status;
    if (w.limits.raw_bytes_max > 0) { /* the two ways have different selves with digests */
        if (digest) return fprintf(stderr, "--raw prints values, not digests\n"), 2;
        whole.value_raw = on_value_raw;
    }
    status = run(&w, fd, &whole);
    digester_free(digester);
    buf_close(&w.line);
    close(fd);
    return status;
}
