/* effect_prepare.c -- what is changed in a command before it leaves for the primary side, and what
 * its options are. See effect.h, effect_inside.h.
 *
 * Options are read exactly as Redis 7.0.15 reads them (t_string.c, expire.c, cluster.c, t_zset.c,
 * t_stream.c). What does not fit goes as it came, marked unsure: Redis 7.0 will refuse it, and if
 * a newer one does not, the keys are dirty.
 */
#include "gateway/effect_inside.h"

#include <inttypes.h>
#include <stdio.h>

#define VERSION_ABSTTL EFFECT_VERSION(5, 0, 0)
#define VERSION_PXAT EFFECT_VERSION(6, 2, 0)

enum time_unit { UNIT_NONE, UNIT_EX, UNIT_PX, UNIT_EXAT, UNIT_PXAT };

static void give_up(struct effect_draft *draft) {
    draft->unsure = true;
}

/* A positive time of UNIT as absolute milliseconds; false where Redis refuses it, or where only
 * its own clock could tell. */
static bool to_deadline(const struct effect_draft *draft, enum time_unit unit, int64_t value,
                        int64_t *deadline_ms) {
    if (unit == UNIT_EX || unit == UNIT_EXAT) {
        if (value > INT64_MAX / 1000 || value < INT64_MIN / 1000) return false;
        value *= 1000;
    }
    if (unit == UNIT_EX || unit == UNIT_PX) {
        if (value > INT64_MAX - draft->facts->now_ms) return false;
        value += draft->facts->now_ms;
    }
    *deadline_ms = value;
    return true;
}

static void set_deadline(struct effect_draft *draft, int64_t deadline_ms) {
    draft->deadline_ms = deadline_ms;
    draft->options |= OPTION_EXPIRY;
    snprintf(draft->number, sizeof draft->number, "%" PRId64, deadline_ms);
}

/* ---- SET, GETEX ---- */

struct string_options {
    unsigned bits;
    enum time_unit unit;
    struct slice time;
};

static enum time_unit time_option(struct slice word) {
    if (slice_equal_nocase(word, SLICE("ex"))) return UNIT_EX;
    if (slice_equal_nocase(word, SLICE("px"))) return UNIT_PX;
    if (slice_equal_nocase(word, SLICE("exat"))) return UNIT_EXAT;
    if (slice_equal_nocase(word, SLICE("pxat"))) return UNIT_PXAT;
    return UNIT_NONE;
}

/* From argv[AT] on; false: a syntax error, or an option that 7.0 does not have. */
static bool string_options(const struct effect_draft *draft, size_t at, bool set,
                           struct string_options *found) {
    *found = (struct string_options){.unit = UNIT_NONE};
    for (size_t i = at; i < draft->argc; i++) {
        enum time_unit unit = time_option(draft->argv[i]);
        unsigned bits = found->bits;
        if (set && effect_arg_is(draft->argv, i, "nx") && !(bits & OPTION_XX)) {
            found->bits |= OPTION_NX;
        } else if (set && effect_arg_is(draft->argv, i, "xx") && !(bits & OPTION_NX)) {
            found->bits |= OPTION_XX;
        } else if (set && effect_arg_is(draft->argv, i, "get")) {
            found->bits |= OPTION_GET;
        } else if (set && effect_arg_is(draft->argv, i, "keepttl") && found->unit == UNIT_NONE) {
            found->bits |= OPTION_KEEPTTL;
        } else if (!set && effect_arg_is(draft->argv, i, "persist") && found->unit == UNIT_NONE) {
            found->bits |= OPTION_PERSIST;
        } else if (unit != UNIT_NONE && (found->unit == UNIT_NONE || found->unit == unit) &&
                   !(bits & (OPTION_KEEPTTL | OPTION_PERSIST)) && i + 1 < draft->argc) {
            found->unit = unit;
            found->time = draft->argv[++i];
        } else {
            return false;
        }
    }
    return true;
}

/* The time of OPTIONS; false when Redis will refuse it. */
static bool string_deadline(struct effect_draft *draft, const struct string_options *options) {
    int64_t value, deadline_ms;
    if (!slice_to_int(options->time, &value) || value <= 0) return false;
    if (!to_deadline(draft, options->unit, value, &deadline_ms)) return false;
    set_deadline(draft, deadline_ms);
    return true;
}

static bool is_relative(enum time_unit unit) {
    return unit == UNIT_EX || unit == UNIT_PX;
}

