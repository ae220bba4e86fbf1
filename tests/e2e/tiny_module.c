/* tiny_module.c -- a Redis module with one type, whose values are strings: TINY.SET KEY TEXT, TINY.GET KEY.
 *
 *     redis-server --loadmodule tiny_module.so [VERSION]     VERSION: that the type is written in; 1
 *
 * Declares for itself what it uses of the module interface, as Redis documents it (Modules API reference).
 * Compiled by the test that uses it: cc -shared -fPIC tiny_module.c -o tiny_module.so
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct methods {
    uint64_t version;
    void *(*load)(void *io, int version);
    void (*save)(void *io, void *value);
    void (*rewrite)(void *io, void *key, void *value);
    size_t (*usage)(const void *value);
    void (*digest)(void *digest, void *value);
    void (*free)(void *value);
};

typedef int command(void *ctx, void **argv, int argc);

static int (*get_api)(const char *name, void *to);
static void *(*open_key)(void *ctx, void *name, int mode);
static void (*close_key)(void *key);
static int (*set_value)(void *key, void *type, void *value);
static void *(*get_value)(void *key);
static const char *(*text_of)(const void *string, size_t *size);
static int (*reply_text)(void *ctx, const char *text, size_t size);
static int (*reply_null)(void *ctx);
static int (*replicate)(void *ctx);
static void (*save_text)(void *io, const char *text, size_t size);
static char *(*load_text)(void *io, size_t *size);
static void (*free_text)(void *text);
static void *type;

struct value {
    size_t size;
    char text[];
};

static struct value *value_new(const char *text, size_t size) {
    struct value *v = malloc(sizeof *v + size);
    v->size = size;
    memcpy(v->text, text, size);
    return v;
}

static void *on_load(void *io, int version) {
    size_t size;
    (void)version;
    char *text = load_text(io, &size);
    struct value *v = value_new(text, size);
    free_text(text);
    return v;
}

static void on_save(void *io, void *value) {
    struct value *v = value;
    save_text(io, v->text, v->size);
}

static size_t on_usage(const void *value) {
    return ((const struct value *)value)->size;
}

static int on_set(void *ctx, void **argv, int argc) {
    size_t size;
    if (argc != 3) return 1;
    void *key = open_key(ctx, argv[1], 1 | 2);
    const char *text = text_of(argv[2], &size);
    set_value(key, type, value_new(text, size));
    close_key(key);
    replicate(ctx);
    return reply_text(ctx, "done", 4);
}

static int on_get(void *ctx, void **argv, int argc) {
    if (argc != 2) return 1;
    void *key = open_key(ctx, argv[1], 1);
    struct value *v = key ? get_value(key) : NULL;
    if (v) reply_text(ctx, v->text, v->size);
    else reply_null(ctx);
    close_key(key);
    return 0;
}

int RedisModule_OnLoad(void *ctx, void **argv, int argc);
int RedisModule_OnLoad(void *ctx, void **argv, int argc) {
    void (*set_attributes)(void *, const char *, int, int);
    int (*create)(void *, const char *, command *, const char *, int, int, int);
    void *(*create_type)(void *, const char *, int, struct methods *);
    struct methods methods = {.version = 1, .load = on_load, .save = on_save, .usage = on_usage, .free = free};
    get_api = *(int (**)(const char *, void *))ctx;
    get_api("RedisModule_SetModuleAttribs", &set_attributes);
    get_api("RedisModule_CreateCommand", &create);
    get_api("RedisModule_CreateDataType", &create_type);
    get_api("RedisModule_OpenKey", &open_key);
    get_api("RedisModule_CloseKey", &close_key);
    get_api("RedisModule_ModuleTypeSetValue", &set_value);
    get_api("RedisModule_ModuleTypeGetValue", &get_value);
    get_api("RedisModule_StringPtrLen", &text_of);
    get_api("RedisModule_ReplyWithStringBuffer", &reply_text);
    get_api("RedisModule_ReplyWithNull", &reply_null);
    get_api("RedisModule_ReplicateVerbatim", &replicate);
    get_api("RedisModule_SaveStringBuffer", &save_text);
    get_api("RedisModule_LoadStringBuffer", &load_text);
    get_api("RedisModule_Free", &free_text);
    set_attributes(ctx, "tiny", 1, 1);
    size_t size = 0;
    int version = argc > 0 ? atoi(text_of(argv[0], &size)) : 1;
    type = create_type(ctx, "tiny-type", version, &methods);
    if (type == NULL) return 1;
    if (create(ctx, "tiny.set", on_set, "write", 1, 1, 1) || create(ctx, "tiny.get", on_get, "readonly", 1, 1, 1)) return 1;
    return 0;
}
