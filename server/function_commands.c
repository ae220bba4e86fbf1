/* function_commands.c -- FUNCTION and FCALL, and libraries in RDB files. */
#include "server/function.h"

#include "lib/base/mem.h"
#include "lib/redis/crc64.h"
#include "lib/redis/rdb_read.h"
#include "server/args.h"
#include "server/monitor.h"
#include "server/reply.h"

static struct function_set *set_of(const struct engine *engine) {
    return &engine->scripts->functions->set;
}

bool function_flags(const struct engine *engine, struct slice name, uint32_t *flags) {
    const struct function *function = function_set_function(set_of(engine), name);
    if (function == NULL) return false;
    *flags = function->flags;
    return true;
}

void function_count(const struct engine *engine, struct function_totals *totals) {
    const struct functions *functions = engine->scripts->functions;
    *totals = (struct function_totals){
        .libraries = (size_t)table_count(&functions->set.libraries),
        .functions = (size_t)table_count(&functions->set.functions),
        .bytes = functions->set.bytes,
        .interpreter_bytes = functions->vm ? script_vm_memory(functions->vm) : 0,
    };
}

/* With the last library goes the interpreter, and all that the libraries kept in it. */
void functions_flush(struct engine *engine) {
    struct functions *functions = engine->scripts ? engine->scripts->functions : NULL;
    if (functions == NULL) return;
    function_set_clear(&functions->set, functions->vm);
    if (functions->vm) script_vm_close(functions->vm);
    functions->vm = NULL;
}

/* ---- RDB ---- */

void functions_save(const struct engine *engine, struct rdb_writer *writer) {
    struct table_iter iter;
    if (engine->scripts == NULL) return;
    table_iter_init(&iter, &set_of(engine)->libraries);
    for (const struct library *library; (library = table_iter_next(&iter)) != NULL;)
        rdb_writer_function(writer, slice_from(library->code, library->code_size));
}

enum err functions_load(struct engine *engine, struct slice code, bool replace, struct why *why) {
    struct buf name = {0}, error = {0};
    enum err err = OK;
    if (engine->scripts == NULL) return why_set(why, ERR_REFUSED, "this server holds no functions");
    if (!function_set_load(engine, set_of(engine), code, replace, false, &name, &error))
        err = why_set(why, ERR_CORRUPT, "a library of functions cannot be loaded: %s",
                      buf_text(&error));
    buf_close(&name);
    buf_close(&error);
    return err;
}

/* ---- FCALL ---- */

static void fcall(struct client *c, bool ro) {
    if (c->engine->monitor && !(c->flags & CLIENT_LOADING)) monitor_feed(c);
    struct function *function = function_set_function(set_of(c->engine), c->argv[1]);
    if (function == NULL) {
        reply_error(c, "ERR Function not found");
        return;
    }
    int keys;
    if (!script_key_count(c, "Bad number of keys provided", &keys)) return;
    struct script_run run;
    if (!script_begin(&run, functions_interpreter(c->engine), c, function->name, function->flags,
                      false, ro))
        return;
    script_run(&run, function->callback, c->argv + 3, keys, c->argv + 3 + keys, c->argc - 3 - keys);
}

static void run_fcall(struct client *c) {
    fcall(c, false);
}

static void run_fcall_ro(struct client *c) {
    fcall(c, true);
}

/* ---- LOAD, DELETE, FLUSH ---- */

static bool obeyed(const struct client *c) {
    return c->flags & (CLIENT_MASTER | CLIENT_LOADING);
}

static void run_load(struct client *c) {
    bool replace = false;
    for (int i = 2; i < c->argc - 1; i++) {
        if (!arg_is(c->argv[i], "replace")) {
            reply_error(c, "ERR Unknown option given: %.*s", (int)c->argv[i].size,
                        (const char *)c->argv[i].data);
            return;
        }
        replace = true;
    }
    struct buf name = {0}, error = {0};
    if (function_set_load(c->engine, set_of(c->engine), c->argv[c->argc - 1], replace, !obeyed(c),
                          &name, &error)) {
        c->engine->dirty++;
        reply_bulk(c, buf_slice(&name));
    } else
        reply_error(c, "%s", buf_text(&error));
    buf_close(&name);
    buf_close(&error);
}

