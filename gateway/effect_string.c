/* effect_string.c -- what was done: strings, expiry times, and whole keys. See effect_inside.h.
 *
 * An item says what becomes of the expiry time of each key, because the lane has to know which
 * keys are volatile (C12a).
 */
#include "gateway/effect_inside.h"

#include <inttypes.h>
#include <stdio.h>

#define VERSION_PXAT EFFECT_VERSION(6, 2, 0)
#define VERSION_ABSTTL EFFECT_VERSION(5, 0, 0)

static struct slice deadline_text(const struct effect_teller *t, char text[24]) {
    int size = snprintf(text, 24, "%" PRId64, t->in->deadline_ms);
    ASSERT(size > 0 && size < 24);
    return slice_from(text, (size_t)size);
}

static void tell_key_at(struct effect_teller *t, struct slice name, unsigned use) {
    effect_tell_key(t, name, use, EFFECT_EXPIRY_AT)->deadline_ms = t->in->deadline_ms;
}

static void tell_pexpireat(struct effect_teller *t) {
    char text[24];
    struct slice argv[] = {SLICE("PEXPIREAT"), effect_arg(t, 1), deadline_text(t, text)};
    effect_tell_command(t, 3, argv);
    tell_key_at(t, argv[1], EFFECT_READ_WRITE);
}

/* SET, also what SETEX and PSETEX became. */
static bool set_was_done(const struct effect_teller *t) {
    unsigned options = t->in->options;
    if (!(options & OPTION_GET)) return !t->head.null;
    if (options & OPTION_NX) return t->head.null;
    if (options & OPTION_XX) return !t->head.null;
    return true;
}

void effect_tell_set(struct effect_teller *t) {
    char text[24];
    if (!set_was_done(t)) return;
    struct slice argv[5] = {SLICE("SET"), effect_arg(t, 1), effect_arg(t, t->in->at)};
    bool expires = t->in->options & OPTION_EXPIRY;
    if (t->in->options & OPTION_KEEPTTL) {
        argv[3] = SLICE("KEEPTTL");
        effect_tell_one(t, 4, argv, EFFECT_READ_WRITE, EFFECT_EXPIRY_KEPT);
        return;
    }
    struct effect_head extra;
    if (t->in->extra == EXTRA_PEXPIREAT && !(effect_head_read(t->extra, &extra) && !extra.error)) {
        effect_tell_dirty(t);
        return;
    }
    if (expires && t->in->follower_version >= VERSION_PXAT) {
        argv[3] = SLICE("PXAT");
        argv[4] = deadline_text(t, text);
        effect_tell_command(t, 5, argv);
        tell_key_at(t, argv[1], EFFECT_REPLACE);
        return;
    }
    if (t->in->argc == 3 && !expires && t->in->at == 2) { /* it was just that */
        effect_tell_verbatim(t);
        return;
    }
    effect_tell_one(t, 3, argv, EFFECT_REPLACE, EFFECT_EXPIRY_NONE);
    if (expires) tell_pexpireat(t);
}

/* It was done, so there was no value: the follower need not look again. */
void effect_tell_setnx(struct effect_teller *t) {
    struct slice argv[] = {SLICE("SET"), effect_arg(t, 1), effect_arg(t, 2)};
    effect_tell_one(t, 3, argv, EFFECT_REPLACE, EFFECT_EXPIRY_NONE);
}

void effect_tell_getset(struct effect_teller *t) {
    effect_tell_setnx(t);
}

void effect_tell_msetnx(struct effect_teller *t) {
    struct effect_item *item = effect_tell_item(t, EFFECT_REQUEST);
    resp_write_array(&t->out->bytes, t->in->argc);
    resp_write_text(&t->out->bytes, "MSET");
    for (size_t i = 1; i < t->in->argc; i++) resp_write_bulk(&t->out->bytes, effect_arg(t, i));
    item->size = buf_size(&t->out->bytes) - item->at;
    for (size_t i = 0; i < t->effect->key_count; i++)
        effect_tell_key(t, t->effect->keys[i].name, EFFECT_REPLACE, EFFECT_EXPIRY_NONE);
}

static void tell_delete(struct effect_teller *t, struct slice key) {
    struct slice argv[] = {SLICE("DEL"), key};
    effect_tell_one(t, 2, argv, EFFECT_REPLACE, EFFECT_EXPIRY_NONE);
}

void effect_tell_getdel(struct effect_teller *t) {
    tell_delete(t, effect_arg(t, 1));
}

