/* list_block.c -- the list commands that move elements or wait for them: LMOVE, RPOPLPUSH, LMPOP
 * and their blocking forms. Behaviour and texts follow Redis 7.0 (t_list.c, blocked.c).
 *
 * Each blocking command reads its arguments again when it is served: they stay valid while it
 * waits. What leaves for replicas is never the blocking form: BLPOP leaves as LPOP, BLMOVE as
 * LMOVE, [B]LMPOP as LPOP or RPOP with the count that was really popped.
 */
#include "server/block.h"
#include "server/list_commands.h"
#include "server/mpop.h"
#include "server/typed.h"
#include "server/types.h"

#include "lib/base/mem.h"

static struct slice pop_name(enum list_end end) {
    return end == LIST_HEAD ? SLICE("LPOP") : SLICE("RPOP");
}

/* ---- BLPOP, BRPOP */

static enum list_end end_by_name(const struct client *c) {
    return c->command->name[1] == 'l' ? LIST_HEAD : LIST_TAIL; /* blpop, brpop */
}

static void give_one(struct client *c, struct slice key, struct list *list, enum list_end end) {
    reply_array(c, 2);
    reply_bulk(c, key);
    list_reply_one_popped(c, list, end);
    list_popped(c, key, list, end, 1);
}

static bool bpop_serve(struct client *c, struct slice key, struct entry *e) {
    if (entry_type(e) != TYPE_LIST) return false;
    enum list_end end = end_by_name(c);
    db_edit(c->db, e);
    PROPAGATE_ALSO(c, pop_name(end), key);
    give_one(c, key, entry_ptr(e), end);
    return true;
}

static const struct block_how bpop_how = {bpop_serve, reply_null_array, TYPE_LIST};

static void bpop(struct client *c) {
    int64_t deadline_ms;
    int keys = c->argc - 2;
    enum list_end end = end_by_name(c);
    if (!arg_timeout(c, c->argv[c->argc - 1], false, &deadline_ms)) return;
    for (int i = 1; i <= keys; i++) {
        struct typed t;
        enum found found = typed_write(c, c->argv[i], TYPE_LIST, &t);
        if (found == WRONG_TYPE) return;
        if (found == ABSENT) continue;
        PROPAGATE_INSTEAD(c, pop_name(end), c->argv[i]);
        give_one(c, c->argv[i], t.value.ptr, end);
        return;
    }
    if (block_is_denied(c)) {
        reply_null_array(c);
    } else {
        block_on_keys(c, c->argv + 1, keys, deadline_ms, &bpop_how);
    }
}

/* ---- LMOVE, RPOPLPUSH, BLMOVE, BRPOPLPUSH */

static bool end_read(struct client *c, struct slice word, enum list_end *end) {
    if (arg_is(word, "left")) {
        *end = LIST_HEAD;
    } else if (arg_is(word, "right")) {
        *end = LIST_TAIL;
    } else {
        reply_syntax_error(c);
        return false;
    }
    return true;
}

/* The element goes from SOURCE, which is a list, to the key TO; false if what is there is no list
 * (the error was replied). */
static bool move(struct client *c, struct slice source_key, enum list_end from, struct slice to_key,
                 enum list_end to) {
    struct typed target, source;
    enum found found = typed_lookup(c, to_key, TYPE_LIST, &target);
    if (found == WRONG_TYPE) return false;
    if (typed_write(c, source_key, TYPE_LIST, &source) != FOUND) return false;
    struct list *list = source.value.ptr;
    struct list_iter iter = list_iter_at(list, from == LIST_HEAD ? 0 : list_count(list) - 1, false);
    struct slice element;
    ASSERT(list_next(&iter, &element));
    void *copy =
        mem_dup(element.size ? element.data : (const uint8_t *)"", element.size ? element.size : 1);
    element.data = copy;
    list_iter_remove(&iter);
    if (found == FOUND) {
        typed_edit(c, &target);
        list_push(target.value.ptr, limits_of(c), to, element);
    } else {
        struct value value = value_container(TYPE_LIST, ENC_QUICKLIST, list_new());
        list_push(value.ptr, limits_of(c), to, element);
        key_add(c, to_key, &value);
    }
    reply_bulk(c, element);
    mem_free(copy);
    key_changed(c, to_key, NOTIFY_LIST, to == LIST_HEAD ? "lpush" : "rpush", 0);
    list_popped(c, source_key, list, from, 1);
    return true;
}

