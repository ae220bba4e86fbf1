/* script_commands.c -- EVAL and its kin, SCRIPT, and the cache of scripts. */
#include "server/script.h"

#include "lib/base/mem.h"
#include "server/args.h"
#include "server/function.h"
#include "server/monitor.h"
#include "server/reply.h"
#include "server/script_debug.h"

#include <openssl/sha.h>

/* ---- names of scripts ---- */

void script_sha(struct slice bytes, char *sha) {
    static const char digits[] = "0123456789abcdef";
    uint8_t hash[SHA_DIGEST_LENGTH];
    SHA1(bytes.size ? bytes.data : (const uint8_t *)"", bytes.size, hash);
    for (int i = 0; i < SHA_DIGEST_LENGTH; i++) {
        sha[i * 2] = digits[hash[i] >> 4];
        sha[i * 2 + 1] = digits[hash[i] & 15];
    }
    sha[40] = '\0';
}

static char lower(uint8_t c) {
    return (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

bool script_hint(struct client *c, bool by_sha, char *sha) {
    struct engine_scripts *all = c->engine->scripts;
    struct slice text = c->argv[1];
    if (by_sha) {
        if (text.size != 40) return false;
        for (int i = 0; i < 40; i++) sha[i] = lower(text.data[i]);
        sha[40] = '\0';
        return true;
    }
    if (all->hint_text.data != text.data || all->hint_text.size != text.size) {
        script_sha(text, all->hint_sha);
        all->hint_text = text;
    }
    memcpy(sha, all->hint_sha, sizeof all->hint_sha);
    return true;
}

void script_forget_hint(struct engine *engine) {
    if (engine->scripts) engine->scripts->hint_text = slice_from(NULL, 0);
}

/* ---- the cache ---- */

static struct slice key_of(const void *item) {
    const struct script_entry *entry = item;
    return slice_from(entry->sha, 40);
}

static const struct table_type cache_type = {key_of};

struct script_entry *script_find(struct engine *engine, const char *sha) {
    struct engine_scripts *all = engine->scripts;
    return all->eval ? table_find(&all->cache, slice_from(sha, 40)) : NULL;
}

/* The interpreter of EVAL is made when it is needed first. */
static struct script_vm *interpreter(struct engine *engine) {
    struct engine_scripts *all = engine->scripts;
    if (all->eval == NULL) {
        all->eval = script_vm_open(engine);
        table_init(&all->cache, &cache_type);
    }
    return all->eval;
}

struct compile {
    struct slice body;
    size_t skip;
    int function;
    char error[256];
};

static int compile_inside(lua_State *lua) {
    struct compile *job = lua_touserdata(lua, 1);
    struct slice body = slice_drop(job->body, job->skip);
    if (script_vm_compile(lua, (const char *)body.data, body.size, "@user_script") != 0) {
        snprintf(job->error, sizeof job->error, "%s", lua_tostring(lua, -1));
        return 0;
    }
    job->function = luaL_ref(lua, LUA_REGISTRYINDEX);
    return 0;
}

/* The script of BODY, compiled if it is new. NULL: the error was replied. */
static struct script_entry *add_script(struct client *c, struct slice body, const char *sha) {
    struct engine *engine = c->engine;
    struct script_vm *vm = interpreter(engine);
    struct script_entry *entry = script_find(engine, sha);
    if (entry) return entry;
    struct compile job = {.body = body, .function = LUA_NOREF};
    struct buf error = {0};
    uint32_t flags;
    if (!script_read_flags(body, &flags, &job.skip, &error)) {
        reply_error(c, "%s", buf_text(&error));
        buf_close(&error);
        return NULL;
    }
    bool done = script_vm_protect(vm, compile_inside, &job, job.error, sizeof job.error);
    if (!done || job.error[0]) {
        reply_error(c, "ERR Error compiling script (new function): %s", job.error);
        return NULL;
    }
    entry = NEW(struct script_entry);
    memcpy(entry->sha, sha, sizeof entry->sha);
    entry->flags = flags;
    entry->function = job.function;
    entry->size_bytes = body.size;
    if (c->flags & (CLIENT_MASTER | CLIENT_LOADING)) {
        entry->body = mem_dup(body.data, body.size);
        engine->scripts->cache_bytes += body.size;
    }
    table_add(&engine->scripts->cache, entry);
    engine->scripts->cache_bytes += sizeof *entry + body.size;
    return entry;
}

/* A body that does not compile would never have been called: nobody hears of it. */
void script_learn(struct engine *engine, struct slice body) {
    char sha[41];
    struct client *c = client_new_fake(engine, CLIENT_FAKE | CLIENT_MUTE | CLIENT_LOADING);
    script_sha(body, sha);
    (void)add_script(c, body, sha);
    client_free_fake(c);
}

void script_tell_learned(const struct engine *engine, void *ctx,
                         void (*tell)(void *ctx, struct slice body)) {
    const struct engine_scripts *all = engine->scripts;
    if (all == NULL || all->eval == NULL) return;
    struct table_iter iter;
    table_iter_init(&iter, &all->cache);
    for (const struct script_entry *entry; (entry = table_iter_next(&iter)) != NULL;)
        if (entry->body) tell(ctx, slice_from(entry->body, entry->size_bytes));
}

static void flush(struct engine *engine) {
    struct engine_scripts *all = engine->scripts;
    if (all->eval == NULL) return;
    struct table_iter iter;
    table_iter_init(&iter, &all->cache);
    for (struct script_entry *entry; (entry = table_iter_next(&iter)) != NULL;) {
        mem_free(entry->body);
        mem_free(entry);
    }
    table_close(&all->cache);
    all->cache_bytes = 0;
    script_vm_close(all->eval);
    all->eval = NULL;
}

/* ---- EVAL ---- */

/* Before the commands that the script calls, so that MONITOR shows them in order. */
static void show(struct client *c) {
    if (c->engine->monitor && !(c->flags & CLIENT_LOADING)) monitor_feed(c);
}

static void eval(struct client *c, bool by_sha, bool ro) {
    struct engine *engine = c->engine;
    char sha[41];
    int keys;
    if (!script_hint(c, by_sha, sha)) {
        reply_error(c, "NOSCRIPT No matching script. Please use EVAL.");
        return;
    }
    if (by_sha && c->debugs) {
        reply_error(c, "ERR Please use EVAL instead of EVALSHA for debugging");
        return;
    }
    if (!script_key_count(c, NULL, &keys)) return;
    struct script_entry *entry = script_find(engine, sha);
    if (entry == NULL && by_sha) {
        reply_error(c, "NOSCRIPT No matching script. Please use EVAL.");
        return;
    }
    if (entry == NULL) entry = add_script(c, c->argv[1], sha);
    if (entry == NULL) return;
    struct script_run run;
    if (!script_begin(&run, interpreter(engine), c, entry->sha, entry->flags, true, ro)) return;
    script_run(&run, entry->function, c->argv + 3, keys, c->argv + 3 + keys, c->argc - 3 - keys);
}

static void eval_text(struct client *c, bool ro) {
    show(c);
    if (!c->debugs) {
        eval(c, false, ro);
    } else if (script_debug_begin(c)) {
        eval(c, false, ro);
        script_debug_end(c);
    }
}

static void eval_sha(struct client *c, bool ro) {
    show(c);
    eval(c, true, ro);
}

static void run_eval(struct client *c) {
    eval_text(c, false);
}

static void run_eval_ro(struct client *c) {
    eval_text(c, true);
}

static void run_evalsha(struct client *c) {
    eval_sha(c, false);
}

static void run_evalsha_ro(struct client *c) {
    eval_sha(c, true);
}

/* ---- SCRIPT ---- */

static void run_load(struct client *c) {
    char sha[41];
    script_sha(c->argv[2], sha);
    const struct script_entry *entry = add_script(c, c->argv[2], sha);
    if (entry) reply_bulk_text(c, entry->sha);
}

static void run_exists(struct client *c) {
    reply_array(c, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++) {
        char sha[41] = "";
        if (c->argv[i].size != 40) {
            reply_int(c, 0);
            continue;
        }
        for (int n = 0; n < 40; n++) sha[n] = lower(c->argv[i].data[n]);
        reply_int(c, script_find(c->engine, sha) != NULL);
    }
}

static void run_flush(struct client *c) {
    if (c->argc > 3 ||
        (c->argc == 3 && !arg_is(c->argv[2], "sync") && !arg_is(c->argv[2], "async"))) {
        reply_error(c, "ERR SCRIPT FLUSH only support SYNC|ASYNC option");
        return;
    }
    flush(c->engine);
    reply_ok(c);
}

static void run_kill(struct client *c) {
    script_kill(c, true);
}

static void run_help(struct client *c) {
    static const char *const lines[] = {
        "DEBUG (YES|SYNC|NO)",
        "    Step through the next EVAL, in a copy of the process or in this one.",
        "EXISTS <sha1> [<sha1> ...]",
        "    Return information about the existence of the scripts in the script cache.",
        "FLUSH [ASYNC|SYNC]",
        "    Flush the Lua scripts cache. Very dangerous on replicas.",
        "KILL",
        "    Kill the currently executing Lua script.",
        "LOAD <script>",
        "    Load a script into the scripts cache without executing it.",
        NULL};
    reply_help(c, lines);
}

static void run_deny(struct client *c) {
    if (c->argc != 3) {
        reply_unknown_subcommand(c);
        return;
    }
    c->engine->scripts->deny_nothing = slice_equal(c->argv[2], SLICE("1"));
    reply_ok(c);
}

/* ---- INFO ---- */

static void human(struct buf *out, const char *name, size_t bytes) {
    static const char units[] = "BKMGT";
    double value = (double)bytes;
    int unit = 0;
    for (; value >= 1024 && unit < 4; unit++) value /= 1024;
    if (unit == 0)
        buf_printf(out, "%s:%zuB\r\n", name, bytes);
    else
        buf_printf(out, "%s:%.2f%c\r\n", name, value, units[unit]);
}

void script_count(const struct engine *engine, struct script_totals *totals) {
    const struct engine_scripts *all = engine->scripts;
    struct function_totals functions;
    function_count(engine, &functions);
    totals->cache_bytes = all->eval ? all->cache_bytes + table_memory(&all->cache) : 0;
    totals->function_bytes = functions.bytes;
}

void script_info(struct engine *engine, struct buf *out) {
    const struct engine_scripts *all = engine->scripts;
    struct function_totals functions;
    function_count(engine, &functions);
    size_t eval = all->eval ? script_vm_memory(all->eval) : 0;
    size_t cached = all->eval ? (size_t)table_count(&all->cache) : 0;
    size_t scripts = all->eval ? all->cache_bytes + table_memory(&all->cache) : 0;
    buf_printf(out, "used_memory_lua:%zu\r\nused_memory_vm_eval:%zu\r\n", eval, eval);
    human(out, "used_memory_lua_human", eval);
    buf_printf(
        out,
        "used_memory_scripts_eval:%zu\r\nnumber_of_cached_scripts:%zu\r\nnumber_of_functions:%"
        "zu\r\n"
        "number_of_libraries:%zu\r\nused_memory_vm_functions:%zu\r\nused_memory_vm_total:%zu\r\n",
        scripts, cached, functions.functions, functions.libraries, functions.interpreter_bytes,
        eval + functions.interpreter_bytes);
    human(out, "used_memory_vm_total_human", eval + functions.interpreter_bytes);
    buf_printf(out, "used_memory_functions:%zu\r\nused_memory_scripts:%zu\r\n", functions.bytes,
               functions.bytes + scripts);
    human(out, "used_memory_scripts_human", functions.bytes + scripts);
}

void script_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"eval", run_eval},          {"eval_ro", run_eval_ro},
        {"evalsha", run_evalsha},    {"evalsha_ro", run_evalsha_ro},
        {"script|load", run_load},   {"script|exists", run_exists},
        {"script|flush", run_flush}, {"script|kill", run_kill},
        {"script|debug", script_debug_command}, {"script|help", run_help}};
    command_bind(engine, bindings, COUNT(bindings));
    engine_debug_add(engine, "set-disable-deny-scripts", run_deny,
                     "SET-DISABLE-DENY-SCRIPTS <0|1>");
}
