/* rdb_skim.c -- the ends of keys in an RDB. See rdb_skim.h. */
#include "lib/redis/rdb_skim.h"

#include "lib/redis/bytes.h"
#include "lib/redis/rdb.h"

#define STRING_INTS 3u /* of one, two and four bytes; behind them: LZF */
#define STREAM_ID_BYTES 16u

struct skim {
    const uint8_t *at, *end;
};

#define SKIM_TRY(call)                                                                             \
    do {                                                                                           \
        enum step step_ = (call);                                                                  \
        if (step_ != STEP_DONE) return step_;                                                      \
    } while (0)

static inline enum step skip(struct skim *s, uint64_t bytes) {
    if ((uint64_t)(s->end - s->at) < bytes) return STEP_MORE;
    s->at += bytes;
    return STEP_DONE;
}

/* A length, or (SPECIAL) what stands in its place before a string that is not there as it is. */
static inline enum step length(struct skim *s, uint64_t *length, bool *special) {
    const uint8_t *p = s->at;
    SKIM_TRY(skip(s, 1));
    *special = false;
    *length = *p & 63;
    switch (*p >> 6) {
    case 0: return STEP_DONE;
    case 1:
        SKIM_TRY(skip(s, 1));
        *length = *length << 8 | p[1];
        return STEP_DONE;
    case 2: {
        if (*p > 0x81) return STEP_FAIL;
        size_t size = *p == 0x80 ? 4 : 8;
        SKIM_TRY(skip(s, size));
        *length = bytes_be(p + 1, size);
        return STEP_DONE;
    }
    default: *special = true; return STEP_DONE;
    }
}

static inline enum step number(struct skim *s, uint64_t *value) {
    bool special;
    SKIM_TRY(length(s, value, &special));
    return special ? STEP_FAIL : STEP_DONE;
}

static inline enum step numbers(struct skim *s, unsigned count) {
    for (uint64_t ignored; count > 0; count--) SKIM_TRY(number(s, &ignored));
    return STEP_DONE;
}

static inline enum step string(struct skim *s) {
    uint64_t size, packed;
    bool special;
    SKIM_TRY(length(s, &size, &special));
    if (!special) return skip(s, size);
    if (size < STRING_INTS) return skip(s, UINT64_C(1) << size);
    if (size > STRING_INTS) return STEP_FAIL;
    SKIM_TRY(number(s, &packed));
    SKIM_TRY(number(s, &size));
    return skip(s, packed);
}

static enum step strings(struct skim *s, uint64_t count) {
    for (; count > 0; count--) SKIM_TRY(string(s));
    return STEP_DONE;
}

/* As many strings as are counted, or twice as many. */
static enum step counted(struct skim *s, bool paired) {
    uint64_t count;
    SKIM_TRY(number(s, &count));
    for (; count > 0; count--) {
        SKIM_TRY(string(s));
        if (paired) SKIM_TRY(string(s));
    }
    return STEP_DONE;
}

static enum step scored(struct skim *s, bool binary) {
    uint64_t count;
    SKIM_TRY(number(s, &count));
    for (; count > 0; count--) {
        SKIM_TRY(string(s));
        const uint8_t *size = s->at;
        if (binary) {
            SKIM_TRY(skip(s, 8));
            continue;
        }
        SKIM_TRY(skip(s, 1));
        if (*size < 253) SKIM_TRY(skip(s, *size));
    }
    return STEP_DONE;
}

static enum step quicklist(struct skim *s) {
    uint64_t count, container;
    SKIM_TRY(number(s, &count));
    for (; count > 0; count--) {
        SKIM_TRY(number(s, &container));
        SKIM_TRY(string(s));
    }
    return STEP_DONE;
}

static enum step consumers(struct skim *s, unsigned times_bytes) {
    uint64_t count, pending;
    SKIM_TRY(number(s, &count));
    for (; count > 0; count--) {
        SKIM_TRY(string(s));
        SKIM_TRY(skip(s, times_bytes));
        SKIM_TRY(number(s, &pending));
        if (pending > UINT32_MAX) return STEP_FAIL;
        SKIM_TRY(skip(s, pending * STREAM_ID_BYTES));
    }
    return STEP_DONE;
}

