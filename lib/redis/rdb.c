/* rdb.c -- what rdb.h says about types. */
#include "lib/redis/rdb.h"

#include "lib/redis/listpack.h"

static const struct {
    bool known;
    uint8_t version;
    enum value_type value;
} types[] = {
    [RDB_STRING] = {true, 1, VALUE_STRING},
    [RDB_LIST] = {true, 1, VALUE_LIST},
    [RDB_SET] = {true, 1, VALUE_SET},
    [RDB_ZSET] = {true, 1, VALUE_ZSET},
    [RDB_HASH] = {true, 1, VALUE_HASH},
    [RDB_ZSET_2] = {true, 8, VALUE_ZSET},
    [RDB_HASH_ZIPMAP] = {true, 1, VALUE_HASH},
    [RDB_LIST_ZIPLIST] = {true, 2, VALUE_LIST},
    [RDB_SET_INTSET] = {true, 2, VALUE_SET},
    [RDB_ZSET_ZIPLIST] = {true, 2, VALUE_ZSET},
    [RDB_HASH_ZIPLIST] = {true, 4, VALUE_HASH},
    [RDB_LIST_QUICKLIST] = {true, 7, VALUE_LIST},
    [RDB_STREAM] = {true, 9, VALUE_STREAM},
    [RDB_HASH_LISTPACK] = {true, 10, VALUE_HASH},
    [RDB_ZSET_LISTPACK] = {true, 10, VALUE_ZSET},
    [RDB_LIST_QUICKLIST_2] = {true, 10, VALUE_LIST},
    [RDB_STREAM_2] = {true, 10, VALUE_STREAM},
    [RDB_SET_LISTPACK] = {true, 11, VALUE_SET},
    [RDB_STREAM_3] = {true, 11, VALUE_STREAM},
};

const char *value_type_name(enum value_type type) {
    static const char *const names[] = {"string", "list", "set", "zset", "hash", "stream"};
    ASSERT((unsigned)type < sizeof names / sizeof *names);
    return names[type];
}

static bool known(uint8_t rdb_type) {
    return rdb_type < sizeof types / sizeof *types && types[rdb_type].known;
}

bool rdb_type_value(uint8_t rdb_type, enum value_type *type) {
    if (!known(rdb_type)) return false;
    *type = types[rdb_type].value;
    return true;
}

unsigned rdb_type_version(uint8_t rdb_type) {
    ASSERT(known(rdb_type));
    return types[rdb_type].version;
}

bool rdb_fields_next(struct rdb_fields *fields, struct slice *field, struct slice *value) {
    if (fields->count == 0) return false;
    fields->count--;
    *field = lp_text(fields->lp, fields->field_at, fields->field_text);
    if (!fields->same_fields) fields->value_at = lp_next(fields->lp, fields->field_at);
    *value = lp_text(fields->lp, fields->value_at, fields->value_text);
    if (fields->count == 0) return true;
    if (fields->same_fields) {
        fields->field_at = lp_next(fields->lp, fields->field_at);
        fields->value_at = lp_next(fields->lp, fields->value_at);
    } else {
        fields->field_at = lp_next(fields->lp, fields->value_at);
    }
    return true;
}
