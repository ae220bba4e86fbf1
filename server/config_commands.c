/* config_commands.c -- CONFIG GET, SET, RESETSTAT, REWRITE. */
#include "server/config_inside.h"

#include "lib/base/mem.h"
#include "server/acl.h"
#include "server/args.h"
#include "server/errors.h"
#include "server/latency.h"
#include "server/quote.h"
#include "server/reply.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define SET_MAX 64 /* options in one CONFIG SET */

static bool matches_any(struct client *c, const char *name) {
    for (int i = 2; i < c->argc; i++)
        if (pattern_matches(c->argv[i], slice_text(name), true)) return true;
    return false;
}

static bool named(struct client *c, const char *name) {
    for (int i = 2; i < c->argc; i++)
        if (arg_is(c->argv[i], name)) return true;
    return false;
}

/* Those that Redis shows only to who knows their names. */
static bool is_hidden(const char *name) {
    return strstr(name, "-delay") != NULL ||
           strcmp(name, "loading-process-events-interval-bytes") == 0 ||
           strcmp(name, "maxmemory-eviction-tenacity") == 0 ||
           strcmp(name, "use-exit-on-panic") == 0 || strcmp(name, "watchdog-period") == 0 ||
           strcmp(name, "socket-mark-id") == 0;
}

static void reply_option(struct client *c, const char *name, const struct config_option *option) {
    struct buf value = {0};
    config_write_value(c->engine, option, &value);
    reply_bulk_text(c, name);
    reply_bulk(c, buf_slice(&value));
    buf_close(&value);
}

static void run_get(struct client *c) {
    struct engine_config *config = c->engine->config;
    size_t mark = reply_later(c), count = 0;
    for (size_t t = 0; t < config->table_count; t++)
        for (size_t i = 0; i < config->tables[t].count; i++) {
            const struct config_option *option = &config->tables[t].options[i];
            if (option->flags & CONFIG_HIDDEN && !named(c, option->name)) continue;
            if (matches_any(c, option->name)) reply_option(c, option->name, option), count++;
            if (option->alias && matches_any(c, option->alias))
                reply_option(c, option->alias, option), count++;
        }
    for (size_t i = 0; i < config_kept_count; i++) {
        if (!matches_any(c, config_kept[i].name) ||
            (is_hidden(config_kept[i].name) && !named(c, config_kept[i].name)))
            continue;
        reply_bulk_text(c, config_kept[i].name);
        reply_bulk_text(c, config->kept[i]);
        count++;
    }
    reply_later_map(c, mark, count);
}

/* ---- SET: all or nothing ---- */

struct change {
    const struct config_option *option; /* NULL: kept */
    int kept;
    struct slice name, value;
    struct buf before;
};

static bool find_changes(struct client *c, struct change *changes, int count) {
    for (int i = 0; i < count; i++) {
        struct change *change = &changes[i];
        *change = (struct change){.name = c->argv[2 + i * 2], .value = c->argv[3 + i * 2]};
        int shown = (int)(change->name.size < 128 ? change->name.size : 128);
        const char *text = (const char *)change->name.data;
        change->option = config_find(c->engine, change->name);
        change->kept = change->option ? -1 : config_find_kept(change->name);
        if (change->option == NULL && change->kept < 0) {
            reply_error(c, "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
                        shown, text);
            return false;
        }
        unsigned flags = change->option ? change->option->flags : 0;
        const char *wrong = flags & CONFIG_FIXED ? "can't set immutable config" : NULL;
        if (flags & CONFIG_PROTECTED && c->engine->settings.enable_protected_configs == 0)
            wrong = "can't set protected config";
        if (!wrong && flags & CONFIG_SETTLED && c->engine->loading) {
            reply_error(c, "LOADING Redis is loading the dataset in memory");
            return false;
        }
        for (int n = 0; n < i; n++)
            if (change->option == changes[n].option && change->kept == changes[n].kept)
                wrong = "duplicate parameter";
        if (wrong) {
            reply_error(c, "ERR CONFIG SET failed (possibly related to argument '%.*s') - %s",
                        shown, text, wrong);
            return false;
        }
    }
    return true;
}

