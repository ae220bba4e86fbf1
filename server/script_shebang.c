/* script_shebang.c -- the first line of a script: `#!lua flags=no-writes,allow-stale`, or of a
 * library: `#!lua name=lib`; and what it means for the command that runs it. */
#include "server/script.h"

#include "lib/redis/resp.h"
#include "server/function.h"

#define WORDS_MAX 64

const char *const script_flag_names[] = {
    "no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys", NULL};

struct words {
    struct buf text;
    struct resp_span spans[WORDS_MAX];
    size_t count;
};

static struct slice word(const struct words *words, size_t i) {
    return slice_from(words->text.data + words->text.start + words->spans[i].at,
                      words->spans[i].size);
}

/* The line of BODY without its end; false: there is none. */
static bool first_line(struct slice body, struct slice *line) {
    const uint8_t *end = memchr(body.data, '\n', body.size);
    if (end == NULL) return false;
    *line = slice_take(body, (size_t)(end - body.data));
    return true;
}

static bool split(struct slice line, struct words *words) {
    struct why why;
    return resp_split_line(line, &words->text, words->spans, WORDS_MAX, &words->count, &why) ==
               OK &&
           words->count > 0;
}

static bool add_flag(struct slice name, uint32_t *flags, struct buf *error) {
    for (unsigned i = 0; script_flag_names[i]; i++) {
        if (!slice_equal(name, slice_text(script_flag_names[i]))) continue;
        *flags |= 1u << i;
        return true;
    }
    buf_printf(error, "ERR Unexpected flag in script shebang: %.*s", (int)name.size,
               (const char *)name.data);
    return false;
}

static bool add_flags(struct slice list, uint32_t *flags, struct buf *error) {
    while (list.size > 0) {
        const uint8_t *comma = memchr(list.data, ',', list.size);
        struct slice name = comma ? slice_take(list, (size_t)(comma - list.data)) : list;
        if (!add_flag(name, flags, error)) return false;
        list = slice_drop(list, name.size + (comma != NULL));
        if (comma && list.size == 0) return add_flag(list, flags, error);
    }
    return true;
}

static bool read_flags(const struct words *words, uint32_t *flags, struct buf *error) {
    if (!slice_equal(word(words, 0), SLICE("#!lua"))) {
        buf_printf(error, "ERR Unexpected engine in script shebang: %.*s", (int)word(words, 0).size,
                   (const char *)word(words, 0).data);
        return false;
    }
    *flags = 0;
    for (size_t i = 1; i < words->count; i++) {
        struct slice option = word(words, i);
        if (!slice_starts(option, SLICE("flags="))) {
            buf_printf(error, "ERR Unknown lua shebang option: %.*s", (int)option.size,
                       (const char *)option.data);
            return false;
        }
        if (!add_flags(slice_drop(option, 6), flags, error)) return false;
    }
    return true;
}

bool script_read_flags(struct slice body, uint32_t *flags, size_t *skip, struct buf *error) {
    struct slice line;
    struct words words = {.count = 0};
    *flags = SCRIPT_COMPAT;
    *skip = 0;
    if (!slice_starts(body, SLICE("#!"))) return true;
    if (!first_line(body, &line)) {
        buf_add(error, SLICE("ERR Invalid script shebang"));
        return false;
    }
    *skip = line.size;
    bool good = split(line, &words);
    if (!good)
        buf_add(error, SLICE("ERR Invalid engine in script shebang"));
    else
        good = read_flags(&words, flags, error);
    buf_close(&words.text);
    return good;
}

/* ---- libraries ---- */

static bool read_name(const struct words *words, struct buf *name, struct buf *error) {
    bool named = false;
    for (size_t i = 1; i < words->count; i++) {
        struct slice option = word(words, i);
        if (option.size < 5 || !slice_equal_nocase(slice_take(option, 5), SLICE("name="))) {
            buf_printf(error, "ERR Invalid metadata value given: %.*s", (int)option.size,
                       (const char *)option.data);
            return false;
        }
        if (named) {
            buf_add(error,
                    SLICE("ERR Invalid metadata value, name argument was given multiple times"));
            return false;
        }
        named = true;
        buf_add(name, slice_drop(option, 5));
    }
    if (!named) buf_add(error, SLICE("ERR Library name was not given"));
    return named;
}

bool script_read_library(struct slice body, struct buf *name, size_t *skip, struct buf *error) {
    struct slice line;
    struct words words = {.count = 0};
    if (!slice_starts(body, SLICE("#!"))) {
        buf_add(error, SLICE("ERR Missing library metadata"));
        return false;
    }
    bool good = first_line(body, &line) && split(line, &words);
    if (!good) {
        buf_add(error, SLICE("ERR Invalid library metadata"));
        buf_close(&words.text);
        return false;
    }
    *skip = line.size;
    good = read_name(&words, name, error);
    struct slice engine = slice_drop(word(&words, 0), 2);
    if (good && !function_name_is_fine(buf_slice(name))) {
        buf_add(error, SLICE("ERR Library names can only contain letters, numbers, or "
                             "underscores(_) and must be at "
                             "least one character long"));
        good = false;
    } else if (good && !slice_equal_nocase(engine, SLICE("lua"))) {
        buf_printf(error, "ERR Engine '%.*s' not found", (int)engine.size,
                   (const char *)engine.data);
        good = false;
    }
    buf_close(&words.text);
    return good;
}

/* ---- commands that run scripts ---- */

uint32_t script_adjust_flags(uint32_t command_flags, uint32_t script_flags) {
    const uint32_t declared =
        COMMAND_STALE | COMMAND_DENYOOM | COMMAND_WRITE | COMMAND_MAY_REPLICATE;
    uint32_t flags = command_flags & ~declared;
    if (!(script_flags & (SCRIPT_ALLOW_OOM | SCRIPT_NO_WRITES))) flags |= COMMAND_DENYOOM;
    if (!(script_flags & SCRIPT_NO_WRITES)) flags |= COMMAND_WRITE;
    if (script_flags & SCRIPT_ALLOW_STALE) flags |= COMMAND_STALE;
    return flags;
}

static bool flags_of_eval(struct client *c, bool by_sha, uint32_t *flags) {
    char sha[41];
    if (!script_hint(c, by_sha, sha)) return false;
    const struct script_entry *entry = script_find(c->engine, sha);
    if (entry) {
        *flags = entry->flags;
        return true;
    }
    size_t skip;
    struct buf error = {0};
    bool good = !by_sha && script_read_flags(c->argv[1], flags, &skip, &error);
    buf_close(&error);
    return good;
}

uint32_t script_command_flags(struct client *c, const struct command *command) {
    uint32_t flags;
    if (c->engine->scripts == NULL || c->argc < 3) return command->flags;
    bool known = strncmp(command->name, "fcall", 5) == 0
                     ? function_flags(c->engine, c->argv[1], &flags)
                 : strncmp(command->name, "eval", 4) == 0
                     ? flags_of_eval(c, strncmp(command->name, "evalsha", 7) == 0, &flags)
                     : false;
    if (!known || flags & SCRIPT_COMPAT) return command->flags;
    return script_adjust_flags(command->flags, flags);
}
