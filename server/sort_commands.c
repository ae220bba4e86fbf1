/* sort_commands.c -- SORT and SORT_RO of lists, sets and sorted sets. Behaviour and texts follow
 * Redis 7.0 (sort.c), with two differences that only OBJECT ENCODING shows: a small sorted set
 * stays small, and strings are always compared by their bytes.
 *
 *     words --> elements (copies, in the value's order) --> weights --> order --> window --> reply
 * or list
 */
#include "server/acl.h"
#include "server/hash.h"
#include "server/list.h"
#include "server/set.h"
#include "server/typed.h"
#include "server/types.h"
#include "server/zset.h"

#include "lib/base/mem.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

struct element {
    struct slice text;   /* owned by the sort */
    struct slice weight; /* with ALPHA and BY; owned; data NULL: there is none */
    double score;
};

struct sort {
    bool descending, alpha, by_given, unsorted, store_given;
    struct slice by, store;
    int64_t offset, limit;
    struct slice *gets; /* owned array of borrowed patterns */
    size_t get_count;
    struct element *elements;
    size_t count;
};

/* A copy that is never NULL. */
static struct slice copy_of(struct slice text) {
    uint8_t *data = mem_alloc(text.size + 1);
    if (text.size) memcpy(data, text.data, text.size);
    data[text.size] = '\0';
    return slice_from(data, text.size);
}

static void copy_free(struct slice text) {
    mem_free((void *)(uintptr_t)text.data);
}

/* ---- the words */

/* BY and GET look at keys that no argument names. */
static bool may_look_up(struct client *c, const char *option) {
    if (acl_admits_all(c) || acl_reads_all_keys(c->user, c->command, c->argc, c->argv)) return true;
    reply_error(c, "ERR %s option of SORT denied due to insufficient ACL permissions.", option);
    return false;
}

static bool sort_read(struct client *c, bool read_only, struct sort *s) {
    s->limit = -1;
    s->gets = NEW_ARRAY(struct slice, (size_t)c->argc);
    for (int i = 2; i < c->argc; i++) {
        struct slice word = c->argv[i];
        int more = c->argc - i - 1;
        if (arg_is(word, "asc")) {
            s->descending = false;
        } else if (arg_is(word, "desc")) {
            s->descending = true;
        } else if (arg_is(word, "alpha")) {
            s->alpha = true;
        } else if (arg_is(word, "limit") && more >= 2) {
            if (!arg_int(c, c->argv[i + 1], &s->offset, NULL) ||
                !arg_int(c, c->argv[i + 2], &s->limit, NULL))
                return false;
            i += 2;
        } else if (!read_only && arg_is(word, "store") && more >= 1) {
            s->store = c->argv[++i];
            s->store_given = true;
        } else if (arg_is(word, "by") && more >= 1) {
            s->by = c->argv[++i];
            s->by_given = true;
            if (!s->by.size || !memchr(s->by.data, '*', s->by.size))
                s->unsorted = true;
            else if (!may_look_up(c, "BY"))
                return false;
        } else if (arg_is(word, "get") && more >= 1) {
            if (!may_look_up(c, "GET")) return false;
            s->gets[s->get_count++] = c->argv[++i];
        } else {
            reply_syntax_error(c);
            return false;
        }
    }
    return true;
}

/* ---- the elements */

static void take_list(struct sort *s, struct list *list) {
    bool backward = s->unsorted && s->descending;
    struct list_iter iter = list_iter_at(list, backward ? list_count(list) - 1 : 0, backward);
    struct slice element;
    while (list_next(&iter, &element)) s->elements[s->count++].text = copy_of(element);
}

static void take_set(struct sort *s, const struct value *set) {
    struct set_iter iter;
    struct slice member;
    set_iter_init(&iter, set);
    while (set_next(&iter, &member)) s->elements[s->count++].text = copy_of(member);
}