static void run_delete(struct client *c) {
    struct function_set *set = set_of(c->engine);
    struct library *library = function_set_library(set, c->argv[2]);
    if (library == NULL) {
        reply_error(c, "ERR Library not found");
        return;
    }
    function_set_take(set, library);
    library_free(library, functions_interpreter(c->engine));
    c->engine->dirty++;
    reply_ok(c);
}

static void run_flush(struct client *c) {
    if (c->argc > 3) {
        reply_unknown_subcommand(c);
        return;
    }
    if (c->argc == 3 && !arg_is(c->argv[2], "sync") && !arg_is(c->argv[2], "async")) {
        reply_error(c, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
        return;
    }
    functions_flush(c->engine);
    c->engine->dirty++;
    reply_ok(c);
}

/* ---- LIST, STATS ---- */

static void reply_function(struct client *c, const struct function *function) {
    reply_map(c, 3);
    reply_bulk_text(c, "name");
    reply_bulk_text(c, function->name);
    reply_bulk_text(c, "description");
    if (function->description)
        reply_bulk_text(c, function->description);
    else
        reply_null(c);
    reply_bulk_text(c, "flags");
    reply_set(c, (size_t)__builtin_popcount(function->flags));
    for (unsigned i = 0; script_flag_names[i]; i++)
        if (function->flags & 1u << i) reply_simple(c, script_flag_names[i]);
}

static void reply_library(struct client *c, const struct library *library, bool with_code) {
    reply_map(c, with_code ? 4 : 3);
    reply_bulk_text(c, "library_name");
    reply_bulk_text(c, library->name);
    reply_bulk_text(c, "engine");
    reply_bulk_text(c, "LUA");
    reply_bulk_text(c, "functions");
    reply_array(c, library->count);
    for (const struct function *f = library->functions; f; f = f->next) reply_function(c, f);
    if (!with_code) return;
    reply_bulk_text(c, "library_code");
    reply_bulk(c, slice_from(library->code, library->code_size));
}

static void run_list(struct client *c) {
    bool with_code = false, chosen = false;
    struct slice pattern = SLICE("");
    for (int i = 2; i < c->argc; i++) {
        if (!with_code && arg_is(c->argv[i], "withcode"))
            with_code = true;
        else if (!chosen && arg_is(c->argv[i], "libraryname")) {
            if (i + 1 >= c->argc) {
                reply_error(c, "ERR library name argument was not given");
                return;
            }
            chosen = true;
            pattern = c->argv[++i];
        } else {
            reply_error(c, "ERR Unknown argument %.*s", (int)c->argv[i].size,
                        (const char *)c->argv[i].data);
            return;
        }
    }
    size_t mark = reply_later(c), count = 0;
    struct table_iter iter;
    table_iter_init(&iter, &set_of(c->engine)->libraries);
    for (const struct library *library; (library = table_iter_next(&iter)) != NULL;) {
        if (chosen && !pattern_matches(pattern, slice_text(library->name), true)) continue;
        reply_library(c, library, with_code);
        count++;
    }
    reply_later_array(c, mark, count);
}

static void reply_running(struct client *c, const struct script_run *run) {
    uint64_t now_us = clock_mono_us(c->engine->clock);
    reply_map(c, 3);
    reply_bulk_text(c, "name");
    reply_bulk_text(c, run->name);
    reply_bulk_text(c, "command");
    reply_array(c, (size_t)run->caller->argc);
    for (int i = 0; i < run->caller->argc; i++) reply_bulk(c, run->caller->argv[i]);
    reply_bulk_text(c, "duration_ms");
    reply_int(c, (int64_t)((now_us - run->began_us) / 1000));
}

static void run_stats(struct client *c) {
    const struct script_run *run = c->engine->scripts->run;
    struct function_totals totals;
    if (run && run->is_eval) {
        reply_error(c, "%s", script_busy_error(c->engine));
        return;
    }
    function_count(c->engine, &totals);
    reply_map(c, 2);
    reply_bulk_text(c, "running_script");
    if (run)
        reply_running(c, run);
    else
        reply_null(c);
    reply_bulk_text(c, "engines");
    reply_map(c, 1);
    reply_bulk_text(c, "LUA");
    reply_map(c, 2);
    reply_bulk_text(c, "libraries_count");
    reply_int(c, (int64_t)totals.libraries);
    reply_bulk_text(c, "functions_count");
    reply_int(c, (int64_t)totals.functions);
}

static void run_kill(struct client *c) {
    script_kill(c, false);
}

/* ---- DUMP, RESTORE ---- */

struct memory_sink {
    struct rdb_sink sink;
    struct buf bytes;
};

static enum err keep(struct rdb_sink *sink, struct slice bytes, struct why *why) {
    struct memory_sink *memory = (struct memory_sink *)(void *)sink;
    (void)why;
    buf_add(&memory->bytes, bytes);
    return OK;
}

/* The libraries as in an RDB file, its version (2 bytes), CRC64 of all before. */
static void run_dump(struct client *c) {
    struct rdb_writer writer = {.sink = NULL};
    functions_save(c->engine, &writer);
    struct buf *out = &writer.out;
    buf_byte(out, RDB_VERSION_WRITTEN);
    buf_byte(out, 0);
    uint64_t crc = crc64_add(0, buf_slice(out));
    for (int i = 0; i < 8; i++) buf_byte(out, (uint8_t)(crc >> (8 * i)));
    reply_bulk(c, buf_slice(out));
    rdb_writer_close(&writer);
}

struct restore {
    struct engine *engine;
    struct function_set set;
    struct buf error;
};

static enum err take_library(void *self, struct slice code, struct why *why) {
    struct restore *restore = self;
    struct buf name = {0};
    bool done = function_set_load(restore->engine, &restore->set, code, false, true, &name,
                                  &restore->error);
    buf_close(&name);
    return done ? OK : why_set(why, ERR_CORRUPT, "a library that does not load");
}

static bool trailer_is_fine(struct slice payload) {
    if (payload.size < 10) return false;
    const uint8_t *end = payload.data + payload.size - 10;
    uint64_t crc = 0;
    if ((end[0] | end[1] << 8) > RDB_VERSION_MAX) return false;
    for (int i = 7; i >= 0; i--) crc = crc << 8 | end[2 + i];
    return crc == crc64_add(0, slice_take(payload, payload.size - 8));
}

/* Anything else that an RDB file may have has no place in such a payload. */
static enum err refuse_aux(void *self, struct slice name, struct slice value, struct why *why) {
    (void)self;
    (void)name;
    (void)value;
    return why_set(why, ERR_CORRUPT, "not a library");
}

static enum err refuse_db(void *self, uint32_t db, struct why *why) {
    (void)self;
    (void)db;
    return why_set(why, ERR_CORRUPT, "not a library");
}

static enum err refuse_resize(void *self, uint64_t keys, uint64_t expires, struct why *why) {
    (void)self;
    (void)keys;
    (void)expires;
    return why_set(why, ERR_CORRUPT, "not a library");
}

static enum err refuse_key(void *self, const struct rdb_key *key, uint64_t count, struct why *why) {
    (void)self;
    (void)key;
    (void)count;
    return why_set(why, ERR_CORRUPT, "not a library");
}

/* The payload is made a file for the reader of RDB, which checks everything. */
static bool read_payload(struct restore *restore, struct slice payload) {
    struct memory_sink file = {.sink.write = keep};
    struct rdb_writer writer;
    struct why why = {{0}};
    rdb_writer_open(&writer, &file.sink, RDB_VERSION_WRITTEN);
    buf_add(&writer.out, slice_take(payload, payload.size - 10));
    enum err err = rdb_writer_end(&writer, &why);
    rdb_writer_close(&writer);
    struct rdb_handler handler = {.self = restore,
                                  .function = take_library,
                                  .aux = refuse_aux,
                                  .select_db = refuse_db,
                                  .resize = refuse_resize,
                                  .key_begin = refuse_key};
    struct rdb_source_memory source;
    rdb_source_memory_init(&source, buf_slice(&file.bytes));
    struct rdb_reader *reader = rdb_reader_open(&source.source, RDB_LIMITS_DEFAULT, &handler);
    if (!err) err = rdb_reader_run(reader, &why);
    rdb_reader_close(reader);
    buf_close(&file.bytes);
    if (err && buf_size(&restore->error) == 0)
        buf_add(&restore->error,
                payload.data[0] == RDB_OP_FUNCTION || payload.data[0] == RDB_OP_FUNCTION_PRE_GA
                    ? SLICE("ERR failed loading the given functions payload")
                    : SLICE("ERR given type is not a function"));
    return err == OK;
}

enum policy { APPEND, REPLACE, FLUSH };

static bool read_policy(struct client *c, enum policy *policy) {
    *policy = APPEND;
    if (c->argc < 4 || arg_is(c->argv[3], "append")) return true;
    if (arg_is(c->argv[3], "replace"))
        *policy = REPLACE;
    else if (arg_is(c->argv[3], "flush"))
        *policy = FLUSH;
    else {
        reply_error(
            c, "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.");
        return false;
    }
    return true;
}

static void run_restore(struct client *c) {
    struct engine *engine = c->engine;
    enum policy policy;
    if (c->argc > 4) {
        reply_unknown_subcommand(c);
        return;
    }
    if (!read_policy(c, &policy)) return;
    if (!trailer_is_fine(c->argv[2])) {
        reply_error(c, "ERR DUMP payload version or checksum are wrong");
        return;
    }
    struct script_vm *vm = functions_interpreter(engine);
    struct restore restore = {.engine = engine};
    function_set_init(&restore.set);
    bool done = read_payload(&restore, c->argv[2]);
    if (done && policy == FLUSH) {
        function_set_clear(set_of(engine), vm);
        policy = APPEND;
    }
    if (done)
        done =
            function_set_join(set_of(engine), &restore.set, policy == REPLACE, vm, &restore.error);
    if (done) {
        engine->dirty++;
        reply_ok(c);
    } else
        reply_error(c, "%s", buf_text(&restore.error));
    function_set_clear(&restore.set, vm);
    buf_close(&restore.error);
}

static void run_help(struct client *c) {
    static const char *const lines[] = {
        "LOAD [REPLACE] <FUNCTION CODE>",
        "    Create a new library with the given library name and code.",
        "DELETE <LIBRARY NAME>",
        "    Delete the given library.",
        "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
        "    The libraries: name, engine, functions, and code if it is asked for.",
        "STATS",
        "    The function that runs now, with its command and for how long; engines.",
        "KILL",
        "    Kill the current running function.",
        "FLUSH [ASYNC|SYNC]",
        "    Delete all the libraries.",
        "DUMP",
        "    All libraries as a payload for FUNCTION RESTORE.",
        "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
        "    Restore the libraries of a payload; APPEND, the default, refuses when a",
        "    library exists, REPLACE replaces it, FLUSH deletes all others.",
        NULL};
    reply_help(c, lines);
}

void function_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"fcall", run_fcall},          {"fcall_ro", run_fcall_ro},
        {"function|load", run_load},   {"function|delete", run_delete},
        {"function|flush", run_flush}, {"function|list", run_list},
        {"function|stats", run_stats}, {"function|kill", run_kill},
        {"function|dump", run_dump},   {"function|restore", run_restore},
        {"function|help", run_help}};
    engine->scripts->functions = NEW(struct functions);
    function_set_init(&engine->scripts->functions->set);
    command_bind(engine, bindings, COUNT(bindings));
}
