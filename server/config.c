/* config.c -- options: found by name, read, written; files and the command line. */
#include "server/config_inside.h"

#include "lib/base/mem.h"
#include "lib/redis/resp.h"
#include "server/acl.h"
#include "server/args.h"
#include "server/start.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define FILE_BYTES_MAX (16u << 20)
#define LINE_WORDS_MAX 64
#define INCLUDES_MAX 16

void config_register(struct engine *engine, const struct config_option *options, size_t count) {
    struct engine_config *config = engine->config;
    ASSERT(config->table_count < CONFIG_TABLES_MAX);
    config->tables[config->table_count].options = options;
    config->tables[config->table_count++].count = count;
    for (size_t i = 0; i < count; i++) { /* defaults */
        struct slice words[LINE_WORDS_MAX];
        struct buf room = {0};
        struct why why = {{0}};
        int argc = 1;
        if (options[i].flags & CONFIG_MULTI)
            argc = config_split(slice_text(options[i].fallback), &room, words, LINE_WORDS_MAX);
        else
            words[0] = slice_text(options[i].fallback);
        enum err err = config_read_value(engine, &options[i], argc, words, &why);
        ASSERT(err == OK);
        buf_close(&room);
    }
}

void config_watch(struct engine *engine, const char *name, config_changed *fn) {
    struct engine_config *config = engine->config;
    ASSERT(config->watcher_count < CONFIG_WATCHERS_MAX);
    config->watchers[config->watcher_count].name = name;
    config->watchers[config->watcher_count++].fn = fn;
}

void config_init(struct engine *engine) {
    engine->config = NEW(struct engine_config);
    engine->config->kept = NEW_ARRAY(char *, config_kept_count);
    for (size_t i = 0; i < config_kept_count; i++)
        engine->config->kept[i] = mem_strdup(config_kept[i].fallback);
    config_core_register(engine);
}

const struct config_option *config_find(struct engine *engine, struct slice name) {
    for (size_t t = 0; t < engine->config->table_count; t++)
        for (size_t i = 0; i < engine->config->tables[t].count; i++) {
            const struct config_option *option = &engine->config->tables[t].options[i];
            if (arg_is(name, option->name) || (option->alias && arg_is(name, option->alias)))
                return option;
        }
    return NULL;
}

int config_find_kept(struct slice name) {
    for (size_t i = 0; i < config_kept_count; i++)
        if (arg_is(name, config_kept[i].name) ||
            (config_kept[i].alias && arg_is(name, config_kept[i].alias)))
            return (int)i;
    return -1;
}

/* ---- values ---- */

static void *field(struct engine *engine, const struct config_option *option) {
    return (char *)&engine->settings + option->offset;
}

bool config_read_memory(struct slice text, int64_t *bytes) {
    static const struct {
        const char *unit;
        int64_t factor;
    } units[] = {{"b", 1},        {"k", 1000},       {"kb", 1024},   {"m", 1000000},
                 {"mb", 1 << 20}, {"g", 1000000000}, {"gb", 1 << 30}};
    size_t digits = 0;
    while (digits < text.size &&
           (text.data[digits] == '-' || (text.data[digits] >= '0' && text.data[digits] <= '9')))
        digits++;
    int64_t number, factor = 1;
    if (digits < text.size) {
        factor = 0;
        for (size_t i = 0; i < COUNT(units); i++)
            if (arg_is(slice_drop(text, digits), units[i].unit)) factor = units[i].factor;
    }
    return factor > 0 && slice_to_int(slice_take(text, digits), &number) &&
           !__builtin_mul_overflow(number, factor, bytes);
}

static bool read_octal(struct slice text, int64_t *number) {
    char copy[24], *end;
    if (text.size == 0 || text.size >= sizeof copy) return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    *number = strtoll(copy, &end, 8);
    return *end == '\0';
}

static enum err read_number(const struct config_option *o, struct slice text, int64_t *number,
                            struct why *why) {
    if (o->kind == CONFIG_MEMORY && !config_read_memory(text, number))
        return why_set(why, ERR_CONFIG, "argument must be a memory value");
    if (o->kind == CONFIG_OCTAL && !read_octal(text, number))
        return why_set(why, ERR_CONFIG, "argument couldn't be parsed as an octal number");
    if (o->kind == CONFIG_INT && !slice_to_int(text, number))
        return why_set(why, ERR_CONFIG, "argument couldn't be parsed into an integer");
    if (*number < o->min || *number > o->max)
        return why_set(why, ERR_CONFIG, "argument must be between %lld and %lld inclusive",
                       (long long)o->min, (long long)o->max);
    return OK;
}

static enum err read_enum(const struct config_option *o, struct slice text, int64_t *number,
                          struct why *why) {
    for (int i = 0; o->names[i]; i++)
        if (arg_is(text, o->names[i])) {
            *number = i;
            return OK;
        }
    enum err err = why_set(why, ERR_CONFIG, "argument(s) must be one of the following: ");
    for (int i = 0; o->names[i]; i++) {
        size_t used = strlen(why->text);
        snprintf(why->text + used, sizeof why->text - used, "%s%s", i ? ", " : "", o->names[i]);
    }
    return err;
}