static enum step stream(struct skim *s, uint8_t type) {
    uint64_t count, pending, ignored;
    SKIM_TRY(counted(s, true));
    SKIM_TRY(numbers(s, type == RDB_STREAM ? 3 : 8));
    SKIM_TRY(number(s, &count));
    for (; count > 0; count--) {
        SKIM_TRY(string(s));
        SKIM_TRY(numbers(s, type == RDB_STREAM ? 2 : 3));
        SKIM_TRY(number(s, &pending));
        for (; pending > 0; pending--) {
            SKIM_TRY(skip(s, STREAM_ID_BYTES + 8));
            SKIM_TRY(number(s, &ignored));
        }
        SKIM_TRY(consumers(s, type == RDB_STREAM_3 ? 16 : 8));
    }
    return STEP_DONE;
}

static enum step value(struct skim *s, uint8_t type) {
    switch (type) {
    case RDB_STRING:
    case RDB_HASH_ZIPMAP:
    case RDB_LIST_ZIPLIST:
    case RDB_SET_INTSET:
    case RDB_ZSET_ZIPLIST:
    case RDB_HASH_ZIPLIST:
    case RDB_HASH_LISTPACK:
    case RDB_ZSET_LISTPACK:
    case RDB_SET_LISTPACK: return string(s);
    case RDB_LIST:
    case RDB_SET:
    case RDB_LIST_QUICKLIST: return counted(s, false);
    case RDB_HASH: return counted(s, true);
    case RDB_ZSET:
    case RDB_ZSET_2: return scored(s, type == RDB_ZSET_2);
    case RDB_LIST_QUICKLIST_2: return quicklist(s);
    case RDB_STREAM:
    case RDB_STREAM_2:
    case RDB_STREAM_3: return stream(s, type);
    default: return STEP_FAIL;
    }
}

/* What stands before the type: expiry and the like. *TYPE is the byte behind it. */
static enum step decorations(struct skim *s, uint8_t *type) {
    for (;;) {
        const uint8_t *p = s->at;
        SKIM_TRY(skip(s, 1));
        switch (*p) {
        case RDB_OP_EXPIRE_MS: SKIM_TRY(skip(s, 8)); break;
        case RDB_OP_EXPIRE_S: SKIM_TRY(skip(s, 4)); break;
        case RDB_OP_IDLE: SKIM_TRY(numbers(s, 1)); break;
        case RDB_OP_FREQ: SKIM_TRY(skip(s, 1)); break;
        default: *type = *p; return STEP_DONE;
        }
    }
}

enum step rdb_skim_key(struct slice bytes, size_t *used_bytes) {
    struct skim s = {.at = bytes.data, .end = bytes.data + bytes.size};
    uint8_t type;
    SKIM_TRY(decorations(&s, &type));
    if (type >= RDB_OP_SLOT_INFO) return STEP_FAIL;
    SKIM_TRY(string(&s));
    SKIM_TRY(value(&s, type));
    *used_bytes = (size_t)(s.at - bytes.data);
    return STEP_DONE;
}

enum step rdb_skim_between(struct slice bytes, size_t *used_bytes, uint64_t *db) {
    struct skim s = {.at = bytes.data, .end = bytes.data + bytes.size};
    SKIM_TRY(skip(&s, 1));
    switch (bytes.data[0]) {
    case RDB_OP_AUX: SKIM_TRY(strings(&s, 2)); break;
    case RDB_OP_FUNCTION: SKIM_TRY(string(&s)); break;
    case RDB_OP_SLOT_INFO: SKIM_TRY(numbers(&s, 3)); break;
    case RDB_OP_RESIZE: SKIM_TRY(numbers(&s, 2)); break;
    case RDB_OP_SELECT: SKIM_TRY(number(&s, db)); break;
    default: return STEP_FAIL;
    }
    *used_bytes = (size_t)(s.at - bytes.data);
    return STEP_DONE;
}