static enum err put(struct engine *engine, struct change *change, struct slice value,
                    struct why *why) {
    if (change->option == NULL) {
        mem_free(engine->config->kept[change->kept]);
        struct buf text = {0};
        buf_add(&text, value);
        engine->config->kept[change->kept] = mem_strdup(buf_text(&text));
        buf_close(&text);
        return OK;
    }
    struct slice words[64];
    struct buf room = {0};
    bool split = change->option->flags & CONFIG_MULTI;
    int count = split ? config_split(value, &room, words, (int)COUNT(words)) : 1;
    engine->save_was_set = false;
    enum err err =
        count < 0 ? why_set(why, ERR_CONFIG, "unbalanced quotes")
                  : config_read_value(engine, change->option, count, split ? words : &value, why);
    buf_close(&room);
    return err;
}

static enum err apply(struct engine *engine, const struct change *change, struct why *why) {
    if (change->option == NULL) return OK;
    if (change->option->apply) {
        enum err err = change->option->apply(engine, why);
        if (err != OK) return err;
    }
    for (size_t i = 0; i < engine->config->watcher_count; i++) {
        if (strcmp(engine->config->watchers[i].name, change->option->name) != 0) continue;
        enum err err = engine->config->watchers[i].fn(engine, why);
        if (err != OK) return err;
    }
    return OK;
}

static void run_set(struct client *c) {
    struct change changes[SET_MAX];
    int count = (c->argc - 2) / 2;
    struct why why = {{0}}, ignored;
    if (c->argc % 2 || count > SET_MAX) {
        reply_error(c, "ERR wrong number of arguments for 'config|set' command");
        return;
    }
    if (!find_changes(c, changes, count)) return;
    enum err err = OK;
    int done = 0, at = 0;
    for (; err == OK && done < count; done++) {
        struct change *change = &changes[done];
        at = done;
        if (change->option)
            config_write_value(c->engine, change->option, &change->before);
        else
            buf_printf(&change->before, "%s", c->engine->config->kept[change->kept]);
        err = put(c->engine, change, change->value, &why);
    }
    for (int i = 0; err == OK && i < count; i++) {
        at = i;
        err = apply(c->engine, &changes[i], &why);
    }
    if (err != OK) {
        for (int i = 0; i < done; i++)
            (void)put(c->engine, &changes[i], buf_slice(&changes[i].before), &ignored);
        for (int i = 0; i < done; i++) (void)apply(c->engine, &changes[i], &ignored);
        reply_error(c, "ERR CONFIG SET failed (possibly related to argument '%.*s') - %s",
                    (int)changes[at].name.size, (const char *)changes[at].name.data, why.text);
    } else
        reply_ok(c);
    for (int i = 0; i < done; i++) buf_close(&changes[i].before);
}

static void run_resetstat(struct client *c) {
    struct engine *engine = c->engine;
    uint64_t peak = engine->client_count;
    size_t memory_peak = engine->stats.memory_peak;
    engine->stats = (struct engine_stats){.peak_clients = peak, .memory_peak = memory_peak};
    engine->rate = (struct engine_rate){.at_us = engine->now_us};
    for (size_t i = 0; i < command_count; i++) {
        struct command_use *use = &engine->uses[i];
        use->calls = use->micros = use->rejected = use->failed = 0;
    }
    latency_forget_histograms(engine);
    errors_reset(engine);
    reply_ok(c);
}

/* ---- REWRITE ---- */

static void write_line(struct engine *engine, const struct config_option *option, struct buf *out) {
    struct buf value = {0};
    config_write_value(engine, option, &value);
    buf_printf(out, "%s ", option->name);
    if (option->flags & CONFIG_MULTI && buf_size(&value) > 0)
        buf_add(out, buf_slice(&value));
    else if (option->kind == CONFIG_TEXT || option->kind == CONFIG_CUSTOM)
        quote_add(out, buf_slice(&value));
    else
        buf_add(out, buf_slice(&value));
    buf_byte(out, '\n');
    buf_close(&value);
}

static bool is_default(struct engine *engine, const struct config_option *option) {
    struct buf value = {0};
    config_write_value(engine, option, &value);
    bool same = slice_equal(buf_slice(&value), slice_text(option->fallback));
    int64_t bytes;
    if (option->kind == CONFIG_MEMORY && config_read_memory(slice_text(option->fallback), &bytes))
        same = *(int64_t *)((char *)&engine->settings + option->offset) == bytes;
    if (strcmp(option->name, "client-output-buffer-limit") == 0)
        same = slice_equal(
            buf_slice(&value),
            SLICE("normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"));
    buf_close(&value);
    return same;
}

