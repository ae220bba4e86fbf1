/* list_commands.c -- LPUSH to LTRIM: the list commands that never wait. Behaviour and texts follow
 * Redis 7.0 (t_list.c). Those that move or wait are in list_block.c.
 */
#include "server/list_commands.h"
#include "server/list.h"
#include "server/typed.h"
#include "server/types.h"

static void push(struct client *c, enum list_end end, bool only_existing) {
    struct typed t;
    enum found found = typed_write(c, c->argv[1], TYPE_LIST, &t);
    if (found == WRONG_TYPE) return;
    if (found == ABSENT && only_existing) {
        reply_int(c, 0);
        return;
    }
    struct list *list = found == FOUND ? t.value.ptr : list_new();
    for (int i = 2; i < c->argc; i++) list_push(list, limits_of(c), end, c->argv[i]);
    reply_int(c, (int64_t)list_count(list));
    if (found == ABSENT) {
        struct value value = value_container(TYPE_LIST, ENC_QUICKLIST, list);
        key_add(c, c->argv[1], &value);
    }
    key_changed(c, c->argv[1], NOTIFY_LIST, end == LIST_HEAD ? "lpush" : "rpush",
                (uint64_t)c->argc - 2);
}

static void lpush(struct client *c) {
    push(c, LIST_HEAD, false);
}
static void rpush(struct client *c) {
    push(c, LIST_TAIL, false);
}
static void lpushx(struct client *c) {
    push(c, LIST_HEAD, true);
}
static void rpushx(struct client *c) {
    push(c, LIST_TAIL, true);
}

static void llen(struct client *c) {
    struct typed t;
    enum found found = typed_read(c, c->argv[1], TYPE_LIST, &t);
    if (found == WRONG_TYPE) return;
    reply_int(c, found == FOUND ? (int64_t)list_count(t.value.ptr) : 0);
}

/* INDEX, from the end if negative, as a place in a list of COUNT elements; false if outside. */
static bool place_of(int64_t index, size_t count, size_t *place) {
    if (index < 0) index += (int64_t)count;
    if (index < 0 || index >= (int64_t)count) return false;
    *place = (size_t)index;
    return true;
}

static void lindex(struct client *c) {
    struct typed t;
    int64_t index;
    size_t place;
    enum found found = typed_read(c, c->argv[1], TYPE_LIST, &t);
    if (found == ABSENT) reply_null(c);
    if (found != FOUND || !arg_int(c, c->argv[2], &index, NULL)) return;
    if (!place_of(index, list_count(t.value.ptr), &place)) {
        reply_null(c);
        return;
    }
    struct list_iter iter = list_iter_at(t.value.ptr, place, false);
    struct slice element;
    ASSERT(list_next(&iter, &element));
    reply_bulk(c, element);
}

static void lset(struct client *c) {
    struct typed t;
    int64_t index;
    size_t place;
    enum found found = typed_write(c, c->argv[1], TYPE_LIST, &t);
    if (found == ABSENT) reply_no_such_key(c);
    if (found != FOUND || !arg_int(c, c->argv[2], &index, NULL)) return;
    if (!place_of(index, list_count(t.value.ptr), &place)) {
        reply_error(c, "ERR index out of range");
        return;
    }
    struct list_iter iter = list_iter_at(t.value.ptr, place, false);
    struct slice old;
    ASSERT(list_next(&iter, &old));
    list_iter_replace(&iter, limits_of(c), c->argv[3]);
    reply_ok(c);
    key_changed(c, c->argv[1], NOTIFY_LIST, "lset", 1);
}

static void linsert(struct client *c) {
    struct typed t;
    bool after = arg_is(c->argv[2], "after");
    if (!after && !arg_is(c->argv[2], "before")) {
        reply_syntax_error(c);
        return;
    }
    enum found found = typed_write(c, c->argv[1], TYPE_LIST, &t);
    if (found == ABSENT) reply_int(c, 0);
    if (found != FOUND) return;
    struct list_iter iter = list_iter_at(t.value.ptr, 0, false);
    struct slice element;
    bool there = false;
    while (!there && list_next(&iter, &element)) there = slice_equal(element, c->argv[3]);
    if (!there) {
        reply_int(c, -1);
        return;
    }
    list_iter_insert(&iter, limits_of(c), after ? LP_AFTER : LP_BEFORE, c->argv[4]);
    key_changed(c, c->argv[1], NOTIFY_LIST, "linsert", 1);
    reply_int(c, (int64_t)list_count(t.value.ptr));
}