/* Do it if there is something to move; false if the source does not exist. Otherwise the reply was
 * written. */
static bool try_move(struct client *c, enum list_end from, enum list_end to) {
    struct typed t;
    enum found found = typed_lookup(c, c->argv[1], TYPE_LIST, &t);
    if (found == FOUND) move(c, c->argv[1], from, c->argv[2], to);
    return found != ABSENT;
}

static void lmove(struct client *c) {
    enum list_end from, to;
    if (!end_read(c, c->argv[3], &from) || !end_read(c, c->argv[4], &to)) return;
    if (!try_move(c, from, to)) reply_null(c);
}

static void rpoplpush(struct client *c) {
    if (!try_move(c, LIST_TAIL, LIST_HEAD)) reply_null(c);
}

static void move_propagate(struct client *c, bool instead) {
    struct slice argv[5] = {SLICE("LMOVE"), c->argv[1], c->argv[2]};
    int argc = 3;
    if (c->argc == 6) {
        argv[3] = c->argv[3];
        argv[4] = c->argv[4];
        argc = 5;
    } else {
        argv[0] = SLICE("RPOPLPUSH");
    }
    if (instead) {
        propagate_instead(c, argc, argv);
    } else {
        propagate_also(c, argc, argv);
    }
}

static bool bmove_serve(struct client *c, struct slice key, struct entry *e) {
    enum list_end from = LIST_TAIL, to = LIST_HEAD;
    if (entry_type(e) != TYPE_LIST) return false;
    if (c->argc == 6 && (!end_read(c, c->argv[3], &from) || !end_read(c, c->argv[4], &to)))
        return true;
    if (move(c, key, from, c->argv[2], to)) move_propagate(c, false);
    return true; /* with a wrong type at the destination it has got the error */
}

static const struct block_how bmove_how = {bmove_serve, reply_null_array, TYPE_LIST};

static void bmove(struct client *c, enum list_end from, enum list_end to, struct slice timeout) {
    int64_t deadline_ms;
    struct typed t;
    if (!arg_timeout(c, timeout, false, &deadline_ms)) return;
    enum found found = typed_lookup(c, c->argv[1], TYPE_LIST, &t);
    if (found == WRONG_TYPE) return;
    if (found == FOUND) {
        if (move(c, c->argv[1], from, c->argv[2], to)) move_propagate(c, true);
    } else if (block_is_denied(c)) {
        reply_null(c);
    } else {
        block_on_keys(c, c->argv + 1, 1, deadline_ms, &bmove_how);
    }
}

static void blmove(struct client *c) {
    enum list_end from, to;
    if (!end_read(c, c->argv[3], &from) || !end_read(c, c->argv[4], &to)) return;
    bmove(c, from, to, c->argv[5]);
}

static void brpoplpush(struct client *c) {
    bmove(c, LIST_TAIL, LIST_HEAD, c->argv[3]);
}

/* ---- LMPOP, BLMPOP */

static void mpop_give(struct client *c, struct slice key, struct typed *t, int end, size_t count) {
    enum list_end from = end ? LIST_TAIL : LIST_HEAD;
    list_reply_popped(c, t->value.ptr, from, (int64_t)count);
    list_popped(c, key, t->value.ptr, from, count);
}

static const struct mpop_kind lists = {TYPE_LIST, {"left", "right"}, {"LPOP", "RPOP"}, mpop_give};

static bool bmpop_serve(struct client *c, struct slice key, struct entry *e) {
    return mpop_serve(c, key, e, &lists);
}

static const struct block_how bmpop_how = {bmpop_serve, reply_null_array, TYPE_LIST};

static void lmpop(struct client *c) {
    mpop_run(c, &lists);
}
static void blmpop(struct client *c) {
    mpop_run_blocking(c, &lists, &bmpop_how);
}

void list_block_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"blpop", bpop},          {"brpop", bpop},    {"lmove", lmove},
        {"rpoplpush", rpoplpush}, {"blmove", blmove}, {"brpoplpush", brpoplpush},
        {"lmpop", lmpop},         {"blmpop", blmpop},
    };
    command_bind(engine, bindings, COUNT(bindings));
}
