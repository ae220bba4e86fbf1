/* value.h -- what a key can hold: types, encodings, and what each type must be able to do.
 *
 * A value outside an entry is a struct value: on its way into the keyspace (a command built it, an
 * RDB reader made it) or out of it. Containers are pointers to structures that their type owns; the
 * entry has the pointer. listpack and intset are byte for byte those of Redis.
 */
#ifndef SERVER_VALUE_H
#define SERVER_VALUE_H

#include "lib/base/slice.h"
#include "server/value_watch.h"

/* The numbers of Redis's object types, so that SCAN's TYPE, DEBUG and tests can use them. */
enum type {
    TYPE_STRING = 0,
    TYPE_LIST = 1,
    TYPE_SET = 2,
    TYPE_ZSET = 3,
    TYPE_HASH = 4,
    TYPE_STREAM = 6,
    TYPES = 7
};

enum encoding {
    ENC_RAW,       /* string: the bytes */
    ENC_INT,       /* string: a number */
    ENC_EMBSTR,    /* string: the bytes, as a short string that was never changed in place */
    ENC_LISTPACK,  /* hash, zset: a listpack */
    ENC_INTSET,    /* set: an intset */
    ENC_HASHTABLE, /* set, hash */
    ENC_SKIPLIST,  /* zset: its big form */
    ENC_QUICKLIST, /* list */
    ENC_STREAM,
    ENCODINGS
};

/* A value that is in no entry yet. Which field is valid: ENC_RAW, ENC_EMBSTR `bytes` (borrowed;
 * copied when stored), ENC_INT `number`, all others `ptr` (owned; storing it gives it to the
 * entry). */
struct value {
    enum type type;
    enum encoding encoding;
    struct slice bytes;
    int64_t number;
    void *ptr;
};

/* A string value for BYTES in the encoding that SET would choose: a number when it is written like
 * one, embstr up to 44 bytes, else raw. */
struct value value_string(struct slice bytes);
struct value value_number(int64_t number);
static inline struct value value_container(enum type type, enum encoding encoding, void *ptr) {
    return (struct value){.type = type, .encoding = encoding, .ptr = ptr};
}

/* What the owner of a container type provides. All get the encoding and the pointer of the entry.
 */
struct value_ops {
    /* Free all of it. May run on a helper thread while no one else can see the value. */
    void (*free)(enum encoding encoding, void *ptr);
    /* About how many allocations freeing costs; O(1). Over 64 it is freed by the helper. */
    size_t (*effort)(enum encoding encoding, const void *ptr);
    /* A deep copy in the same encoding. */
    void *(*copy)(enum encoding encoding, const void *ptr);
    /* Bytes in memory; SAMPLES elements are measured and the rest estimated, 0 means all. */
    size_t (*memory)(enum encoding encoding, const void *ptr, size_t samples);
    /* Elements (fields, members, list items, stream entries). */
    size_t (*length)(enum encoding encoding, const void *ptr);
    /* Where the watches of a big value hang; NULL in an encoding that is never big. */
    struct value_watch **(*watch)(enum encoding encoding, void *ptr);
};

/* Once at start. Strings are the core's own. */
void value_register(enum type type, const struct value_ops *ops);
const struct value_ops *
value_ops(enum type type); /* not for strings; the type must be registered */

const char *type_name(enum type type);             /* "string", "list", ... */
const char *encoding_name(enum encoding encoding); /* as OBJECT ENCODING of 7.0 */

struct value_watch **value_watches(const struct value *value); /* NULL: it cannot be watched */

/* Whether freeing it is the helper's work. */
bool value_is_big(const struct value *value);
/* Free a value that never reached an entry (or was detached from one); big ones on the helper. */
void value_free(const struct value *value);

#endif