static void take_zset(struct sort *s, const struct value *zset) {
    bool backward = s->unsorted && s->descending;
    struct zset_iter iter;
    struct slice member;
    double score;
    zset_iter_init(&iter, zset, backward ? zset_length(zset) - 1 : 0, backward);
    while (zset_next(&iter, &member, &score)) s->elements[s->count++].text = copy_of(member);
}

/* False if the key holds something that cannot be sorted (replied). */
static bool sort_take(struct client *c, struct sort *s) {
    struct entry *e = key_read(c, c->argv[1]);
    if (!e) return true;
    enum type type = entry_type(e);
    if (type != TYPE_LIST && type != TYPE_SET && type != TYPE_ZSET) {
        reply_wrong_type(c);
        return false;
    }
    struct value v = entry_value(e);
    s->elements = NEW_ARRAY(struct element, value_ops(type)->length(v.encoding, v.ptr));
    if (type == TYPE_LIST) {
        take_list(s, v.ptr);
    } else if (type == TYPE_ZSET) {
        take_zset(s, &v);
    } else {
        /* What is stored or seen by a script must not depend on the order inside a set. */
        if (s->unsorted && (s->store_given || c->flags & CLIENT_SCRIPT)) {
            s->unsorted = s->by_given = false;
            s->alpha = true;
        }
        take_set(s, &v);
    }
    return true;
}

/* ---- BY and GET: the value that PATTERN names for an element */

/* Put ELEMENT in the place of the first '*'; what follows "->" is a field. False: names nothing. */
static bool expand(struct slice pattern, struct slice element, struct buf *key,
                   struct slice *field) {
    const uint8_t *star = pattern.size ? memchr(pattern.data, '*', pattern.size) : NULL;
    *field = slice_from(NULL, 0);
    if (!star) return false;
    struct slice rest = slice_drop(pattern, (size_t)(star - pattern.data) + 1);
    const uint8_t *arrow = rest.size > 2 ? memmem(rest.data, rest.size - 1, "->", 2) : NULL;
    if (arrow) {
        size_t at = (size_t)(arrow - rest.data);
        *field = slice_drop(rest, at + 2);
        rest = slice_take(rest, at);
    }
    buf_append(key, pattern.data, (size_t)(star - pattern.data));
    buf_add(key, element);
    buf_add(key, rest);
    return true;
}

/* A copy of the value; data NULL if there is none. */
static struct slice look_up(struct client *c, struct slice pattern, struct slice element) {
    struct buf key = {0};
    struct slice field, found = slice_from(NULL, 0), text;
    if (slice_equal(pattern, SLICE("#"))) return copy_of(element);
    struct entry *e = expand(pattern, element, &key, &field) ? key_read(c, buf_slice(&key)) : NULL;
    if (e && field.size && entry_type(e) == TYPE_HASH) {
        char scratch[LP_TEXT_SIZE];
        struct value hash = entry_value(e);
        if (hash_get(&hash, field, &text, scratch)) found = copy_of(text);
    } else if (e && !field.size && entry_type(e) == TYPE_STRING) {
        char scratch[ENTRY_INT_TEXT];
        found = copy_of(entry_string(e, scratch));
    }
    buf_close(&key);
    return found;
}

/* ---- the order */

static bool read_score(struct slice text, double *score) {
    char *end;
    errno = 0;
    *score = strtod((const char *)text.data, &end); /* copies are terminated */
    return *end == '\0' && errno != ERANGE && !isnan(*score);
}

/* False if some weight is no number. */
static bool sort_weigh(struct client *c, struct sort *s) {
    bool good = true;
    for (size_t i = 0; i < s->count; i++) {
        struct element *e = &s->elements[i];
        struct slice weight = s->by_given ? look_up(c, s->by, e->text) : e->text;
        if (!weight.data) continue;
        if (s->alpha && s->by_given) {
            e->weight = weight;
            continue;
        }
        if (!s->alpha && !read_score(weight, &e->score)) good = false;
        if (s->by_given) copy_free(weight);
    }
    return good;
}