void list_reply_range(struct client *c, struct list *list, size_t first, size_t count,
                      bool backward) {
    struct list_iter iter = list_iter_at(list, backward ? first + count - 1 : first, backward);
    struct slice element;
    reply_array(c, count);
    while (count-- > 0 && list_next(&iter, &element)) reply_bulk(c, element);
}

static void lrange(struct client *c) {
    struct typed t;
    int64_t start, stop;
    size_t first, count;
    if (!arg_int(c, c->argv[2], &start, NULL) || !arg_int(c, c->argv[3], &stop, NULL)) return;
    enum found found = typed_read(c, c->argv[1], TYPE_LIST, &t);
    if (found == WRONG_TYPE) return;
    if (found == ABSENT || !range_clip(start, stop, list_count(t.value.ptr), &first, &count)) {
        reply_empty_array(c);
        return;
    }
    list_reply_range(c, t.value.ptr, first, count, false);
}

void list_popped(struct client *c, struct slice key, struct list *list, enum list_end end,
                 size_t count) {
    key_changed(c, key, NOTIFY_LIST, end == LIST_HEAD ? "lpop" : "rpop", count);
    if (list_count(list) == 0) key_delete_empty(c, key);
}

size_t list_reply_popped(struct client *c, struct list *list, enum list_end end, int64_t most) {
    size_t all = list_count(list);
    size_t count = most > (int64_t)all ? all : (size_t)most;
    size_t first = end == LIST_HEAD ? 0 : all - count;
    list_reply_range(c, list, first, count, end == LIST_TAIL);
    list_remove(list, first, count);
    return count;
}

void list_reply_one_popped(struct client *c, struct list *list, enum list_end end) {
    size_t place = end == LIST_HEAD ? 0 : list_count(list) - 1;
    struct list_iter iter = list_iter_at(list, place, false);
    struct slice element;
    ASSERT(list_next(&iter, &element));
    reply_bulk(c, element);
    list_iter_remove(&iter);
}

static void pop(struct client *c, enum list_end end) {
    struct typed t;
    int64_t most = 1;
    bool with_count = c->argc == 3;
    if (c->argc > 3) {
        reply_wrong_arity(c);
        return;
    }
    if (with_count && !arg_int_range(c, c->argv[2], 0, INT64_MAX, &most,
                                     "value is out of range, must be positive"))
        return;
    enum found found = typed_write(c, c->argv[1], TYPE_LIST, &t);
    if (found == ABSENT) {
        if (with_count) {
            reply_null_array(c);
        } else {
            reply_null(c);
        }
    }
    if (found != FOUND) return;
    if (most == 0) {
        reply_empty_array(c);
        return;
    }
    size_t count = 1;
    if (with_count) {
        count = list_reply_popped(c, t.value.ptr, end, most);
    } else {
        list_reply_one_popped(c, t.value.ptr, end);
    }
    list_popped(c, c->argv[1], t.value.ptr, end, count);
}

static void lpop(struct client *c) {
    pop(c, LIST_HEAD);
}
static void rpop(struct client *c) {
    pop(c, LIST_TAIL);
}

static void ltrim(struct client *c) {
    struct typed t;
    int64_t start, stop;
    size_t first, count;
    if (!arg_int(c, c->argv[2], &start, NULL) || !arg_int(c, c->argv[3], &stop, NULL)) return;
    enum found found = typed_write(c, c->argv[1], TYPE_LIST, &t);
    if (found == ABSENT) reply_ok(c);
    if (found != FOUND) return;
    struct list *list = t.value.ptr;
    size_t before = list_count(list);
    if (!range_clip(start, stop, before, &first, &count)) first = before, count = 0;
    if (count > 0) { /* else the whole value is freed elsewhere */
        list_remove(list, first + count, before - first - count);
        list_remove(list, 0, first);
    }
    key_changed(c, c->argv[1], NOTIFY_LIST, "ltrim", before - count);
    if (count == 0) key_delete_empty(c, c->argv[1]);
    reply_ok(c);
}