/* Each line that sets an option that we know gets its value of now, once; all others stay. */
static void rewrite_line(struct engine *engine, struct slice line, bool *written, struct buf *out) {
    struct slice words[64];
    struct buf room = {0};
    int count = line.size > 0 && line.data[0] != '#'
                    ? config_split(line, &room, words, (int)COUNT(words))
                    : 0;
    const struct config_option *option = count > 1 ? config_find(engine, words[0]) : NULL;
    size_t index = 0;
    for (size_t t = 0; option && t < engine->config->table_count; t++) {
        const struct config_option *first = engine->config->tables[t].options;
        if (option >= first && option < first + engine->config->tables[t].count) {
            index += (size_t)(option - first);
            break;
        }
        index += engine->config->tables[t].count;
    }
    if (count > 1 && arg_is(words[0], "user")) {
        /* all of them are written anew */
    } else if (option == NULL) {
        buf_add(out, line);
        buf_byte(out, '\n');
    } else if (!written[index]) {
        written[index] = true;
        write_line(engine, option, out);
    }
    buf_close(&room);
}

static void rewrite_text(struct engine *engine, struct slice old, struct buf *out) {
    size_t total = 0;
    for (size_t t = 0; t < engine->config->table_count; t++)
        total += engine->config->tables[t].count;
    bool *written = NEW_ARRAY(bool, total);
    while (old.size > 0) {
        const uint8_t *end = memchr(old.data, '\n', old.size);
        size_t size = end ? (size_t)(end - old.data) : old.size;
        rewrite_line(engine, slice_take(old, size), written, out);
        old = slice_drop(old, end ? size + 1 : size);
    }
    size_t index = 0;
    bool headed = false;
    acl_write_users(engine, out);
    for (size_t t = 0; t < engine->config->table_count; t++)
        for (size_t i = 0; i < engine->config->tables[t].count; i++, index++) {
            const struct config_option *option = &engine->config->tables[t].options[i];
            if (written[index] || is_default(engine, option)) continue;
            if (!headed) buf_printf(out, "# Generated by CONFIG REWRITE\n");
            headed = true;
            write_line(engine, option, out);
        }
    mem_free(written);
}

static enum err replace_file(const char *path, struct slice text, struct why *why) {
    char *temporary = mem_alloc(strlen(path) + 5);
    sprintf(temporary, "%s.new", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool good = fd >= 0;
    for (size_t at = 0; good && at < text.size;) {
        ssize_t put_bytes = write(fd, text.data + at, text.size - at);
        good = put_bytes > 0;
        if (good) at += (size_t)put_bytes;
    }
    good = good && fsync(fd) == 0 && rename(temporary, path) == 0;
    enum err err = good ? OK : why_set(why, ERR_IO, "%s", strerror(errno));
    if (fd >= 0) close(fd);
    mem_free(temporary);
    return err;
}

enum err config_rewrite(struct engine *engine, struct why *why) {
    struct buf old = {0}, new = {0};
    FILE *file = fopen(engine->config_file, "r");
    size_t got;
    while (file && (got = fread(buf_room(&old, 4096), 1, 4096, file)) > 0) buf_filled(&old, got);
    if (file) fclose(file);
    rewrite_text(engine, buf_slice(&old), &new);
    enum err err = replace_file(engine->config_file, buf_slice(&new), why);
    buf_close(&old);
    buf_close(&new);
    return err;
}

static void run_rewrite(struct client *c) {
    struct why why = {{0}};
    if (c->engine->config_file == NULL)
        reply_error(c, "ERR The server is running without a config file");
    else if (config_rewrite(c->engine, &why) != OK)
        reply_error(c, "ERR Rewriting config file: %s", why.text);
    else
        reply_ok(c);
}

static void run_help(struct client *c) {
    static const char *const help[] = {"GET <pattern>",
                                       "    Options whose names match, with their values.",
                                       "SET <directive> <value>",
                                       "    Change options, all or none.",
                                       "RESETSTAT",
                                       "    Set the counters of INFO to zero.",
                                       "REWRITE",
                                       "    Write the values of now into the configuration file.",
                                       NULL};
    reply_help(c, help);
}

void config_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"config|get", run_get},
                                                      {"config|set", run_set},
                                                      {"config|resetstat", run_resetstat},
                                                      {"config|rewrite", run_rewrite},
                                                      {"config|help", run_help}};
    command_bind(engine, bindings, COUNT(bindings));
}
