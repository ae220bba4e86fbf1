/* rdbmake.c -- write a random RDB file that Redis 7.0 must load, and print what is in it.
 *
 *     rdbmake SEED KEYS SCALE FILE
 *
 * All types up to RDB version 10; one line of JSON for each key as rdbwalk prints it.
 */
#include "lib/redis/rdb_write.h"
#include "tests/support/rdb_random.h"
#include "tests/support/rdb_text.h"

#include <stdio.h>
#include <stdlib.h>

struct file_sink {
    struct rdb_sink sink;
    FILE *file;
};

static enum err file_write(struct rdb_sink *sink, struct slice bytes, struct why *why) {
    FILE *file = ((struct file_sink *)sink)->file;
    if (fwrite(bytes.data, 1, bytes.size, file) == bytes.size) return OK;
    return why_set(why, ERR_IO, "cannot write");
}

static void print(struct rdb_text *text, struct slice line) {
    (void)text;
    fwrite(line.data, 1, line.size, stdout);
    putchar('\n');
}

/* One key that a reader of version 10 knows. */
static void put_key(struct rng *rng, unsigned index, unsigned scale, struct rdb_writer *writer,
                    struct rdb_text *text) {
    struct buf name = {0}, value = {0}, skipped = {0};
    static const struct rdb_handler silent;
    buf_printf(&name, "key:%u", index);
    struct rdb_key key = {.db = index % 16, .key = buf_slice(&name), .idle_s = -1, .freq = -1};
    key.expire_at_ms = rng_below(rng, 2) ? -1 : (INT64_C(1) << 42) + (int64_t)rng_below(rng, 1000);
    unsigned kind = index % RDB_RANDOM_KINDS;
    struct rng before = *rng;
    rdb_random_value(rng, kind, scale, &key, &skipped, &silent); /* to learn its type */
    if (rdb_type_version(key.rdb_type) <= RDB_VERSION_WRITTEN) {
        *rng = before;
        rdb_random_value(rng, kind, scale, &key, &value, &text->handler);
        rdb_writer_select(writer, key.db);
        rdb_put_key(&writer->out, &key, true);
        buf_add(&writer->out, buf_slice(&value));
    }
    buf_close(&name);
    buf_close(&value);
    buf_close(&skipped);
}

int main(int argc, char **argv) {
    struct file_sink sink = {{file_write}, argc == 5 ? fopen(argv[4], "wb") : NULL};
    if (sink.file == NULL) {
        fprintf(stderr, "usage: rdbmake SEED KEYS SCALE FILE\n");
        return 2;
    }
    struct rng rng = rng_from(strtoull(argv[1], NULL, 10));
    unsigned keys = (unsigned)atoi(argv[2]), scale = (unsigned)atoi(argv[3]);
    struct rdb_text text;
    struct rdb_writer writer;
    struct why why;
    rdb_text_init(&text);
    text.emit = print;
    rdb_writer_open(&writer, &sink.sink, RDB_VERSION_WRITTEN);
    rdb_writer_aux(&writer, SLICE("redis-ver"), SLICE("7.0.15"));
    rdb_writer_aux_number(&writer, SLICE("redis-bits"), 64);
    enum err err = OK;
    for (unsigned i = 0; err == OK && i < keys; i++) {
        put_key(&rng, i, scale, &writer, &text);
        err = rdb_writer_push(&writer, 65536, &why);
    }
    if (err == OK) err = rdb_writer_end(&writer, &why);
    if (err != OK) fprintf(stderr, "%s\n", why.text);
    rdb_writer_close(&writer);
    rdb_text_close(&text);
    return fclose(sink.file) == 0 && err == OK ? 0 : 1;
}
