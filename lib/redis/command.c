/* command.c -- the table of commands and how to find a row. See command.h. */
#include "lib/redis/command.h"

#include "lib/redis/resp.h"

#include <ctype.h>
#include <stdio.h>

/* Short names that only the table uses. */
enum {
#define X(name, text) F_##name = COMMAND_##name,
    COMMAND_FLAG_LIST(X)
#undef X
};
enum {
#define X(name, text) A_##name = COMMAND_ACL_##name,
    COMMAND_ACL_LIST(X)
#undef X
};
enum {
#define X(name, text) K_##name = COMMAND_KEY_##name,
    COMMAND_KEY_LIST(X)
#undef X
};

#define UNKNOWN 0
#define AT(where) COMMAND_BEGIN_INDEX, .at = (where)
#define WORD(text, from) COMMAND_BEGIN_WORD, .word = (text), .at = (from)
#define RANGE(last, step, limit) COMMAND_FIND_RANGE, .a = (last), .b = (step), .c = (limit)
#define COUNTED(count, first, step) COMMAND_FIND_COUNTED, .a = (count), .b = (first), .c = (step)
#define KEY(key_flags, begins, finds)                                                              \
    { .flags = (key_flags), .begin = begins, .find = finds }
#define KEY1(key_flags) KEY(key_flags, AT(1), RANGE(0, 1, 0))
#define NO_KEYS                                                                                    \
    { 0 }
#define CMD(title, args, kind, version, bits, cats, does, rule, ...)                               \
    {.name = (title),                                                                              \
     .since = (version),                                                                           \
     .arity = (args),                                                                              \
     .flags = (bits),                                                                              \
     .acl = (cats),                                                                                \
     .group = COMMAND_GROUP_##kind,                                                                \
     .effect = COMMAND_EFFECT_##does,                                                              \
     .keys = COMMAND_##rule,                                                                       \
     .specs = {__VA_ARGS__}},

static struct command table[] = {
#include "lib/redis/command_table.inc"
};

#define ROWS (sizeof table / sizeof *table)
#define HASH_SIZE 2048u /* a power of two, several times the number of rows */
#define NO_ROW UINT16_MAX

const size_t command_count = ROWS;
static uint16_t hashed[HASH_SIZE]; /* rows by full name, open addressing */

static uint32_t hash_add(uint32_t hash, struct slice name) {
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        if (c >= 'A' && c <= 'Z') c = (uint8_t)(c | 0x20);
        hash = (hash ^ c) * UINT32_C(16777619);
    }
    return hash;
}

#define HASH_START UINT32_C(2166136261)
#define HASH_PLACE(hash) (((hash) ^ ((hash) >> 15)) & (HASH_SIZE - 1))

static uint32_t name_hash(struct slice name) {
    return hash_add(HASH_START, name);
}

static void set_parent(size_t row) {
    const char *bar = strchr(table[row].name, '|');
    table[row].parent = (uint16_t)row;
    if (bar == NULL) return;
    struct slice container = slice_from(table[row].name, (size_t)(bar - table[row].name));
    for (size_t i = 0; i < ROWS; i++) {
        if (!slice_equal(slice_text(table[i].name), container)) continue;
        table[row].parent = (uint16_t)i;
        table[i].subcommands++;
    }
    ASSERT(table[row].parent != row);
}

__attribute__((constructor)) static void table_init(void) {
    for (size_t i = 0; i < HASH_SIZE; i++) hashed[i] = NO_ROW;
    for (size_t row = 0; row < ROWS; row++) {
        table[row].index = (uint16_t)row;
        set_parent(row);
        uint32_t hash = name_hash(slice_text(table[row].name));
        uint32_t at = HASH_PLACE(hash);
        while (hashed[at] != NO_ROW) at = (at + 1) & (HASH_SIZE - 1);
        hashed[at] = (uint16_t)row;
    }
}

const struct command *command_at(size_t index) {
    ASSERT(index < ROWS);
    return &table[index];
}

/* NAME in any case against the row's tail, which is lower case. */
static bool name_is(const char *tail, struct slice name) {
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        if (c >= 'A' && c <= 'Z') c = (uint8_t)(c | 0x20);
        if (tail[i] == '\0' || (uint8_t)tail[i] != c) return false;
    }
    return tail[name.size] == '\0';
}