static char *join(int argc, const struct slice *argv) {
    struct buf text = {0};
    for (int i = 0; i < argc; i++) {
        if (i > 0) buf_byte(&text, ' ');
        buf_add(&text, argv[i]);
    }
    char *copy = mem_strdup(buf_text(&text));
    buf_close(&text);
    return copy;
}

enum err config_read_value(struct engine *engine, const struct config_option *o, int argc,
                           const struct slice *argv, struct why *why) {
    if (o->kind == CONFIG_CUSTOM) return o->read(engine, argc, argv, why);
    if (argc != 1 && !(o->flags & CONFIG_MULTI))
        return why_set(why, ERR_CONFIG, "wrong number of arguments");
    if (o->kind == CONFIG_TEXT) {
        char **text = field(engine, o);
        mem_free(*text);
        *text = join(argc, argv);
        return OK;
    }
    int64_t number = 0;
    enum err err = OK;
    if (o->kind == CONFIG_BOOL) {
        if (!arg_is(argv[0], "yes") && !arg_is(argv[0], "no"))
            return why_set(why, ERR_CONFIG, "argument must be 'yes' or 'no'");
        *(bool *)field(engine, o) = arg_is(argv[0], "yes");
        return OK;
    }
    if (o->kind == CONFIG_ENUM)
        err = read_enum(o, argv[0], &number, why);
    else
        err = read_number(o, argv[0], &number, why);
    if (err == OK) *(int64_t *)field(engine, o) = number;
    return err;
}

void config_write_value(struct engine *engine, const struct config_option *o, struct buf *out) {
    switch (o->kind) {
    case CONFIG_BOOL: buf_printf(out, "%s", *(bool *)field(engine, o) ? "yes" : "no"); break;
    case CONFIG_INT:
    case CONFIG_MEMORY: buf_printf(out, "%lld", (long long)*(int64_t *)field(engine, o)); break;
    case CONFIG_OCTAL:
        buf_printf(out, "%llo", (unsigned long long)*(int64_t *)field(engine, o));
        break;
    case CONFIG_TEXT: buf_printf(out, "%s", *(char **)field(engine, o)); break;
    case CONFIG_ENUM: buf_printf(out, "%s", o->names[*(int64_t *)field(engine, o)]); break;
    case CONFIG_CUSTOM: o->write(engine, out); break;
    }
}

int config_split(struct slice text, struct buf *room, struct slice *words, int max) {
    struct resp_span spans[LINE_WORDS_MAX];
    size_t count = 0, base = buf_size(room);
    struct why why;
    if (max > LINE_WORDS_MAX) max = LINE_WORDS_MAX;
    if (resp_split_line(text, room, spans, (size_t)max, &count, &why) != OK) return -1;
    for (size_t i = 0; i < count; i++)
        words[i] = slice_from(buf_slice(room).data + base + spans[i].at, spans[i].size);
    return (int)count;
}

enum err config_set(struct engine *engine, struct slice name, int argc, const struct slice *argv,
                    struct why *why) {
    const struct config_option *option = config_find(engine, name);
    if (arg_is(name, "user")) return acl_config_user(engine, argc, argv, why);
    if (arg_is(name, "rename-command")) {
        if (argc == 1 && argv[0].size == 0) return OK;
        if (argc != 2) return why_set(why, ERR_CONFIG, "wrong number of arguments");
        return command_rename(engine, argv[0], argv[1], why);
    }
    if (option) {
        struct buf room = {0};
        struct slice words[LINE_WORDS_MAX];
        bool split = option->flags & CONFIG_MULTI && argc == 1; /* save "900 1 300 10" */
        int count = split ? config_split(argv[0], &room, words, LINE_WORDS_MAX) : argc;
        enum err err = count < 0
                           ? why_set(why, ERR_CONFIG, "unbalanced quotes")
                           : config_read_value(engine, option, count, split ? words : argv, why);
        buf_close(&room);
        return err == OK ? OK : why_add(why, err, "%s", option->name);
    }
    int kept = config_find_kept(name);
    if (kept < 0)
        return why_set(why, ERR_CONFIG, "there is no option '%.*s'", (int)name.size,
                       (const char *)name.data);
    mem_free(engine->config->kept[kept]);
    engine->config->kept[kept] = join(argc, argv);
    return OK;
}

/* ---- files and the command line ---- */

static enum err read_file(struct engine *engine, const char *path, int depth, struct why *why);

