/* config_commands.c -- CONFIG GET, SET, RESETSTAT, REWRITE. */
#include "server/config_inside.h"

#include "lib/base/mem.h"
#include "server/acl.h"
#include "server/args.h"
#include "server/errors.h"
#include "server/latency.h"
#include "server/quote.h"
#include "server/reply.h"
#include "server/snapshot.h"

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

/* Those that Redis 7.0 shows only to who knows their names, or does not know. */
static bool is_hidden(const char *name) {
    static const char *const names[] = {"loading-process-events-interval-bytes",
                                        "use-exit-on-panic",
                                        "watchdog-period",
                                        "loadmodule",
                                        "locale-collate",
                                        "tcp-user-timeout"};
    for (size_t i = 0; i < COUNT(names); i++)
        if (strcmp(name, names[i]) == 0) return true;
    return strstr(name, "-delay") != NULL;
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
    for (size_t i = 0; i < config_kept_count; i++) {
        if (config_kept[i].alias == NULL || !matches_any(c, config_kept[i].alias)) continue;
        reply_bulk_text(c, config_kept[i].alias);
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

static bool may_change_protected(const struct client *c) {
    int64_t setting = c->engine->settings.enable_protected_configs; /* no, yes, local */
    bool local = c->flags & CLIENT_UNIX || strncmp(c->peer, "127.", 4) == 0 ||
                 strncmp(c->peer, "[::1]", 5) == 0;
    return setting == 1 || (setting == 2 && local);
}

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
        if (flags & CONFIG_PROTECTED && !may_change_protected(c))
            wrong = "can't set protected config";
        if (!wrong && flags & CONFIG_SETTLED &&
            (c->engine->loading || c->engine->async_loading)) {
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

static bool has_dir(const struct change *changes, int count) {
    for (int i = 0; i < count; i++)
        if (slice_equal_nocase(changes[i].name, SLICE("dir"))) return true;
    return false;
}

/* In another folder than the one of now nothing can be prepared. */
static bool is_prepared_first(struct client *c, const struct change *changes, int count) {
    if (has_dir(changes, count)) return false;
    for (int i = 0; i < count; i++)
        if (changes[i].option && changes[i].option->prepare &&
            changes[i].option->prepare(c, changes[i].value))
            return true;
    return false;
}

static bool is_settled_later(struct client *c, const struct change *changes, int count) {
    for (int i = 0; i < count; i++)
        if (changes[i].option && changes[i].option->settle && changes[i].option->settle(c))
            return true;
    return false;
}

static void set_options(struct client *c, bool may_wait) {
    struct change changes[SET_MAX];
    int count = (c->argc - 2) / 2;
    struct why why = {{0}}, ignored;
    if (c->argc % 2 || count > SET_MAX) {
        reply_error(c, "ERR wrong number of arguments for 'config|set' command");
        return;
    }
    if (!find_changes(c, changes, count)) return;
    if (may_wait && is_prepared_first(c, changes, count)) return;
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
    }
    for (int i = 0; i < done; i++) buf_close(&changes[i].before);
    for (int i = 0; i < count; i++)
        if (changes[i].option && changes[i].option->flags & CONFIG_SECRET) acl_redact(c, 3 + i * 2);
    bool is_later = err == OK && may_wait && is_settled_later(c, changes, count);
    if (err == OK && !is_later) reply_ok(c);
}

static void run_set(struct client *c) {
    set_options(c, true);
}

void config_set_now(struct client *c) {
    set_options(c, false);
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
    engine_stream_reset_stats(engine);
    latency_forget_histograms(engine);
    snapshot_turns_forget(engine);
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

static void write_kept(struct engine *engine, size_t kept, struct buf *out) {
    buf_printf(out, "%s ", config_kept[kept].name);
    quote_add(out, slice_text(engine->config->kept[kept]));
    buf_byte(out, '\n');
}

/* The place of an option among all: those of the tables, then those that are only remembered. */
static size_t option_count(const struct engine_config *config) {
    size_t count = 0;
    for (size_t t = 0; t < config->table_count; t++) count += config->tables[t].count;
    return count;
}

static size_t option_index(const struct engine_config *config, const struct config_option *option) {
    size_t index = 0;
    for (size_t t = 0; t < config->table_count; t++) {
        const struct config_option *first = config->tables[t].options;
        if (option >= first && option < first + config->tables[t].count)
            return index + (size_t)(option - first);
        index += config->tables[t].count;
    }
    return index;
}

/* Each line that sets an option that we know gets its value of now, once; all others stay. */
static void rewrite_line(struct engine *engine, struct slice line, bool *written, struct buf *out) {
    struct slice words[64];
    struct buf room = {0};
    int count = line.size > 0 && line.data[0] != '#'
                    ? config_split(line, &room, words, (int)COUNT(words))
                    : 0;
    const struct config_option *option = count > 0 ? config_find(engine, words[0]) : NULL;
    bool repeats = count > 0 && arg_is(words[0], "loadmodule"); /* one line does not replace all */
    int kept = count > 1 && option == NULL && !repeats ? config_find_kept(words[0]) : -1;
    size_t index = option      ? option_index(engine->config, option)
                   : kept >= 0 ? option_count(engine->config) + (size_t)kept
                               : 0;
    if (count > 1 && arg_is(words[0], "user")) {
        /* all of them are written anew */
    } else if (option == NULL && kept < 0) {
        buf_add(out, line);
        buf_byte(out, '\n');
    } else if (!written[index]) {
        written[index] = true;
        if (option)
            write_line(engine, option, out);
        else
            write_kept(engine, (size_t)kept, out);
    }
    buf_close(&room);
}

/* What no line of the old file named and is not as it would be without the file. */
static void write_rest(struct engine *engine, bool all, const bool *written, struct buf *out) {
    size_t index = 0;
    bool headed = false;
    struct buf rest = {0};
    for (size_t t = 0; t < engine->config->table_count; t++)
        for (size_t i = 0; i < engine->config->tables[t].count; i++, index++) {
            const struct config_option *option = &engine->config->tables[t].options[i];
            if (!written[index] && (all || !is_default(engine, option)))
                write_line(engine, option, &rest);
        }
    for (size_t i = 0; i < config_kept_count; i++, index++) {
        bool same = strcmp(engine->config->kept[i], config_kept[i].fallback) == 0;
        if (!written[index] && (all || !same)) write_kept(engine, i, &rest);
    }
    acl_write_users(engine, &rest);
    headed = buf_size(&rest) > 0;
    if (headed) buf_printf(out, "# Generated by CONFIG REWRITE\n");
    buf_add(out, buf_slice(&rest));
    buf_close(&rest);
}

static void rewrite_text(struct engine *engine, struct slice old, bool all, struct buf *out) {
    bool *written = NEW_ARRAY(bool, option_count(engine->config) + config_kept_count);
    while (old.size > 0) {
        const uint8_t *end = memchr(old.data, '\n', old.size);
        size_t size = end ? (size_t)(end - old.data) : old.size;
        struct slice line = slice_take(old, size);
        if (!slice_equal(line, SLICE("# Generated by CONFIG REWRITE")))
            rewrite_line(engine, line, written, out);
        old = slice_drop(old, end ? size + 1 : size);
    }
    write_rest(engine, all, written, out);
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

enum err config_rewrite(struct engine *engine, bool all, struct why *why) {
    struct buf old = {0}, new = {0};
    FILE *file = fopen(engine->config_file, "r");
    size_t got;
    while (file && (got = fread(buf_room(&old, 4096), 1, 4096, file)) > 0) buf_filled(&old, got);
    if (file) fclose(file);
    rewrite_text(engine, buf_slice(&old), all, &new);
    enum err err = replace_file(engine->config_file, buf_slice(&new), why);
    buf_close(&old);
    buf_close(&new);
    return err;
}

static void rewrite(struct client *c, bool all) {
    struct why why = {{0}};
    if (c->engine->config_file == NULL)
        reply_error(c, "ERR The server is running without a config file");
    else if (config_rewrite(c->engine, all, &why) != OK)
        reply_error(c, "ERR Rewriting config file: %s", why.text);
    else
        reply_ok(c);
}

static void run_rewrite(struct client *c) {
    rewrite(c, false);
}

/* DEBUG CONFIG-REWRITE-FORCE-ALL */
static void debug_rewrite_all(struct client *c) {
    rewrite(c, true);
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
    engine_debug_add(engine, "config-rewrite-force-all", debug_rewrite_all,
                     "CONFIG-REWRITE-FORCE-ALL");
}
