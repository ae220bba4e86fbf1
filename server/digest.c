/* digest.c -- the digests of DEBUG DIGEST. See digest.h.
 *
 * Two ways to put something in: `join`, whose order does not matter (sets, keys), and `mix`, whose
 * order does (a list's items, a key before its value).
 */
#include "server/digest.h"

#include "server/hash.h"
#include "server/list.h"
#include "server/set.h"
#include "server/xstream.h"
#include "server/zset.h"

#include <arpa/inet.h>
#include <openssl/sha.h>
#include <stdio.h>

static void join(struct sha_digest *digest, struct slice bytes) {
    uint8_t hash[DIGEST_BYTES];
    SHA1(bytes.size ? bytes.data : (const uint8_t *)"", bytes.size, hash);
    for (int i = 0; i < DIGEST_BYTES; i++) digest->bytes[i] ^= hash[i];
}

static void mix(struct sha_digest *digest, struct slice bytes) {
    uint8_t hash[DIGEST_BYTES];
    join(digest, bytes);
    SHA1(digest->bytes, DIGEST_BYTES, hash);
    memcpy(digest->bytes, hash, DIGEST_BYTES);
}

static struct slice bytes_of(const struct sha_digest *digest) {
    return slice_from(digest->bytes, DIGEST_BYTES);
}

static void mix_number(struct sha_digest *digest, unsigned number) {
    uint32_t big_end = htonl(number);
    mix(digest, slice_from(&big_end, sizeof big_end));
}

static void add_list(struct sha_digest *digest, const struct value *value) {
    struct list_iter iter = list_iter_at(value->ptr, 0, false);
    for (struct slice item; list_next(&iter, &item);) mix(digest, item);
}

static void add_set(struct sha_digest *digest, const struct value *value) {
    struct set_iter iter;
    struct slice member;
    for (set_iter_init(&iter, value); set_next(&iter, &member);) join(digest, member);
}

static void add_hash(struct sha_digest *digest, const struct value *value) {
    struct hash_iter iter;
    struct slice field, bytes;
    for (hash_iter_init(&iter, value); hash_next(&iter, &field, &bytes);) {
        struct sha_digest one = {{0}};
        mix(&one, field);
        mix(&one, bytes);
        join(digest, bytes_of(&one));
    }
}

static void add_zset(struct sha_digest *digest, const struct value *value) {
    struct zset_iter iter;
    struct slice member;
    double score;
    for (zset_iter_init(&iter, value, 0, false); zset_next(&iter, &member, &score);) {
        struct sha_digest one = {{0}};
        char text[64];
        int size = snprintf(text, sizeof text, "%.17g", score);
        mix(&one, member);
        mix(&one, slice_from(text, (size_t)size));
        join(digest, bytes_of(&one));
    }
}

static void add_stream(struct sha_digest *digest, const struct xstream *stream) {
    struct xstream_iter iter;
    struct xstream_entry entry;
    struct slice field, bytes;
    xstream_iter_init(&iter, stream, STREAM_ID_MIN, STREAM_ID_MAX, false);
    while (xstream_next(&iter, &entry)) {
        char text[48];
        int size = snprintf(text, sizeof text, "%llu.%llu", (unsigned long long)entry.id.ms,
                            (unsigned long long)entry.id.seq);
        mix(digest, slice_from(text, (size_t)size));
        while (rdb_fields_next(&entry.fields, &field, &bytes)) {
            mix(digest, field);
            mix(digest, bytes);
        }
    }
}

static void add_entry(struct sha_digest *digest, const struct entry *e) {
    struct value value = entry_value(e);
    char scratch[ENTRY_INT_TEXT];
    mix_number(digest, (unsigned)value.type);
    switch (value.type) {
    case TYPE_STRING: mix(digest, entry_string(e, scratch)); break;
    case TYPE_LIST: add_list(digest, &value); break;
    case TYPE_SET: add_set(digest, &value); break;
    case TYPE_HASH: add_hash(digest, &value); break;
    case TYPE_ZSET: add_zset(digest, &value); break;
    case TYPE_STREAM: add_stream(digest, value.ptr); break;
    case TYPES: UNREACHABLE("a type that does not exist here");
    }
    if (entry_expires(e)) join(digest, SLICE("!!expire!!"));
}

struct sha_digest digest_of_entry(const struct entry *e) {
    struct sha_digest digest = {{0}};
    add_entry(&digest, e);
    return digest;
}

struct sha_digest digest_of_dbs(struct db *dbs, int count) {
    struct sha_digest all = {{0}};
    for (int i = 0; i < count; i++) {
        if (db_size(&dbs[i]) == 0) continue;
        mix_number(&all, (unsigned)i);
        struct db_iter iter;
        db_iter_init(&iter, &dbs[i]);
        for (struct entry *e; (e = db_iter_next(&iter)) != NULL;) {
            struct sha_digest one = {{0}};
            mix(&one, entry_key(e));
            add_entry(&one, e);
            join(&all, bytes_of(&one));
        }
    }
    return all;
}
