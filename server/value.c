/* value.c -- the registry of types, and values outside of entries. */
#include "server/value.h"

#include "lib/base/mem.h"
#include "server/helper.h"

#define EFFORT_ON_HELPER 64
#define EMBSTR_MAX 44 /* bytes; the boundary between embstr and raw in Redis */

static const struct value_ops *registry[TYPES];

void value_register(enum type type, const struct value_ops *ops) {
    ASSERT(type > TYPE_STRING && type < TYPES);
    registry[type] = ops;
}

const struct value_ops *value_ops(enum type type) {
    ASSERT(type < TYPES && registry[type] != NULL);
    return registry[type];
}

struct value value_string(struct slice bytes) {
    struct value value = {.type = TYPE_STRING, .bytes = bytes};
    if (bytes.size <= 20 && slice_to_int(bytes, &value.number))
        value.encoding = ENC_INT;
    else
        value.encoding = bytes.size <= EMBSTR_MAX ? ENC_EMBSTR : ENC_RAW;
    return value;
}

struct value value_number(int64_t number) {
    return (struct value){.type = TYPE_STRING, .encoding = ENC_INT, .number = number};
}

const char *type_name(enum type type) {
    static const char *const names[TYPES] = {
        [TYPE_STRING] = "string", [TYPE_LIST] = "list", [TYPE_SET] = "set",
        [TYPE_ZSET] = "zset",     [TYPE_HASH] = "hash", [TYPE_STREAM] = "stream"};
    return type < TYPES && names[type] ? names[type] : "unknown";
}

const char *encoding_name(enum encoding encoding) {
    static const char *const names[ENCODINGS] = {
        [ENC_RAW] = "raw",           [ENC_INT] = "int",
        [ENC_EMBSTR] = "embstr",     [ENC_LISTPACK] = "listpack",
        [ENC_INTSET] = "intset",     [ENC_HASHTABLE] = "hashtable",
        [ENC_SKIPLIST] = "skiplist", [ENC_QUICKLIST] = "quicklist",
        [ENC_STREAM] = "stream"};
    return encoding < ENCODINGS ? names[encoding] : "unknown";
}

struct free_job {
    const struct value_ops *ops;
    enum encoding encoding;
    void *ptr;
};

static void free_on_helper(void *arg) {
    struct free_job *job = arg;
    job->ops->free(job->encoding, job->ptr);
    mem_free(job);
}

struct value_watch **value_watches(const struct value *value) {
    if (value->type == TYPE_STRING || value_ops(value->type)->watch == NULL) return NULL;
    return value_ops(value->type)->watch(value->encoding, value->ptr);
}

bool value_is_big(const struct value *value) {
    return value->type != TYPE_STRING &&
           value_ops(value->type)->effort(value->encoding, value->ptr) > EFFORT_ON_HELPER;
}

void value_free(const struct value *value) {
    if (value->type == TYPE_STRING) return; /* borrowed bytes */
    struct value_watch **watches = value_watches(value);
    if (watches && *watches) {
        for (struct value_watch *watch = *watches; watch; watch = watch->next)
            watch->orphaned(watch);
        return;
    }
    const struct value_ops *ops = value_ops(value->type);
    if (!value_is_big(value)) {
        ops->free(value->encoding, value->ptr);
        return;
    }
    struct free_job *job = NEW(struct free_job);
    *job = (struct free_job){ops, value->encoding, value->ptr};
    helper_run(free_on_helper, job);
}
