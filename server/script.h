/* script.h -- running a script: may it run, what it runs as, how it is ended.
 *
 *     EVAL, EVALSHA --\                                /-- redis.call() --> script_call.c -->
 * execute_call()
 *                      >-- script_begin, script_run --<
 *     FCALL ----------/                                \-- every 2,000 instructions -->
 * script_busy.c
 *
 * A script runs to its end while nothing else does. Its commands are executed as the interpreter's
 * own client, whose replies become Lua values; what they changed is propagated by themselves, in
 * one unit, so that replicas and the AOF see effects and never the script.
 *
 * A script that runs for longer than busy-reply-threshold is busy: events are served from within
 * its hook, every command but a few answers -BUSY, and SCRIPT KILL ends it unless it has written.
 * Scripts of our master and of the AOF are never interrupted.
 *
 * Whose behaviour: script.c, script_lua.c, eval.c of Redis 7.0.
 */
#ifndef SERVER_SCRIPT_H
#define SERVER_SCRIPT_H

#include "server/engine.h"
#include "server/script_vm.h"
#include "server/table.h"

/* What a script says about itself behind `#!lua flags=`. */
enum script_flag {
    SCRIPT_NO_WRITES = 1 << 0,
    SCRIPT_ALLOW_OOM = 1 << 1,
    SCRIPT_ALLOW_STALE = 1 << 2,
    SCRIPT_NO_CLUSTER = 1 << 3,
    SCRIPT_CROSS_SLOT = 1 << 4,
    SCRIPT_COMPAT = 1 << 5 /* it says nothing: as before Redis 7.0 */
};
/* The name of each but the last; NULL ends. Bit I has the name at I. */
extern const char *const script_flag_names[];

struct script_run {
    struct script_vm *vm;
    struct client *caller;
    const char *name; /* SHA or function; for errors */
    bool is_eval, readonly, allow_oom, cross_slot;
    bool wrote; /* executed a command that writes: cannot be killed */
    bool busy, killed;
    unsigned targets; /* where its writes go; enum propagate_kind */
    uint64_t began_us, served_us;
    char error[160];   /* of script_call(), where it is made up */
    size_t reply_mark; /* where the reply begins in caller->out; SIZE_MAX: not yet */
    /* for script_run() */
    int function; /* reference in the registry */
    int argc;
    const struct slice *keys, *args;
    int key_count, arg_count;
};

/* A script in the cache of EVAL. */
struct script_entry {
    char sha[41];
    uint32_t flags;
    int function; /* reference in the registry of the interpreter */
    size_t size_bytes;
    void *body; /* of one that a master or a file sent; owned; NULL: of others */
};

struct engine_scripts {
    struct script_vm *eval;
    struct table cache; /* of script_entry */
    size_t cache_bytes;
    struct script_run *run; /* what runs now, or NULL */
    bool deny_nothing;      /* DEBUG set-disable-deny-scripts */
    struct script_debug *debug; /* a script is being debugged; NULL: none */
    struct slice
        hint_text; /* the script of the request that runs, and its SHA; see script_hint() */
    char hint_sha[41];
    struct functions *functions;
};

void script_open(struct engine *engine);
struct engine_scripts *scripts_of(const struct engine *engine);

/* ---- script.c ---- */

/* May it run? If not, the error was replied. RO: by a command that ends in _RO. */
MUST_CHECK bool script_begin(struct script_run *run, struct script_vm *vm, struct client *caller,
                             const char *name, uint32_t flags, bool is_eval, bool ro);
/* Call FUNCTION of the registry; replies. Then the run is over. */
void script_run(struct script_run *run, int function, const struct slice *keys, int key_count,
                const struct slice *args, int arg_count);
/* numkeys of EVAL and FCALL (argv[2]); BAD: the error when it is no number. */
MUST_CHECK bool script_key_count(struct client *c, const char *bad, int *count);
/* The caller of the script whose client C is; C itself if it is no script's. */
struct client *script_caller(struct client *c);

/* ---- script_shebang.c ---- */

/* The first line of a script. *SKIP: bytes before its line end. False: ERROR has why. */
bool script_read_flags(struct slice body, uint32_t *flags, size_t *skip, struct buf *error);
/* The first line of a library of functions. NAME is appended to. */
bool script_read_library(struct slice body, struct buf *name, size_t *skip, struct buf *error);
/* The flags of a command that runs a script, after what the script says about itself. */
uint32_t script_command_flags(struct client *c, const struct command *command);
uint32_t script_adjust_flags(uint32_t command_flags, uint32_t script_flags);

/* ---- script_call.c ---- */

/* Execute a command for the script. NULL: its reply is in run->vm->client->out. Else the error. */
const char *script_call(struct script_run *run, int argc, struct slice *argv);
/* script_order.c: a master or a file sent it, and it has to do what it did there; then REPLY (RESP2)
 * of a command whose order is chance is sorted. */
bool script_is_obeyed(const struct script_run *run);
/* The same, or a link repeats what an old source streams (C8): chance and order are those of old. */
bool script_is_replayed(const struct script_run *run);
void script_order_reply(const struct command *spec, struct buf *reply);

/* ---- script_busy.c ---- */

/* In the hook: serves others if the script is busy. True: it is to end (see script_raise_end). */
bool script_is_to_end(struct script_vm *vm);
bool script_is_ending(const struct script_vm *vm); /* without looking at the clock */
_Noreturn void script_raise_end(lua_State *lua);
void script_busy_over(struct script_run *run);
/* SCRIPT KILL and FUNCTION KILL. */
void script_kill(struct client *c, bool is_eval);
/* The error of a command while a script is busy. */
const char *script_busy_error(const struct engine *engine);

/* ---- script_commands.c ---- */

void script_commands_bind(struct engine *engine);
/* A script that a master of before 7.0 may name by EVALSHA: its RDB has it as an aux field `lua`, and
 * so has ours, because the stream may go on after a restart. TELL is called for all of those, and for
 * those that a master sent since. */
void script_learn(struct engine *engine, struct slice body);
void script_tell_learned(const struct engine *engine, void *ctx,
                         void (*tell)(void *ctx, struct slice body));
/* The SHA1 of BYTES in hex; SHA has room for 41. */
void script_sha(struct slice bytes, char *sha);
/* The SHA of the script that C's request names (EVAL: computed once for a request). False: no SHA.
 */
bool script_hint(struct client *c, bool by_sha, char *sha);
void script_forget_hint(struct engine *engine);
struct script_entry *script_find(struct engine *engine, const char *sha);
void script_info(struct engine *engine, struct buf *out);
struct script_totals {
    size_t cache_bytes, function_bytes; /* without the interpreters */
};
void script_count(const struct engine *engine, struct script_totals *totals);

/* ---- lua_redis.c, lua_reply.c ---- */

/* Push {err = TEXT}; SEEN: it was counted in errorstats already. */
void script_push_error(lua_State *lua, const char *text, bool seen);
void script_push_reply(lua_State *lua, struct slice reply);
/* Pop a value and reply it to C as the protocol has it. */
void script_reply(struct script_run *run, lua_State *lua);

#endif