static int compare(const void *left, const void *right, void *ctx) {
    const struct element *a = left, *b = right;
    const struct sort *s = ctx;
    int order;
    if (!s->alpha) {
        order = (a->score > b->score) - (a->score < b->score);
        if (order == 0) order = slice_compare(a->text, b->text);
    } else if (!s->by_given) {
        order = slice_compare(a->text, b->text);
    } else if (!a->weight.data || !b->weight.data) {
        order = (a->weight.data != NULL) - (b->weight.data != NULL);
    } else {
        order = slice_compare(a->weight, b->weight);
    }
    return s->descending ? -order : order;
}

/* The part of the result that LIMIT leaves. */
static void window(const struct sort *s, size_t *first, size_t *count) {
    *first = s->offset < 0 ? 0 : (size_t)s->offset;
    *count = 0;
    if (*first >= s->count) return;
    *count = s->count - *first;
    if (s->limit >= 0 && (uint64_t)s->limit < *count) *count = (size_t)s->limit;
}

/* ---- the result */

static void sort_reply(struct client *c, const struct sort *s, size_t first, size_t count) {
    reply_array(c, count * (s->get_count ? s->get_count : 1));
    for (size_t i = first; i < first + count; i++) {
        if (!s->get_count) reply_bulk(c, s->elements[i].text);
        for (size_t g = 0; g < s->get_count; g++) {
            struct slice found = look_up(c, s->gets[g], s->elements[i].text);
            if (found.data) {
                reply_bulk(c, found);
            } else {
                reply_null(c);
            }
            copy_free(found);
        }
    }
}

static void sort_store(struct client *c, const struct sort *s, size_t first, size_t count) {
    struct list *list = list_new();
    for (size_t i = first; i < first + count; i++) {
        if (!s->get_count) list_push(list, limits_of(c), LIST_TAIL, s->elements[i].text);
        for (size_t g = 0; g < s->get_count; g++) {
            struct slice found = look_up(c, s->gets[g], s->elements[i].text);
            list_push(list, limits_of(c), LIST_TAIL, found); /* what is missing: an empty string */
            copy_free(found);
        }
    }
    size_t length = list_count(list);
    if (length > 0) {
        struct value value = value_container(TYPE_LIST, ENC_QUICKLIST, list);
        key_replace(c, s->store, &value);
        key_changed(c, s->store, NOTIFY_LIST, "sortstore", length);
    } else {
        list_free(list);
        if (key_delete(c, s->store)) key_changed(c, s->store, NOTIFY_GENERIC, "del", 1);
    }
    reply_int(c, (int64_t)length);
}

static void sort_run(struct client *c, struct sort *s) {
    size_t first, count;
    if (!s->unsorted) {
        if (!sort_weigh(c, s)) {
            reply_error(c, "ERR One or more scores can't be converted into double");
            return;
        }
        if (s->count) qsort_r(s->elements, s->count, sizeof *s->elements, compare, s);
    }
    window(s, &first, &count);
    if (s->store_given) {
        sort_store(c, s, first, count);
    } else {
        sort_reply(c, s, first, count);
    }
}

static void sort_any(struct client *c, bool read_only) {
    struct sort s = {0};
    if (sort_read(c, read_only, &s) && sort_take(c, &s)) sort_run(c, &s);
    for (size_t i = 0; i < s.count; i++) {
        copy_free(s.elements[i].text);
        copy_free(s.elements[i].weight);
    }
    mem_free(s.elements);
    mem_free(s.gets);
}

static void sort(struct client *c) {
    sort_any(c, false);
}
static void sort_ro(struct client *c) {
    sort_any(c, true);
}

void sort_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"sort", sort}, {"sort_ro", sort_ro}};
    command_bind(engine, bindings, COUNT(bindings));
}
