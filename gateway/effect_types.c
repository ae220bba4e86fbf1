/* effect_types.c -- what was done: hashes, lists, sets and sorted sets. See effect_inside.h.
 *
 * What was chosen by chance or by the order of several keys is taken from the answer, and sent as
 * the removal of exactly that.
 */
#include "gateway/effect_inside.h"

#include <inttypes.h>
#include <stdio.h>

static struct slice number_text(int64_t number, char text[24]) {
    int size = snprintf(text, 24, "%" PRId64, number);
    ASSERT(size > 0 && size < 24);
    return slice_from(text, (size_t)size);
}

static void tell_change(struct effect_teller *t, size_t argc, const struct slice *argv) {
    effect_tell_one(t, argc, argv, EFFECT_READ_WRITE, EFFECT_EXPIRY_KEPT);
}

void effect_tell_hincrbyfloat(struct effect_teller *t) {
    struct slice rest = t->answer, text;
    if (!effect_text_take(&rest, &text)) {
        effect_tell_dirty(t);
        return;
    }
    struct slice argv[] = {SLICE("HSET"), effect_arg(t, 1), effect_arg(t, 2), text};
    tell_change(t, 4, argv);
}

/* ---- lists ---- */

/* BLMOVE source destination from to timeout; BRPOPLPUSH source destination timeout */
void effect_tell_blmove(struct effect_teller *t) {
    struct slice argv[5] = {SLICE("LMOVE"), effect_arg(t, 1), effect_arg(t, 2)};
    size_t argc = 3;
    bool tail_to_head = t->in->argc == 4 || (effect_arg_is(t->in->argv, 3, "right") &&
                                             effect_arg_is(t->in->argv, 4, "left"));
    if (tail_to_head) {
        argv[0] = SLICE("RPOPLPUSH"); /* which older followers know too */
    } else {
        argv[3] = effect_arg(t, 3);
        argv[4] = effect_arg(t, 4);
        argc = 5;
    }
    effect_tell_command(t, argc, argv);
    (void)effect_tell_key(t, argv[1], EFFECT_READ_WRITE, EFFECT_EXPIRY_KEPT);
    if (!slice_equal(argv[1], argv[2]))
        (void)effect_tell_key(t, argv[2], EFFECT_READ_WRITE, EFFECT_EXPIRY_KEPT);
}

/* The answer is a list that begins with one of our keys; *COUNT more trees follow. */
static bool take_popped(struct effect_teller *t, struct slice *rest, struct slice *key,
                        size_t *count) {
    struct slice text;
    if (!effect_list_take(rest, count) || *count < 2 || !effect_text_take(rest, &text) ||
        !effect_key_find(t, text, key))
        return false;
    *count -= 1;
    return true;
}

void effect_tell_bpop(struct effect_teller *t) {
    struct slice rest = t->answer, key;
    size_t count;
    if (!take_popped(t, &rest, &key, &count)) {
        effect_tell_dirty(t);
        return;
    }
    bool left = t->effect->command->name[1] == 'l';
    struct slice argv[] = {left ? SLICE("LPOP") : SLICE("RPOP"), key};
    tell_change(t, 2, argv);
}

/* LTRIM, which every follower knows, instead of LPOP with a count. */
void effect_tell_lmpop(struct effect_teller *t) {
    struct slice rest = t->answer, key;
    size_t count, popped;
    char text[24];
    if (!take_popped(t, &rest, &key, &count) || !effect_list_take(&rest, &popped) || popped == 0) {
        effect_tell_dirty(t);
        return;
    }
    struct slice argv[] = {SLICE("LTRIM"), key, SLICE("0"), SLICE("-1")};
    if (t->in->options & OPTION_LEFT)
        argv[2] = number_text((int64_t)popped, text);
    else
        argv[3] = number_text(-(int64_t)popped - 1, text);
    tell_change(t, 4, argv);
}

/* ---- sets and sorted sets ---- */

