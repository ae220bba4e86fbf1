/* command_keys.c -- where the keys of a request stand. See command.h.
 *
 * First the specs, which also say how each key is used; where they cannot tell (SORT, MIGRATE, a
 * count that is not a plain number) a function of the command's own, exactly as Redis 7.0 does it.
 */
#include "lib/redis/command.h"

struct finder {
    const struct command *command;
    size_t argc;
    const struct slice *argv;
    struct command_key *keys;
    size_t max, count;
    bool full; /* there were more than MAX */
};

static void found(struct finder *f, size_t at, unsigned flags) {
    ASSERT(at < f->argc);
    if (f->count == f->max) {
        f->full = true;
        return;
    }
    f->keys[f->count++] = (struct command_key){(uint32_t)at, (uint16_t)flags};
}

static bool arg_is(const struct finder *f, size_t at, const char *word) {
    return slice_equal_nocase(f->argv[at], slice_text(word));
}

/* Where the keys begin; 0 when the word is not there. */
static int64_t spec_begin(const struct finder *f, const struct command_key_spec *spec) {
    if (spec->begin == COMMAND_BEGIN_INDEX) return spec->at;
    int64_t argc = (int64_t)f->argc;
    int64_t from = spec->at > 0 ? spec->at : argc + spec->at;
    int64_t to = spec->at > 0 ? argc - 1 : 1;
    int64_t step = from <= to ? 1 : -1;
    for (int64_t i = from; i != to && i >= 1 && i < argc; i += step)
        if (arg_is(f, (size_t)i, spec->word)) return i + 1;
    return 0;
}

/* The keys of one spec; false when the arguments do not fit it. */
static bool spec_keys(struct finder *f, const struct command_key_spec *spec) {
    if (spec->begin == COMMAND_BEGIN_UNKNOWN || spec->find == COMMAND_FIND_UNKNOWN) {
        if (spec->begin == COMMAND_BEGIN_UNKNOWN) return false;
        return spec_begin(f, spec) == 0;
    }
    int64_t argc = (int64_t)f->argc, first = spec_begin(f, spec), last, step;
    if (first == 0) return true;
    if (spec->find == COMMAND_FIND_RANGE) {
        step = spec->b;
        if (spec->a >= 0)
            last = first + spec->a;
        else if (spec->c == 0)
            last = argc + spec->a;
        else
            last = first + (argc - first) / spec->c + spec->a;
    } else {
        step = spec->c;
        int64_t number = 0;
        if (first + spec->a >= argc) return false;
        if (!slice_to_int(f->argv[first + spec->a], &number) || number < 0 || number > argc)
            return false;
        first += spec->b;
        last = first + number - 1;
    }
    if (last >= argc || last < first || first >= argc) return false;
    for (int64_t i = first; i <= last; i += step) found(f, (size_t)i, spec->flags);
    return (spec->flags & COMMAND_KEY_INCOMPLETE) == 0;
}

/* All specs; false (and no keys) when one of them cannot tell. Most commands have one key, behind
 * their name. */
static bool all_specs(struct finder *f) {
    const struct command_key_spec *first = &f->command->specs[0];
    bool one = first->begin == COMMAND_BEGIN_INDEX && first->find == COMMAND_FIND_RANGE &&
               first->at == 1 && first->a == 0 && f->argc > 1 && first->flags != 0 &&
               (first->flags & (COMMAND_KEY_NOT_KEY | COMMAND_KEY_INCOMPLETE)) == 0 &&
               f->command->specs[1].flags == 0;
    if (one) {
        found(f, 1, first->flags);
        return true;
    }
    for (size_t i = 0; i < COMMAND_SPECS_MAX && f->command->specs[i].flags != 0; i++) {
        const struct command_key_spec *spec = &f->command->specs[i];
        if (spec->flags & COMMAND_KEY_NOT_KEY) continue;
        if (spec_keys(f, spec)) continue;
        f->count = 0;
        return false;
    }
    return true;
}