static void lrem(struct client *c) {
    struct typed t;
    int64_t most;
    if (!arg_int(c, c->argv[2], &most, NULL)) return;
    enum found found = typed_write(c, c->argv[1], TYPE_LIST, &t);
    if (found == ABSENT) reply_int(c, 0);
    if (found != FOUND) return;
    struct list *list = t.value.ptr;
    bool backward = most < 0;
    uint64_t left = backward ? -(uint64_t)most : (uint64_t)most, removed = 0;
    if (left == 0) left = UINT64_MAX;
    struct list_iter iter = list_iter_at(list, backward ? list_count(list) - 1 : 0, backward);
    struct slice element;
    while (removed < left && list_next(&iter, &element)) {
        if (!slice_equal(element, c->argv[3])) continue;
        list_iter_remove(&iter);
        removed++;
    }
    if (removed) key_changed(c, c->argv[1], NOTIFY_LIST, "lrem", removed);
    if (list_count(list) == 0) key_delete_empty(c, c->argv[1]);
    reply_int(c, (int64_t)removed);
}

struct lpos_options {
    int64_t rank, count, most; /* count -1: not given; most 0: look at all */
};

static bool lpos_read(struct client *c, struct lpos_options *o) {
    *o = (struct lpos_options){.rank = 1, .count = -1};
    for (int i = 3; i < c->argc; i += 2) {
        bool more = i + 1 < c->argc;
        if (more && arg_is(c->argv[i], "rank")) {
            if (!arg_int(c, c->argv[i + 1], &o->rank, NULL)) return false;
            if (o->rank != 0) continue;
            reply_error(c,
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the "
                        "second ... or use negative to start from the end of the list");
            return false;
        }
        if (more && arg_is(c->argv[i], "count")) {
            if (!arg_int_range(c, c->argv[i + 1], 0, INT64_MAX, &o->count,
                               "COUNT can't be negative"))
                return false;
        } else if (more && arg_is(c->argv[i], "maxlen")) {
            if (!arg_int_range(c, c->argv[i + 1], 0, INT64_MAX, &o->most,
                               "MAXLEN can't be negative"))
                return false;
        } else {
            reply_syntax_error(c);
            return false;
        }
    }
    return true;
}

static void lpos(struct client *c) {
    struct typed t;
    struct lpos_options o;
    if (!lpos_read(c, &o)) return;
    enum found found = typed_read(c, c->argv[1], TYPE_LIST, &t);
    if (found == WRONG_TYPE) return;
    struct list *list = found == FOUND ? t.value.ptr : NULL;
    size_t length = list ? list_count(list) : 0, mark = 0, seen = 0, replied = 0;
    bool backward = o.rank < 0;
    uint64_t skip = (backward ? -(uint64_t)o.rank : (uint64_t)o.rank) - 1;
    if (o.count >= 0) mark = reply_later(c);
    struct list_iter iter = {0};
    struct slice element;
    if (list) iter = list_iter_at(list, backward ? length - 1 : 0, backward);
    while ((o.most == 0 || seen < (uint64_t)o.most) && list_next(&iter, &element)) {
        size_t index = backward ? length - 1 - seen : seen;
        seen++;
        if (!slice_equal(element, c->argv[2])) continue;
        if (skip > 0) {
            skip--;
            continue;
        }
        reply_int(c, (int64_t)index);
        replied++;
        if (o.count < 0 || (o.count > 0 && replied >= (uint64_t)o.count)) break;
    }
    if (o.count >= 0) {
        reply_later_array(c, mark, replied);
    } else if (replied == 0) {
        reply_null(c);
    }
}

void list_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"lpush", lpush},   {"rpush", rpush},   {"lpushx", lpushx}, {"rpushx", rpushx},
        {"llen", llen},     {"lindex", lindex}, {"lset", lset},     {"linsert", linsert},
        {"lrange", lrange}, {"lpop", lpop},     {"rpop", rpop},     {"ltrim", ltrim},
        {"lrem", lrem},     {"lpos", lpos},
    };
    command_bind(engine, bindings, COUNT(bindings));
}