const struct command *command_find(struct slice name) {
    uint32_t hash = name_hash(name);
    for (uint32_t at = HASH_PLACE(hash); hashed[at] != NO_ROW; at = (at + 1) & (HASH_SIZE - 1)) {
        const struct command *row = &table[hashed[at]];
        if (row->parent == row->index && name_is(row->name, name)) return row;
    }
    return NULL;
}

const struct command *command_find_sub(const struct command *container, struct slice name) {
    struct slice parent = slice_text(container->name);
    uint32_t hash = hash_add(hash_add(name_hash(parent), SLICE("|")), name);
    for (uint32_t at = HASH_PLACE(hash); hashed[at] != NO_ROW; at = (at + 1) & (HASH_SIZE - 1)) {
        const struct command *row = &table[hashed[at]];
        if (row->parent == container->index && row->index != container->index &&
            name_is(row->name + parent.size + 1, name))
            return row;
    }
    return NULL;
}

const struct command *command_named(const char *name) {
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(table[i].name, name) == 0) return &table[i];
    UNREACHABLE("no such command");
}

const struct command *command_lookup(size_t argc, const struct slice *argv) {
    const struct command *command = command_find(argv[0]);
    if (command == NULL || !command_is_container(command) || argc < 2) return command;
    return command_find_sub(command, argv[1]);
}

/* As Redis: the name and the first arguments, cut at 128 bytes each in sum. */
static void say_unknown(size_t argc, const struct slice *argv, struct buf *error) {
    const struct command *container = command_find(argv[0]);
    int first = argv[0].size < 128 ? (int)argv[0].size : 128;
    if (container != NULL && command_is_container(container)) {
        char upper[32] = {0};
        for (size_t i = 0; i < sizeof upper - 1 && container->name[i]; i++)
            upper[i] = (char)toupper((unsigned char)container->name[i]);
        int sub = argv[1].size < 128 ? (int)argv[1].size : 128;
        resp_write_errorf(error, "ERR unknown subcommand '%.*s'. Try %s HELP.", sub,
                          (const char *)argv[1].data, upper);
        return;
    }
    char args[160] = "";
    size_t used = 0;
    for (size_t i = 1; i < argc && used < 128; i++) {
        size_t room = 128 - used;
        int shown = (int)(argv[i].size < room ? argv[i].size : room);
        int n =
            snprintf(args + used, sizeof args - used, "'%.*s' ", shown, (const char *)argv[i].data);
        ASSERT(n >= 0 && used + (size_t)n < sizeof args);
        used += (size_t)n;
    }
    resp_write_errorf(error, "ERR unknown command '%.*s', with args beginning with: %s", first,
                      (const char *)argv[0].data, args);
}

const struct command *command_admit(size_t argc, const struct slice *argv, struct buf *error) {
    const struct command *command = command_lookup(argc, argv);
    if (command == NULL) {
        say_unknown(argc, argv, error);
        return NULL;
    }
    if (!command_arity_fits(command, argc)) {
        resp_write_errorf(error, "ERR wrong number of arguments for '%s' command", command->name);
        return NULL;
    }
    return command;
}

const char *command_flag_name(unsigned bit) {
#define X(name, text) text,
    static const char *const names[] = {COMMAND_FLAG_LIST(X)};
#undef X
    ASSERT(bit < COMMAND_FLAGS);
    return names[bit];
}

const char *command_acl_name(unsigned bit) {
#define X(name, text) text,
    static const char *const names[] = {COMMAND_ACL_LIST(X)};
#undef X
    ASSERT(bit < COMMAND_ACLS);
    return names[bit];
}

const char *command_key_flag_name(unsigned bit) {
#define X(name, text) text,
    static const char *const names[] = {COMMAND_KEY_LIST(X)};
#undef X
    ASSERT(bit < COMMAND_KEY_FLAGS);
    return names[bit];
}

const char *command_group_name(unsigned group) {
#define X(name, text) text,
    static const char *const names[] = {COMMAND_GROUP_LIST(X)};
#undef X
    ASSERT(group < COMMAND_GROUPS);
    return names[group];
}