/* The number in front of a text, as C's atoi: spaces and a sign may lead, anything may follow. */
static int64_t lenient_number(struct slice text) {
    size_t i = 0;
    while (i < text.size && (text.data[i] == ' ' || (text.data[i] >= '\t' && text.data[i] <= '\r')))
        i++;
    bool minus = i < text.size && text.data[i] == '-';
    if (i < text.size && (text.data[i] == '-' || text.data[i] == '+')) i++;
    int64_t number = 0;
    for (; i < text.size && text.data[i] >= '0' && text.data[i] <= '9' && number < INT32_MAX; i++)
        number = number * 10 + (text.data[i] - '0');
    return minus ? -number : number;
}

/* What Redis does when a counted spec failed. The destination of a STORE comes last there. */
static void counted_keys(struct finder *f) {
    const struct command_key_spec *spec = NULL;
    size_t store = 0;
    for (size_t i = 0; i < COMMAND_SPECS_MAX && f->command->specs[i].flags != 0; i++) {
        if (f->command->specs[i].find == COMMAND_FIND_COUNTED)
            spec = &f->command->specs[i];
        else
            store = (size_t)f->command->specs[i].at;
    }
    ASSERT(spec != NULL);
    size_t first = (size_t)(spec->at + spec->b);
    size_t count_at = (size_t)(spec->at + spec->a);
    if (count_at >= f->argc) return;
    int64_t number = lenient_number(f->argv[count_at]);
    if (number < 1 || f->argc < first || number > (int64_t)(f->argc - first) / spec->c) return;
    for (int64_t i = 0; i < number; i++) found(f, first + (size_t)(i * spec->c), 0);
    if (store != 0) found(f, store, 0);
}

/* STREAMS may also be the name of a group or a stream: the first one that is an option counts. */
static void streams_keys(struct finder *f) {
    size_t i = 1;
    while (i < f->argc && !arg_is(f, i, "streams")) {
        if (arg_is(f, i, "block") || arg_is(f, i, "count"))
            i += 2;
        else if (arg_is(f, i, "group"))
            i += 3;
        else if (arg_is(f, i, "noack"))
            i++;
        else
            return;
    }
    if (i >= f->argc || (f->argc - i - 1) % 2 != 0) return;
    for (size_t count = (f->argc - i - 1) / 2; count > 0; count--) found(f, ++i, 0);
}

static void set_keys(struct finder *f) {
    unsigned flags = COMMAND_KEY_OW | COMMAND_KEY_UPDATE;
    for (size_t i = 3; i < f->argc; i++)
        if (arg_is(f, i, "get")) flags = COMMAND_KEY_RW | COMMAND_KEY_ACCESS | COMMAND_KEY_UPDATE;
    found(f, 1, flags);
}

static bool bitfield_reads_only(const struct finder *f) {
    for (size_t i = 2; i < f->argc; i++) {
        size_t left = f->argc - i - 1;
        if (arg_is(f, i, "get") && left >= 2)
            i += 2;
        else if (arg_is(f, i, "overflow") && left >= 1)
            i += 1;
        else
            return false;
    }
    return true;
}

static void bitfield_keys(struct finder *f) {
    unsigned writes = COMMAND_KEY_RW | COMMAND_KEY_ACCESS | COMMAND_KEY_UPDATE;
    found(f, 1, bitfield_reads_only(f) ? COMMAND_KEY_RO | COMMAND_KEY_ACCESS : writes);
}

/* SORT key [BY p] [LIMIT o c] [GET p ...] [STORE key]; the last STORE counts. */
static void sort_keys(struct finder *f) {
    size_t store = 0;
    found(f, 1, COMMAND_KEY_RO | COMMAND_KEY_ACCESS);
    for (size_t i = 2; i < f->argc; i++) {
        if (arg_is(f, i, "limit"))
            i += 2;
        else if (arg_is(f, i, "get") || arg_is(f, i, "by"))
            i += 1;
        else if (arg_is(f, i, "store") && i + 1 < f->argc)
            store = i + 1;
    }
    if (store != 0) found(f, store, COMMAND_KEY_OW | COMMAND_KEY_UPDATE);
}