void effect_tell_incrbyfloat(struct effect_teller *t) {
    struct slice rest = t->answer, text;
    if (!effect_text_take(&rest, &text)) {
        effect_tell_dirty(t);
        return;
    }
    struct slice argv[] = {SLICE("SET"), effect_arg(t, 1), text, SLICE("KEEPTTL")};
    effect_tell_one(t, 4, argv, EFFECT_READ_WRITE, EFFECT_EXPIRY_KEPT);
}

/* ---- expiry times ---- */

/* Times below 0 are sent as DEL (C8). One that has merely passed is left to the follower's clock,
 * as P left it to its own; the lane takes the key as volatile until a copy says more. */
static void tell_deadline(struct effect_teller *t) {
    if (t->in->deadline_ms <= 0)
        tell_delete(t, effect_arg(t, 1));
    else
        tell_pexpireat(t);
}

void effect_tell_expire(struct effect_teller *t) {
    if (t->head.kind == RESP_INT && t->head.number == 1)
        tell_deadline(t);
    else
        effect_tell_dirty(t);
}

void effect_tell_persist(struct effect_teller *t) {
    struct slice argv[] = {SLICE("PERSIST"), effect_arg(t, 1)};
    effect_tell_one(t, 2, argv, EFFECT_READ_WRITE, EFFECT_EXPIRY_NONE);
}

void effect_tell_getex(struct effect_teller *t) {
    if (t->in->options & OPTION_PERSIST)
        effect_tell_persist(t);
    else
        tell_deadline(t);
}

/* With REPLACE, since it was done; idle times and frequencies are not data. */
void effect_tell_restore(struct effect_teller *t) {
    struct slice argv[6] = {SLICE("RESTORE"), effect_arg(t, 1), SLICE("0"),
                            effect_arg(t, 3), SLICE("REPLACE"), SLICE("ABSTTL")};
    char text[24];
    if (!(t->in->options & OPTION_EXPIRY)) {
        effect_tell_one(t, 5, argv, EFFECT_REPLACE, EFFECT_EXPIRY_NONE);
        return;
    }
    argv[2] = deadline_text(t, text);
    if (t->in->follower_version < VERSION_ABSTTL) {
        argv[2] = SLICE("0");
        effect_tell_one(t, 5, argv, EFFECT_REPLACE, EFFECT_EXPIRY_NONE);
        tell_pexpireat(t);
        return;
    }
    effect_tell_command(t, 6, argv);
    tell_key_at(t, argv[1], EFFECT_REPLACE);
}

/* ---- whole keys ---- */

void effect_tell_rename(struct effect_teller *t) {
    struct slice argv[] = {SLICE("RENAME"), effect_arg(t, 1), effect_arg(t, 2)};
    if (slice_equal(argv[1], argv[2])) return;
    effect_tell_command(t, 3, argv);
    (void)effect_tell_key(t, argv[1], EFFECT_READ_WRITE, EFFECT_EXPIRY_NONE);
    effect_tell_key(t, argv[2], EFFECT_REPLACE, EFFECT_EXPIRY_OF)->from = 0;
}

void effect_tell_copy(struct effect_teller *t) {
    char db[24];
    snprintf(db, sizeof db, "%d", t->in->db_other);
    struct slice argv[] = {SLICE("COPY"), effect_arg(t, 1), effect_arg(t, 2),
                           SLICE("DB"),   slice_text(db),   SLICE("REPLACE")};
    effect_tell_command(t, 6, argv);
    (void)effect_tell_key(t, argv[1], EFFECT_READ, EFFECT_EXPIRY_KEPT);
    struct effect_key *to = effect_tell_key(t, argv[2], EFFECT_REPLACE, EFFECT_EXPIRY_OF);
    to->db = t->in->db_other;
    to->from = 0;
}

/* The other database has no such key, or P would not have done it. */
void effect_tell_move(struct effect_teller *t) {
    struct slice argv[] = {SLICE("MOVE"), effect_arg(t, 1), effect_arg(t, 2)};
    effect_tell_command(t, 3, argv);
    (void)effect_tell_key(t, argv[1], EFFECT_READ_WRITE, EFFECT_EXPIRY_NONE);
    struct effect_key *to = effect_tell_key(t, argv[1], EFFECT_READ_WRITE, EFFECT_EXPIRY_OF);
    to->db = t->in->db_other;
    to->from = 0;
}
