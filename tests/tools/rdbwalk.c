/* rdbwalk.c -- print every key of an RDB file, for tests.
 *
 *     rdbwalk [--digest] [--raw BYTES] [--lax] FILE
 *
 * One line of JSON for each key, library of functions and aux field, as tests/support/rdb_text.h
 * has it. --digest prints "db key digest" instead. --raw takes values up to BYTES whole and reads
 * them as DUMP payloads. --lax skips empty keys.
 */
#include "lib/redis/digest.h"
#include "lib/redis/dump.h"
#include "lib/redis/rdb_read.h"
#include "tests/support/rdb_text.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct rdb_limits limits;

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

static enum err on_digest(void *self, const struct digest_key *key, struct why *why) {
    (void)why, (void)self;
    char text[DIGEST_TEXT_SIZE];
    digest_write(key->digest, text);
    printf("%u ", key->key->db);
    for (size_t i = 0; i < key->key->key.size; i++) printf("%02x", key->key->key.data[i]);
    printf(" %s\n", text);
    return OK;
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

int main(int argc, char **argv) {
    limits = RDB_LIMITS_DEFAULT;
    bool digest = false;
    const char *path = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--digest") == 0)
            digest = true;
        else if (strcmp(argv[i], "--lax") == 0)
            limits.skip_empty = true;
        else if (strcmp(argv[i], "--raw") == 0 && i + 1 < argc)
            limits.raw_bytes_max = strtoull(argv[++i], NULL, 10);
        else
            path = argv[i];
    }
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) {
        fprintf(stderr, "usage: rdbwalk [--digest] [--raw BYTES] [--lax] FILE\n");
        return 2;
    }
    struct rdb_text text;
    rdb_text_init(&text);
    text.emit = print;
    struct digester *digester = digester_new(on_digest, NULL, NULL);
    struct rdb_handler whole = text.handler;
    whole.value_raw = on_value_raw;
    int status = run(fd, digest ? digester_handler(digester) : &whole);
    digester_free(digester);
    rdb_text_close(&text);
    close(fd);
    return status;
}