static enum err read_line(struct engine *engine, struct slice line, int depth, struct why *why) {
    struct buf room = {0};
    struct slice words[LINE_WORDS_MAX];
    size_t skip = 0;
    while (skip < line.size && (line.data[skip] == ' ' || line.data[skip] == '\t')) skip++;
    line = slice_drop(line, skip);
    if (line.size == 0 || line.data[0] == '#') return OK;
    int count = config_split(line, &room, words, LINE_WORDS_MAX);
    enum err err = OK;
    if (count < 0)
        err = why_set(why, ERR_CONFIG, "unbalanced quotes");
    else if (count == 2 && arg_is(words[0], "include")) {
        char *path = join(1, words + 1);
        err = read_file(engine, path, depth + 1, why);
        mem_free(path);
    } else if (count == 1 && arg_is(words[0], "save")) {
        err = config_set(engine, words[0], 0, NULL, why); /* none, as Redis takes it */
    } else if (count == 1)
        err = why_set(why, ERR_CONFIG, "'%.*s' has no value", (int)words[0].size,
                      (const char *)words[0].data);
    else if (count > 1)
        err = config_set(engine, words[0], count - 1, words + 1, why);
    buf_close(&room);
    return err;
}

static enum err read_text(struct engine *engine, const char *path, struct slice text, int depth,
                          struct why *why) {
    for (int number = 1; text.size > 0; number++) {
        const uint8_t *end = memchr(text.data, '\n', text.size);
        size_t size = end ? (size_t)(end - text.data) : text.size;
        struct slice line = slice_take(text, size);
        if (line.size > 0 && line.data[line.size - 1] == '\r') line.size--;
        enum err err = read_line(engine, line, depth, why);
        if (err != OK) return why_add(why, err, "%s:%d", path, number);
        text = slice_drop(text, end ? size + 1 : size);
    }
    return OK;
}

static enum err read_file(struct engine *engine, const char *path, int depth, struct why *why) {
    if (depth > INCLUDES_MAX)
        return why_set(why, ERR_LIMIT, "more than %d files include each other", INCLUDES_MAX);
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    if (file == NULL) return why_set(why, ERR_IO, "%s: %s", path, strerror(errno));
    struct buf text = {0};
    size_t got;
    while ((got = fread(buf_room(&text, 4096), 1, 4096, file)) > 0 &&
           buf_size(&text) < FILE_BYTES_MAX)
        buf_filled(&text, got);
    if (file != stdin) fclose(file);
    enum err err = read_text(engine, path, buf_slice(&text), depth, why);
    buf_close(&text);
    return err;
}

static bool is_option(const char *arg) {
    return arg[0] == '-' && arg[1] == '-';
}

/* The option as it stands on the command line, for a mistake in it. */
static enum err bad_option(struct slice name, int count, const struct slice *words, enum err err,
                           struct why *why) {
    struct buf text = {0};
    buf_byte(&text, '\'');
    buf_add(&text, name);
    for (int i = 0; i < count; i++)
        buf_printf(&text, " \"%.*s\"", (int)words[i].size, (const char *)words[i].data);
    buf_byte(&text, '\'');
    err = why_add(why, err, "%s", buf_text(&text));
    buf_close(&text);
    return err;
}

/* --name value ..., or all of it in one argument: "--name value". What follows a name at once is
 * its value, even if it begins with --. */
static enum err read_option(struct engine *engine, int argc, char **argv, int *at,
                            struct why *why) {
    struct slice words[LINE_WORDS_MAX] = {0}, whole = slice_text(argv[*at]);
    struct buf room = {0};
    int count = config_split(is_option(argv[*at]) ? slice_drop(whole, 2) : whole, &room, words, 2);
    (*at)++;
    if (count < 1) {
        buf_close(&room);
        return why_set(why, ERR_CONFIG, "'%s' is not an option", argv[*at - 1]);
    }
    struct slice name = words[0];
    bool alone = count == 1, save = arg_is(name, "save");
    bool none = save && (*at == argc || is_option(argv[*at])); /* --save alone: never */
    for (count--; *at < argc && count < LINE_WORDS_MAX - 1; (*at)++) {
        bool first = alone && count == 0;
        if (is_option(argv[*at]) && (!first || none)) break;
        words[1 + count++] = slice_text(argv[*at]);
    }
    bool empty = count == 0 && !none && arg_is(name, "shutdown-on-sigint") == false &&
                 arg_is(name, "shutdown-on-sigterm") == false;
    enum err err = empty ? why_set(why, ERR_CONFIG, "wrong number of arguments")
                         : config_set(engine, name, count, words + 1, why);
    if (err != OK) err = bad_option(name, count, words + 1, err, why);
    buf_close(&room);
    return err;
}

enum err config_read_all(struct engine *engine, int argc, char **argv, struct why *why) {
    int at = 1;
    enum err err = OK;
    engine->save_was_set = false; /* the first `save` replaces the defaults, the others add to it */
    if (argc > 1 && !is_option(argv[1])) {
        char *path = realpath(argv[1], NULL);
        if (path == NULL && strcmp(argv[1], "-") != 0)
            return why_set(why, ERR_IO, "%s: %s", argv[1], strerror(errno));
        if (path) engine->config_file = mem_strdup(path);
        free(path);
        err = read_file(engine, argv[1], 0, why);
        at = 2;
    }
    while (err == OK && at < argc) {
        err = read_option(engine, argc, argv, &at, why);
    }
    return err;
}