static void migrate_keys(struct finder *f) {
    const unsigned flags = COMMAND_KEY_RW | COMMAND_KEY_ACCESS | COMMAND_KEY_DELETE;
    size_t first = 3, count = 1;
    for (size_t i = 6; i < f->argc; i++) {
        if (arg_is(f, i, "keys")) {
            first = i + 1;
            count = f->argv[3].size > 0 ? 0 : f->argc - first;
            break;
        }
        if (arg_is(f, i, "auth"))
            i += 1;
        else if (arg_is(f, i, "auth2"))
            i += 2;
    }
    for (size_t i = 0; i < count; i++) found(f, first + i, flags);
}

static void georadius_keys(struct finder *f) {
    size_t store = 0;
    found(f, 1, 0);
    for (size_t i = 5; i + 1 < f->argc; i++)
        if (arg_is(f, i, "store") || arg_is(f, i, "storedist")) store = ++i;
    if (store != 0) found(f, store, 0);
}

static void own_keys(struct finder *f) {
    switch ((enum command_key_rule)f->command->keys) {
    case COMMAND_KEYS_NONE:
    case COMMAND_KEYS_SPECS: break;
    case COMMAND_KEYS_COUNTED: counted_keys(f); break;
    case COMMAND_KEYS_SET: set_keys(f); break;
    case COMMAND_KEYS_BITFIELD: bitfield_keys(f); break;
    case COMMAND_KEYS_SORT: sort_keys(f); break;
    case COMMAND_KEYS_SORT_RO: found(f, 1, COMMAND_KEY_RO | COMMAND_KEY_ACCESS); break;
    case COMMAND_KEYS_MIGRATE: migrate_keys(f); break;
    case COMMAND_KEYS_GEORADIUS: georadius_keys(f); break;
    case COMMAND_KEYS_STREAMS: streams_keys(f); break;
    default: UNREACHABLE("key rule");
    }
}

/* A spec of real keys with flags that can be relied on. */
static bool specs_are_usable(const struct command *command) {
    bool any = false;
    for (size_t i = 0; i < COMMAND_SPECS_MAX && command->specs[i].flags != 0; i++) {
        if (command->specs[i].flags & COMMAND_KEY_VARIABLE_FLAGS) return false;
        if ((command->specs[i].flags & COMMAND_KEY_NOT_KEY) == 0) any = true;
    }
    return any;
}

bool command_has_keys(const struct command *command) {
    if (command->keys != COMMAND_KEYS_NONE && command->keys != COMMAND_KEYS_SPECS) return true;
    for (size_t i = 0; i < COMMAND_SPECS_MAX && command->specs[i].flags != 0; i++)
        if ((command->specs[i].flags & COMMAND_KEY_NOT_KEY) == 0) return true;
    return false;
}

enum err command_keys(const struct command *command, size_t argc, const struct slice *argv,
                      struct command_key *keys, size_t max, size_t *count, struct why *why) {
    ASSERT(command_arity_fits(command, argc));
    struct finder f = {.command = command, .argc = argc, .argv = argv, .keys = keys, .max = max};
    if (!command_has_keys(command)) {
        *count = 0;
        return OK;
    }
    if (!specs_are_usable(command) || !all_specs(&f)) own_keys(&f);
    if (f.full) return why_set(why, ERR_LIMIT, "%s with more than %zu keys", command->name, max);
    if (f.count == 0 && (command->flags & COMMAND_NO_MANDATORY_KEYS) == 0)
        return why_set(why, ERR_PROTO, "Invalid arguments specified for command");
    *count = f.count;
    return OK;
}
