/* string_commands.c -- strings: get, set, change, count. */
#include "lib/base/mem.h"
#include "server/args.h"
#include "server/engine.h"
#include "server/expiry_args.h"
#include "server/groups.h"
#include "server/reply.h"

#include <math.h>

static bool too_long(struct client *c, uint64_t size) {
    if (size <= (uint64_t)c->engine->settings.proto_max_bulk_len) return false;
    reply_error(c, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    return true;
}

static void reply_entry(struct client *c, const struct entry *e) {
    char scratch[ENTRY_INT_TEXT];
    reply_bulk(c, entry_string(e, scratch));
}

/* ---- GET and its kin ---- */

/* The string under KEY, or NULL with null (or the wrong-type error) replied. */
static struct entry *get_or_reply(struct client *c, struct slice key) {
    bool wrong;
    struct entry *e = key_read_typed(c, key, TYPE_STRING, &wrong);
    if (e != NULL)
        reply_entry(c, e);
    else if (!wrong)
        reply_null(c);
    return e;
}

static void run_get(struct client *c) {
    (void)get_or_reply(c, c->argv[1]);
}

static void run_mget(struct client *c) {
    reply_array(c, (size_t)c->argc - 1);
    for (int i = 1; i < c->argc; i++) {
        struct entry *e = key_read(c, c->argv[i]);
        if (e == NULL || entry_type(e) != TYPE_STRING)
            reply_null(c);
        else
            reply_entry(c, e);
    }
}

static void run_strlen(struct client *c) {
    bool wrong;
    struct entry *e = key_read_typed(c, c->argv[1], TYPE_STRING, &wrong);
    if (!wrong) reply_int(c, e ? (int64_t)entry_string_size(e) : 0);
}

static void run_getrange(struct client *c) {
    int64_t start, end;
    bool wrong;
    if (!arg_int(c, c->argv[2], &start, NULL) || !arg_int(c, c->argv[3], &end, NULL)) return;
    struct entry *e = key_read_typed(c, c->argv[1], TYPE_STRING, &wrong);
    if (wrong) return;
    char scratch[ENTRY_INT_TEXT];
    struct slice text = e ? entry_string(e, scratch) : SLICE("");
    int64_t size = (int64_t)text.size;
    bool reversed = start < 0 && end < 0 && start > end;
    if (start < 0) start = start + size < 0 ? 0 : start + size;
    if (end < 0) end = end + size < 0 ? 0 : end + size;
    if (end >= size) end = size - 1;
    if (reversed || start > end || size == 0)
        reply_bulk(c, SLICE(""));
    else
        reply_bulk(c, slice_from(text.data + start, (size_t)(end - start + 1)));
}

static void delete_propagated(struct client *c, struct slice key) {
    (void)db_delete(c->db, key);
    PROPAGATE_INSTEAD(c, SLICE("DEL"), key);
    key_changed(c, key, NOTIFY_GENERIC, "del", 1);
}

static void run_getdel(struct client *c) {
    if (get_or_reply(c, c->argv[1])) delete_propagated(c, c->argv[1]);
}

/* ---- SET and its kin ---- */

struct set_options {
    bool only_new, only_old, keep_expiry, get, persist;
    int64_t expiry_ms; /* -1: none given, or not read yet */
    bool has_expiry, in_seconds, is_absolute;
    struct slice expiry; /* as it was given; read when all words are known to be right */
};

static const struct {
    const char *word;
    bool absolute, seconds;
} expiry_words[] = {
    {"ex", false, true}, {"px", false, false}, {"exat", true, true}, {"pxat", true, false}};

/* EX, PX, EXAT, PXAT with its number; false: not one of them. */
static bool read_expiry_option(struct client *c, int *at, struct set_options *o) {
    for (size_t i = 0; i < COUNT(expiry_words); i++) {
        if (!arg_is(c->argv[*at], expiry_words[i].word) || *at + 1 >= c->argc) continue;
        if (o->has_expiry || o->keep_expiry || o->persist) return false;
        o->has_expiry = true;
        o->in_seconds = expiry_words[i].seconds;
        o->is_absolute = expiry_words[i].absolute;
        o->expiry = c->argv[++*at];
        return true;
    }
    return false;
}

static bool read_deadline(struct client *c, struct set_options *o) {
    return !o->has_expiry ||
           expiry_read(c, o->expiry, o->in_seconds, o->is_absolute, true, &o->expiry_ms);
}

static bool read_set_options(struct client *c, int from, bool for_getex, struct set_options *o) {
    *o = (struct set_options){.expiry_ms = -1};
    for (int i = from; i < c->argc; i++) {
        struct slice word = c->argv[i];
        if (!for_getex && arg_is(word, "nx") && !o->only_old)
            o->only_new = true;
        else if (!for_getex && arg_is(word, "xx") && !o->only_new)
            o->only_old = true;
        else if (!for_getex && arg_is(word, "get"))
            o->get = true;
        else if (!for_getex && arg_is(word, "keepttl") && !o->has_expiry)
            o->keep_expiry = true;
        else if (for_getex && arg_is(word, "persist") && !o->has_expiry)
            o->persist = true;
        else if (!read_expiry_option(c, &i, o)) {
            reply_syntax_error(c);
            return false;
        }
    }
    return true;
}

static void store(struct client *c, struct slice key, const struct value *value,
                  const struct set_options *o) {
    bool tell_new =
        c->engine->settings.notify_keyspace_events & NOTIFY_NEW && db_find(c->db, key) == NULL;
    (void)db_set(c->db, key, value, o->expiry_ms, o->keep_expiry);
    if (tell_new) notify_key(c->db, NOTIFY_NEW, "new", key);
    key_changed(c, key, NOTIFY_STRING, "set", 1);
    if (o->has_expiry) notify_key(c->db, NOTIFY_GENERIC, "expire", key);
}

static void propagate_with_expiry(struct client *c, struct slice key, struct slice value,
                                  int64_t expiry_ms) {
    char text[ENTRY_INT_TEXT];
    struct slice when = slice_from(text, number_write_int(text, expiry_ms));
    PROPAGATE_INSTEAD(c, SLICE("SET"), key, value, SLICE("PXAT"), when);
}

static void set_string(struct client *c, struct slice key, struct slice text,
                       struct set_options *o) {
    bool conditional = o->only_new || o->only_old;
    if (o->get) {
        bool wrong;
        struct entry *old = key_read_typed(c, key, TYPE_STRING, &wrong);
        if (wrong) return;
        if (old != NULL)
            reply_entry(c, old);
        else
            reply_null(c);
    }
    struct entry *old = conditional || o->keep_expiry ? key_lookup(c, key) : NULL;
    if ((o->only_new && old != NULL) || (o->only_old && old == NULL)) {
        if (!o->get) reply_null(c);
        return;
    }
    struct value value = value_string(text);
    store(c, key, &value, o);
    if (o->has_expiry) propagate_with_expiry(c, key, text, o->expiry_ms);
    if (!o->get) reply_ok(c);
}

static void run_set(struct client *c) {
    struct set_options o = {.expiry_ms = -1};
    if (c->argc > 3 && (!read_set_options(c, 3, false, &o) || !read_deadline(c, &o))) return;
    set_string(c, c->argv[1], c->argv[2], &o);
}

static void set_with_expiry(struct client *c, bool seconds) {
    struct set_options o = {.has_expiry = true};
    if (!expiry_read(c, c->argv[2], seconds, false, true, &o.expiry_ms)) return;
    set_string(c, c->argv[1], c->argv[3], &o);
}

static void run_setex(struct client *c) {
    set_with_expiry(c, true);
}
static void run_psetex(struct client *c) {
    set_with_expiry(c, false);
}

static void run_setnx(struct client *c) {
    if (key_lookup(c, c->argv[1]) != NULL) {
        reply_int(c, 0);
        return;
    }
    struct value value = value_string(c->argv[2]);
    struct set_options plain = {.expiry_ms = -1};
    store(c, c->argv[1], &value, &plain);
    reply_int(c, 1);
}

static void run_getset(struct client *c) {
    bool wrong;
    struct entry *old = key_read_typed(c, c->argv[1], TYPE_STRING, &wrong);
    if (wrong) return;
    if (old)
        reply_entry(c, old);
    else
        reply_null(c);
    struct value value = value_string(c->argv[2]);
    struct set_options plain = {.expiry_ms = -1};
    store(c, c->argv[1], &value, &plain);
    PROPAGATE_INSTEAD(c, SLICE("SET"), c->argv[1], c->argv[2]);
}

static void run_getex(struct client *c) {
    struct set_options o;
    if (!read_set_options(c, 2, true, &o)) return;
    struct slice key = c->argv[1];
    bool wrong;
    struct entry *e = key_read_typed(c, key, TYPE_STRING, &wrong);
    if (e == NULL && !wrong) reply_null(c);
    if (e == NULL || !read_deadline(c, &o)) return;
    reply_entry(c, e);
    if (o.has_expiry && expiry_deletes_now(c, o.expiry_ms)) {
        delete_propagated(c, key);
    } else if (o.has_expiry) {
        (void)db_set_expiry(c->db, e, o.expiry_ms);
        char text[ENTRY_INT_TEXT];
        PROPAGATE_INSTEAD(c, SLICE("PEXPIREAT"), key,
                          slice_from(text, number_write_int(text, o.expiry_ms)));
        key_changed(c, key, NOTIFY_GENERIC, "expire", 1);
    } else if (o.persist && entry_expires(e)) {
        (void)db_set_expiry(c->db, e, -1);
        PROPAGATE_INSTEAD(c, SLICE("PERSIST"), key);
        key_changed(c, key, NOTIFY_GENERIC, "persist", 1);
    }
}

static void mset(struct client *c, bool only_new) {
    if (c->argc % 2 == 0) {
        reply_wrong_arity(c);
        return;
    }
    for (int i = 1; only_new && i < c->argc; i += 2)
        if (key_lookup(c, c->argv[i]) != NULL) {
            reply_int(c, 0);
            return;
        }
    struct set_options plain = {.expiry_ms = -1};
    for (int i = 1; i < c->argc; i += 2) {
        struct value value = value_string(c->argv[i + 1]);
        store(c, c->argv[i], &value, &plain);
    }
    if (only_new)
        reply_int(c, 1);
    else
        reply_ok(c);
}

static void run_mset(struct client *c) {
    mset(c, false);
}
static void run_msetnx(struct client *c) {
    mset(c, true);
}

/* ---- changing in place ---- */

static void run_setrange(struct client *c) {
    int64_t offset;
    struct slice key = c->argv[1], part = c->argv[3];
    if (!arg_int(c, c->argv[2], &offset, NULL)) return;
    if (offset < 0) {
        reply_error(c, "ERR offset is out of range");
        return;
    }
    struct entry *e = key_lookup(c, key);
    if (e && entry_type(e) != TYPE_STRING) {
        reply_wrong_type(c);
        return;
    }
    size_t old_size = e ? entry_string_size(e) : 0;
    if (part.size == 0) {
        reply_int(c, (int64_t)old_size);
        return;
    }
    if (too_long(c, (uint64_t)offset + part.size)) return;
    size_t end = (size_t)offset + part.size, size = end > old_size ? end : old_size;
    if (e == NULL) {
        struct value empty = {.type = TYPE_STRING, .encoding = ENC_RAW};
        e = key_replace(c, key, &empty);
    }
    uint8_t *bytes;
    (void)db_string_edit_range(c->db, e, size, (size_t)offset, end, &bytes);
    memcpy(bytes + offset, part.data, part.size);
    key_changed(c, key, NOTIFY_STRING, "setrange", 1);
    reply_int(c, (int64_t)size);
}

static void run_append(struct client *c) {
    struct slice key = c->argv[1], part = c->argv[2];
    struct entry *e = key_lookup(c, key);
    size_t size = part.size;
    if (e == NULL) {
        struct value value = value_string(part);
        (void)key_replace(c, key, &value);
    } else {
        if (entry_type(e) != TYPE_STRING) {
            reply_wrong_type(c);
            return;
        }
        size_t old_size = entry_string_size(e);
        if (too_long(c, (uint64_t)old_size + part.size)) return;
        size += old_size;
        uint8_t *bytes;
        (void)db_string_edit_range(c->db, e, size, old_size, size, &bytes);
        if (part.size) memcpy(bytes + old_size, part.data, part.size);
    }
    key_changed(c, key, NOTIFY_STRING, "append", 1);
    reply_int(c, (int64_t)size);
}

/* ---- counting ---- */

static void count(struct client *c, int64_t by) {
    struct slice key = c->argv[1];
    struct entry *e = key_lookup(c, key);
    int64_t number = 0;
    char scratch[ENTRY_INT_TEXT];
    if (e && entry_type(e) != TYPE_STRING) {
        reply_wrong_type(c);
        return;
    }
    if (e && !slice_to_int(entry_string(e, scratch), &number)) {
        reply_not_an_integer(c);
        return;
    }
    if (__builtin_add_overflow(number, by, &number)) {
        reply_error(c, "ERR increment or decrement would overflow");
        return;
    }
    struct value value = value_number(number);
    if (e)
        (void)db_string_set(c->db, e, &value);
    else
        (void)key_replace(c, key, &value);
    key_changed(c, key, NOTIFY_STRING, "incrby", 1);
    reply_int(c, number);
}

static void run_incr(struct client *c) {
    count(c, 1);
}
static void run_decr(struct client *c) {
    count(c, -1);
}

static void run_incrby(struct client *c) {
    int64_t by;
    if (arg_int(c, c->argv[2], &by, NULL)) count(c, by);
}

static void run_decrby(struct client *c) {
    int64_t by;
    if (!arg_int(c, c->argv[2], &by, NULL)) return;
    if (by == INT64_MIN)
        reply_error(c, "ERR decrement would overflow");
    else
        count(c, -by);
}

static void run_incrbyfloat(struct client *c) {
    struct slice key = c->argv[1];
    struct entry *e = key_lookup(c, key);
    long double number = 0, by;
    char scratch[ENTRY_INT_TEXT], text[LONG_DOUBLE_TEXT];
    if (e && entry_type(e) != TYPE_STRING) {
        reply_wrong_type(c);
        return;
    }
    if (e && !number_read_long_double(entry_string(e, scratch), &number)) {
        reply_error(c, "ERR value is not a valid float");
        return;
    }
    if (!arg_long_double(c, c->argv[2], &by, NULL)) return;
    number += by;
    if (isnan(number) || isinf(number)) {
        reply_error(c, "ERR increment would produce NaN or Infinity");
        return;
    }
    struct slice result = slice_from(text, number_write_human(text, number));
    struct value value = value_string(result);
    if (value.encoding == ENC_INT)
        value.encoding = ENC_EMBSTR; /* a float stays text, as in Redis */
    if (e)
        (void)db_string_set(c->db, e, &value);
    else
        (void)key_replace(c, key, &value);
    key_changed(c, key, NOTIFY_STRING, "incrbyfloat", 1);
    PROPAGATE_INSTEAD(c, SLICE("SET"), key, result, SLICE("KEEPTTL"));
    reply_bulk(c, result);
}

void string_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"get", run_get},           {"mget", run_mget},       {"strlen", run_strlen},
        {"getrange", run_getrange}, {"substr", run_getrange}, {"getdel", run_getdel},
        {"set", run_set},           {"setex", run_setex},     {"psetex", run_psetex},
        {"setnx", run_setnx},       {"getset", run_getset},   {"getex", run_getex},
        {"mset", run_mset},         {"msetnx", run_msetnx},   {"setrange", run_setrange},
        {"append", run_append},     {"incr", run_incr},       {"decr", run_decr},
        {"incrby", run_incrby},     {"decrby", run_decrby},   {"incrbyfloat", run_incrbyfloat}};
    command_bind(engine, bindings, COUNT(bindings));
}