/* SET key value PXAT deadline, in the words that P knows. */
static void write_set(struct effect_draft *draft) {
    struct slice *to = draft->built;
    size_t n = 0;
    bool pxat = draft->facts->primary_version >= VERSION_PXAT;
    bool simple = !(draft->options & (OPTION_NX | OPTION_XX | OPTION_GET));
    if (!pxat && (!simple || draft->facts->proxied)) {
        give_up(draft);
        return;
    }
    struct slice key = draft->argv[1];
    struct slice value = draft->argv[draft->at];
    to[n++] = SLICE("SET");
    to[n++] = key;
    to[n++] = value;
    if (draft->options & OPTION_NX) to[n++] = SLICE("NX");
    if (draft->options & OPTION_XX) to[n++] = SLICE("XX");
    if (draft->options & OPTION_GET) to[n++] = SLICE("GET");
    if (pxat) {
        to[n++] = SLICE("PXAT");
        to[n++] = slice_text(draft->number);
    } else {
        draft->extra = EXTRA_PEXPIREAT;
    }
    draft->argv = to;
    draft->argc = n;
    draft->at = 2;
}

void effect_prepare_set(struct effect_draft *draft) {
    struct string_options found;
    draft->at = 2;
    if (!string_options(draft, 3, true, &found)) {
        give_up(draft);
        return;
    }
    draft->options = found.bits;
    if (found.unit == UNIT_NONE) return;
    if (!string_deadline(draft, &found)) {
        give_up(draft);
        return;
    }
    if (is_relative(found.unit)) write_set(draft);
}

void effect_prepare_setex(struct effect_draft *draft) {
    enum time_unit unit = draft->command->name[0] == 'p' ? UNIT_PX : UNIT_EX;
    struct string_options found = {.unit = unit, .time = draft->argv[2]};
    draft->at = 3;
    if (!string_deadline(draft, &found)) {
        give_up(draft);
        return;
    }
    write_set(draft);
}

void effect_prepare_getex(struct effect_draft *draft) {
    struct string_options found;
    if (!string_options(draft, 2, false, &found)) {
        give_up(draft);
        return;
    }
    draft->options = found.bits;
    if (found.unit == UNIT_NONE) {
        draft->reads_only = !(found.bits & OPTION_PERSIST);
        return;
    }
    if (!string_deadline(draft, &found)) {
        give_up(draft);
        return;
    }
    if (!is_relative(found.unit)) return;
    struct slice *to = draft->built;
    to[0] = SLICE("GETEX");
    to[1] = draft->argv[1];
    to[2] = SLICE("PXAT");
    to[3] = slice_text(draft->number);
    draft->argv = to;
    draft->argc = 4;
}

/* ---- EXPIRE, RESTORE ---- */

/* NAME in place of the name and the deadline in place of argv[2]; the rest stays, LAST (if it is
 * not empty) goes behind it. */
static void write_deadline(struct effect_draft *draft, struct slice name, struct slice last) {
    struct slice *to = draft->built;
    if (draft->argc + 1 > sizeof draft->built / sizeof *draft->built)
        to = draft->built_long = NEW_ARRAY(struct slice, draft->argc + 1);
    memcpy(to, draft->argv, draft->argc * sizeof *to);
    to[0] = name;
    to[2] = slice_text(draft->number);
    draft->argv = to;
    if (last.size > 0) to[draft->argc++] = last;
}

void effect_prepare_expire(struct effect_draft *draft) {
    const char *name = draft->command->name;
    bool milliseconds = name[0] == 'p';
    bool absolute = strstr(name, "at") != NULL;
    enum time_unit unit =
        milliseconds ? (absolute ? UNIT_PXAT : UNIT_PX) : (absolute ? UNIT_EXAT : UNIT_EX);
    int64_t value, deadline_ms;
    if (!slice_to_int(draft->argv[2], &value) || !to_deadline(draft, unit, value, &deadline_ms)) {
        give_up(draft);
        return;
    }
    set_deadline(draft, deadline_ms);
    if (!absolute) write_deadline(draft, SLICE("PEXPIREAT"), SLICE(""));
}

/* RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency] */
static bool restore_options(const struct effect_draft *draft, unsigned *bits) {
    *bits = 0;
    for (size_t i = 4; i < draft->argc; i++) {
        if (effect_arg_is(draft->argv, i, "replace"))
            *bits |= OPTION_REPLACE;
        else if (effect_arg_is(draft->argv, i, "absttl"))
            *bits |= OPTION_ABSTTL;
        else if ((effect_arg_is(draft->argv, i, "idletime") ||
                  effect_arg_is(draft->argv, i, "freq")) &&
                 i + 1 < draft->argc)
            i++;
        else
            return false;
    }
    return true;
}