/* COMMAND key member..., where every tree of REST (COUNT of them) is a member, or a pair of a
 * member and something else. */
static bool tell_removal(struct effect_teller *t, const char *command, struct slice key,
                         struct slice rest, size_t count, bool pairs) {
    struct slice text;
    struct slice check = rest;
    for (size_t i = 0; i < count; i++) {
        size_t two = 0;
        if (pairs && (!effect_list_take(&check, &two) || two != 2)) return false;
        if (!effect_text_take(&check, &text)) return false;
        if (pairs && !effect_text_take(&check, &text)) return false;
    }
    struct effect_item *item = effect_tell_item(t, EFFECT_REQUEST);
    resp_write_array(&t->out->bytes, count + 2);
    resp_write_text(&t->out->bytes, command);
    resp_write_bulk(&t->out->bytes, key);
    for (size_t i = 0; i < count; i++) {
        size_t two;
        bool read = (!pairs || effect_list_take(&rest, &two)) && effect_text_take(&rest, &text);
        ASSERT(read);
        resp_write_bulk(&t->out->bytes, text);
        read = !pairs || effect_text_take(&rest, &text);
        ASSERT(read);
    }
    item->size = buf_size(&t->out->bytes) - item->at;
    (void)effect_tell_key(t, key, EFFECT_READ_WRITE, EFFECT_EXPIRY_KEPT);
    return true;
}

void effect_tell_spop(struct effect_teller *t) {
    struct slice rest = t->answer;
    size_t count = 1;
    bool read = t->in->argc == 2 || effect_list_take(&rest, &count);
    if (!read || !tell_removal(t, "SREM", effect_arg(t, 1), rest, count, false))
        effect_tell_dirty(t);
}

void effect_tell_zmpop(struct effect_teller *t) {
    struct slice rest = t->answer, key;
    size_t count, popped;
    bool read = take_popped(t, &rest, &key, &count) && effect_list_take(&rest, &popped) &&
                popped > 0 && tell_removal(t, "ZREM", key, rest, popped, true);
    if (!read) effect_tell_dirty(t);
}

void effect_tell_bzpop(struct effect_teller *t) {
    struct slice rest = t->answer, key;
    size_t count;
    bool read = take_popped(t, &rest, &key, &count) && tell_removal(t, "ZREM", key, rest, 1, false);
    if (!read) effect_tell_dirty(t);
}

static void tell_score(struct effect_teller *t, struct slice member) {
    struct slice rest = t->answer, score;
    if (!effect_text_take(&rest, &score)) {
        effect_tell_dirty(t);
        return;
    }
    struct slice argv[] = {SLICE("ZADD"), effect_arg(t, 1), score, member};
    tell_change(t, 4, argv);
}

/* Only with CH or NX does 0 say that nothing was changed. */
void effect_tell_zadd(struct effect_teller *t) {
    unsigned options = t->in->options;
    if (options & OPTION_INCR) {
        tell_score(t, effect_arg(t, t->in->argc - 1));
        return;
    }
    bool tells = options & (OPTION_CH | OPTION_NX);
    if (tells && t->head.kind == RESP_INT && t->head.number == 0) return;
    effect_tell_verbatim(t);
}

void effect_tell_zincrby(struct effect_teller *t) {
    tell_score(t, effect_arg(t, 3));
}

/* Sums and distances are floating-point, orders of equal ones are the server's: the destination
 * must be copied. Only an empty result is known: there is no such key now. */
void effect_tell_store(struct effect_teller *t) {
    if (t->head.kind != RESP_INT || t->head.number != 0) {
        effect_tell_dirty(t);
        return;
    }
    for (size_t i = 0; i < t->effect->key_count; i++) {
        if (!(t->effect->keys[i].use & EFFECT_WRITE)) continue;
        struct slice argv[] = {SLICE("DEL"), t->effect->keys[i].name};
        effect_tell_one(t, 2, argv, EFFECT_REPLACE, EFFECT_EXPIRY_NONE);
    }
}
