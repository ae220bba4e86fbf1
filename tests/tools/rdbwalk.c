/* rdbwalk.c -- print every key of an RDB file, for tests.
 *
 *     rdbwalk [--digest | --dump [--for VERSION] | --payload] [--raw BYTES] [--lax] FILE
 *
 * One line of JSON for each key, library of functions and aux field, as tests/support/rdb_text.h
 * has it. --digest prints "db key digest" instead, --dump "db key expiry payload" with what DUMP
 * would say, to a server that knows RDB up to VERSION. --raw takes values up to BYTES whole and
 * reads them as DUMP payloads. --lax skips empty keys. --payload: FILE is one DUMP payload.
 */
#include "lib/redis/digest.h"
#include "lib/redis/dump.h"
#include "lib/redis/rdb_read.h"
#include "tests/support/rdb_text.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct rdb_limits limits;
static unsigned version_max = RDB_VERSION_MAX;

static void print(struct rdb_text *text, struct slice line) {
    (void)text;
    fwrite(line.data, 1, line.size, stdout);
    putchar('\n');
}

/* A value that came whole goes the way of RESTORE. */
static enum err on_value_raw(void *self, const struct rdb_key *key, struct slice payload,
                             struct why *why) {
    struct rdb_text *text = self;
    struct buf dump = {0};
    struct rdb_key copy = *key;
    dump_put(&dump, key->rdb_type, payload);
    enum err err = dump_read(buf_slice(&dump), limits, &copy, &text->handler, why);
    buf_close(&dump);
    return err;
}

static void print_hex(struct slice bytes) {
    for (size_t i = 0; i < bytes.size; i++) printf("%02x", bytes.data[i]);
}

static enum err on_digest(void *self, const struct digest_key *key, struct why *why) {
    (void)why, (void)self;
    char text[DIGEST_TEXT_SIZE];
    digest_write(key->digest, text);
    printf("%u ", key->key->db);
    print_hex(key->key->key);
    printf(" %s\n", text);
    return OK;
}

static enum err on_dump(void *self, const struct rdb_key *key, struct slice payload,
                        struct why *why) {
    (void)self;
    struct buf dump = {0};
    enum err err = dump_put_for(&dump, key->rdb_type, payload, version_max, why);
    if (err != OK) return err;
    printf("%u ", key->db);
    print_hex(key->key);
    printf(" %" PRId64 " ", key->expire_at_ms);
    print_hex(buf_slice(&dump));
    putchar('\n');
    buf_close(&dump);
    return OK;
}

static int run_payload(int fd, const struct rdb_handler *handler) {
    struct buf all = {0};
    struct why why;
    for (ssize_t got; (got = read(fd, buf_room(&all, 1 << 20), 1 << 20)) > 0;)
        buf_filled(&all, (size_t)got);
    struct rdb_key key = {.expire_at_ms = -1, .idle_s = -1, .freq = -1};
    enum err err = dump_read(buf_slice(&all), limits, &key, handler, &why);
    if (err != OK) fprintf(stderr, "%s (%s)\n", why.text, err_text(err));
    buf_close(&all);
    return err == OK ? 0 : 1;
}

static int run(int fd, const struct rdb_handler *handler) {
    struct rdb_source_file file;
    struct why why;
    rdb_source_file_init(&file, fd);
    struct rdb_reader *reader = rdb_reader_open(&file.source, limits, handler);
    enum err err = rdb_reader_run(reader, &why);
    if (err != OK) fprintf(stderr, "%s (%s)\n", why.text, err_text(err));
    rdb_reader_close(reader);
    return err == OK ? 0 : 1;
}

struct choice {
    bool digest, dump, payload;
    const char *path;
};

static struct choice choose(int argc, char **argv) {
    struct choice c = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--digest") == 0)
            c.digest = true;
        else if (strcmp(argv[i], "--dump") == 0)
            c.dump = true, limits.raw_bytes_max = UINT64_C(1) << 30;
        else if (strcmp(argv[i], "--payload") == 0)
            c.payload = true;
        else if (strcmp(argv[i], "--lax") == 0)
            limits.skip_empty = true;
        else if (strcmp(argv[i], "--for") == 0 && i + 1 < argc)
            version_max = (unsigned)atoi(argv[++i]);
        else if (strcmp(argv[i], "--raw") == 0 && i + 1 < argc)
            limits.raw_bytes_max = strtoull(argv[++i], NULL, 10);
        else
            c.path = argv[i];
    }
    return c;
}

int main(int argc, char **argv) {
    limits = RDB_LIMITS_DEFAULT;
    struct choice c = choose(argc, argv);
    int fd = c.path ? open(c.path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) {
        fprintf(stderr, "usage: rdbwalk [--digest | --dump [--for VERSION] | --payload] [--raw "
                        "BYTES] [--lax] FILE\n");
        return 2;
    }
    struct rdb_text text;
    rdb_text_init(&text);
    text.emit = print;
    struct digester *digester = digester_new(on_digest, NULL, NULL);
    struct rdb_handler whole = text.handler;
    whole.value_raw = c.dump ? on_dump : on_value_raw;
    int status = c.payload ? run_payload(fd, &text.handler)
                           : run(fd, c.digest ? digester_handler(digester) : &whole);
    digester_free(digester);
    rdb_text_close(&text);
    close(fd);
    return status;
}