void effect_prepare_restore(struct effect_draft *draft) {
    int64_t ttl, deadline_ms;
    unsigned bits;
    if (!restore_options(draft, &bits) || !slice_to_int(draft->argv[2], &ttl) || ttl < 0) {
        give_up(draft);
        return;
    }
    draft->options = bits;
    if (ttl == 0) return;
    enum time_unit unit = bits & OPTION_ABSTTL ? UNIT_PXAT : UNIT_PX;
    if (!to_deadline(draft, unit, ttl, &deadline_ms)) {
        give_up(draft);
        return;
    }
    set_deadline(draft, deadline_ms);
    if (unit == UNIT_PXAT) return;
    if (draft->facts->primary_version < VERSION_ABSTTL) {
        give_up(draft);
        return;
    }
    write_deadline(draft, draft->argv[0], SLICE("ABSTTL"));
}

/* ---- other databases ---- */

static bool database_number(struct slice text, int32_t *db) {
    int64_t number;
    if (!slice_to_int(text, &number) || number < 0 || number > INT32_MAX) return false;
    *db = (int32_t)number;
    return true;
}

void effect_prepare_copy(struct effect_draft *draft) {
    for (size_t i = 3; i < draft->argc; i++) {
        if (effect_arg_is(draft->argv, i, "replace"))
            draft->options |= OPTION_REPLACE;
        else if (effect_arg_is(draft->argv, i, "db") && i + 1 < draft->argc &&
                 database_number(draft->argv[i + 1], &draft->db_other))
            i++;
        else
            give_up(draft);
    }
}

void effect_prepare_move(struct effect_draft *draft) {
    if (!database_number(draft->argv[2], &draft->db_other)) give_up(draft);
}

/* `at` is the first database, db_other the second. */
void effect_prepare_swapdb(struct effect_draft *draft) {
    int32_t first = 0;
    if (!database_number(draft->argv[1], &first) ||
        !database_number(draft->argv[2], &draft->db_other))
        give_up(draft);
    draft->at = (uint32_t)first;
}

/* ---- the rest ---- */

/* PFCOUNT of one key keeps what it counted in the value; of several it does not. */
void effect_prepare_pfcount(struct effect_draft *draft) {
    draft->reads_only = draft->argc > 2;
}

/* Those that change no value. The others may do anything: RELOAD, POPULATE, LOADAOF ... */
void effect_prepare_debug(struct effect_draft *draft) {
    static const char *const harmless[] = {
        "help",        "object",   "sleep",    "jmap",  "digest", "digest-value", "htstats",
        "htstats-key", "protocol", "listpack", "error", "log",    "sdslen",       "quicklist"};
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        draft->reads_only |= effect_arg_is(draft->argv, 1, harmless[i]);
    draft->any_key = !draft->reads_only;
}

void effect_prepare_blocking(struct effect_draft *draft) {
    draft->blocking = true;
}

/* [B]LMPOP and [B]ZMPOP: where LEFT, RIGHT, MIN or MAX stands is behind the keys. */
void effect_prepare_mpop(struct effect_draft *draft) {
    size_t count_at = draft->command->name[0] == 'b' ? 2 : 1;
    int64_t number;
    draft->blocking = count_at == 2;
    if (!slice_to_int(draft->argv[count_at], &number) || number < 1 ||
        (uint64_t)number >= draft->argc - count_at - 1) {
        give_up(draft);
        return;
    }
    size_t at = count_at + 1 + (size_t)number;
    if (effect_arg_is(draft->argv, at, "left")) draft->options |= OPTION_LEFT;
}

static unsigned zadd_option(const struct effect_draft *draft, size_t i, bool incr) {
    if (effect_arg_is(draft->argv, i, "nx")) return OPTION_NX;
    if (effect_arg_is(draft->argv, i, "xx")) return OPTION_XX;
    if (effect_arg_is(draft->argv, i, "ch")) return OPTION_CH;
    if (incr && effect_arg_is(draft->argv, i, "incr")) return OPTION_INCR;
    if (incr && (effect_arg_is(draft->argv, i, "gt") || effect_arg_is(draft->argv, i, "lt")))
        return OPTION_XX; /* only that there was an option */
    return 0;
}

void effect_prepare_zadd(struct effect_draft *draft) {
    unsigned option;
    for (size_t i = 2; i < draft->argc && (option = zadd_option(draft, i, true)) != 0; i++)
        draft->options |= option;
}

void effect_prepare_geoadd(struct effect_draft *draft) {
    unsigned option;
    for (size_t i = 2; i < draft->argc && (option = zadd_option(draft, i, false)) != 0; i++)
        draft->options |= option;
}
