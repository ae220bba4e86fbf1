/* entry.h -- a key with its value: one allocation, eight bytes of header.
 *
 *     [header 8][expiry 8, if ENTRY_EXPIRES][pointer or number 8, unless ENTRY_INLINE]
 *     [key size 4, if the key has 255 bytes or more][key][value, if ENTRY_INLINE]
 *
 * Strings of up to ENTRY_INLINE_MAX bytes live inside; longer ones in a struct blob; containers
 * behind a pointer (value.h). An entry never moves while nobody changes its expiry or its string;
 * the functions of keyspace.h that may move it return where it is now.
 */
#ifndef SERVER_ENTRY_H
#define SERVER_ENTRY_H

#include "lib/base/slice.h"
#include "server/value.h"

#define ENTRY_INLINE_MAX 128
#define ENTRY_INT_TEXT 24 /* room for any int64_t as text */
#define KEY_SIZE_MAX (512u << 20)

enum entry_flag { ENTRY_EXPIRES = 1, ENTRY_INLINE = 2, ENTRY_LONG_KEY = 4 };

struct entry {
    uint8_t kind;        /* type in the low half, encoding in the high one */
    uint8_t flags;       /* enum entry_flag */
    uint8_t colours;     /* low 4 bits: one per snapshot; high 4: which have a part of the string
                          * (snapshot_inside.h) */
    uint8_t key_size;    /* bytes; unused with ENTRY_LONG_KEY */
    uint8_t inline_size; /* bytes of the value, with ENTRY_INLINE */
    uint8_t access[3];   /* LRU clock or LFU counter; racy by design */
};

/* A long string's bytes. */
struct blob {
    size_t size, room; /* bytes */
    uint8_t bytes[];
};

static inline enum type entry_type(const struct entry *e) {
    return (enum type)(e->kind & 15);
}
static inline enum encoding entry_encoding(const struct entry *e) {
    return (enum encoding)(e->kind >> 4);
}
struct slice entry_key(const struct entry *e);
static inline bool entry_expires(const struct entry *e) {
    return e->flags & ENTRY_EXPIRES;
}
int64_t entry_expiry(const struct entry *e); /* milliseconds since 1970, or -1: does not expire */

/* The container behind the entry; not for strings. */
void *entry_ptr(const struct entry *e);
/* Put another one there, or the same in another encoding (the old one is the caller's business). */
void entry_set_ptr(struct entry *e, enum encoding encoding, void *ptr);

/* The bytes of a string; a number is written into SCRATCH. Borrowed: dies with the next change. */
struct slice entry_string(const struct entry *e, char scratch[ENTRY_INT_TEXT]);
size_t entry_string_size(const struct entry *e);
int64_t entry_number(const struct entry *e); /* ENC_INT only */

/* The entry's value as a struct value: borrowed from the entry, nothing is copied. */
struct value entry_value(const struct entry *e);

/* Fetch what a look at the value of E, whose header is near already, touches first. */
static inline void entry_prefetch(const struct entry *e) {
    bool is_inside = e->flags & ENTRY_INLINE || entry_encoding(e) == ENC_INT;
    __builtin_prefetch(is_inside ? (const void *)((const char *)e + 64) : entry_ptr(e));
}

/* Low level; the keyspace uses these. A new entry with a copy of KEY; containers become the
 * entry's. EXPIRY_MS -1: none. */
struct entry *entry_new(struct slice key, const struct value *value, int64_t expiry_ms);
/* Free the entry with its value (big ones on the helper thread) or without (the value was taken).
 */
void entry_free(struct entry *e);
void entry_free_shell(struct entry *e);
/* Whether a string entry can take VALUE and the expiry where it is, without being allocated anew.
 */
bool entry_fits(const struct entry *e, const struct value *value, int64_t expiry_ms);
/* Then: put them there. VALUE may borrow from the entry itself. */
void entry_overwrite(struct entry *e, const struct value *value, int64_t expiry_ms);
void entry_overwrite_expiry(struct entry *e, int64_t expiry_ms); /* it expires already */
/* A new entry with the same key and value and another expiry (-1: none). The value moves over: free
 * the old one with entry_free_shell(). */
struct entry *entry_with_expiry(const struct entry *e, int64_t expiry_ms);
/* Make a string raw and writable with NEW_SIZE bytes. The result is E, or a new entry: then free
 * the old one with entry_free_shell(). */
struct entry *entry_string_resize(struct entry *e, size_t new_size, uint8_t **bytes);
/* The 24 bits for LRU and LFU (access.c). */
static inline uint32_t entry_access(const struct entry *e) {
    return (uint32_t)e->access[0] | (uint32_t)e->access[1] << 8 | (uint32_t)e->access[2] << 16;
}
static inline void entry_set_access(struct entry *e, uint32_t access) {
    e->access[0] = (uint8_t)access;
    e->access[1] = (uint8_t)(access >> 8);
    e->access[2] = (uint8_t)(access >> 16);
}
/* Bytes in memory, with the value. */
size_t entry_memory(const struct entry *e, size_t samples);

#endif
