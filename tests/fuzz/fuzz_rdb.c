/* fuzz_rdb.c -- any bytes as an RDB: whole, in pieces and as blobs give the same or are refused.
 *
 * The first byte chooses the sizes of reads and of what is taken whole.
 */
#include "lib/base/mem.h"
#include "lib/redis/digest.h"
#include "lib/redis/dump.h"
#include "lib/redis/rdb_read.h"

struct result {
    struct digest sum;
    uint64_t keys;
    const struct rdb_handler *pieces;
    struct rdb_limits limits;
};

struct dripping {
    struct rdb_source source;
    struct slice left;
    size_t most;
};

static enum err drip(struct rdb_source *source, void *into, size_t size, size_t *got,
                     struct why *why) {
    (void)why;
    struct dripping *d = (struct dripping *)source;
    *got = d->most < size ? d->most : size;
    if (*got > d->left.size) *got = d->left.size;
    if (*got) memcpy(into, d->left.data, *got);
    d->left = slice_drop(d->left, *got);
    return OK;
}

static enum err count(void *self, const struct digest_key *key, struct why *why) {
    (void)why;
    struct result *result = self;
    digest_add(&result->sum, key->digest);
    result->keys++;
    return OK;
}

static struct result *current;

static enum err whole(void *self, const struct rdb_key *key, struct slice payload,
                      struct why *why) {
    (void)self;
    struct buf dump = {0};
    struct rdb_key copy = *key;
    dump_put(&dump, key->rdb_type, payload);
    enum err err = dump_read(buf_slice(&dump), current->limits, &copy, current->pieces, why);
    ASSERT(err == OK); /* the reader has checked it */
    buf_close(&dump);
    return err;
}

static enum err read_all(struct slice bytes, size_t most, uint64_t raw_bytes_max,
                         struct result *result) {
    struct dripping source = {{drip}, bytes, most};
    struct digester *digester = digester_new(count, result, NULL);
    struct rdb_handler handler = *digester_handler(digester);
    struct why why;
    handler.value_raw = whole;
    result->pieces = digester_handler(digester);
    result->limits = RDB_LIMITS_DEFAULT;
    result->limits.value_bytes_max = 1 << 20;
    result->limits.raw_bytes_max = raw_bytes_max;
    current = result;
    struct rdb_reader *reader = rdb_reader_open(&source.source, result->limits, &handler);
    enum err err = rdb_reader_run(reader, &why);
    rdb_reader_close(reader);
    digester_free(digester);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    uint8_t *exact = mem_dup(data + 1, size - 1);
    struct slice bytes = slice_from(exact, size - 1);
    struct result a = {0}, b = {0};
    enum err first = read_all(bytes, 1 << 20, 0, &a);
    enum err second = read_all(bytes, 1u + data[0], 1u << (data[0] & 15), &b);
    ASSERT((first == OK) == (second == OK));
    ASSERT(a.keys == b.keys && digest_equal(a.sum, b.sum));
    mem_free(exact);
    return 0;
}
