/* script_vm.h -- one Lua interpreter: limited memory, a sandbox for globals, interruptible.
 *
 * There are two: one for EVAL and one for functions, as in Redis, so that SCRIPT FLUSH leaves the
 * functions alone.
 *
 * Hostile input: scripts are. Whatever may raise a Lua error (out of memory above all) runs inside
 * script_vm_protect(); an error outside of it would end the process. Nothing that Lua code can
 * reach outlives a run but what a library of functions keeps in its own upvalues.
 */
#ifndef SERVER_SCRIPT_VM_H
#define SERVER_SCRIPT_VM_H

#include "lib/base/buf.h"
#include "server/engine.h"

#include <lauxlib.h>
#include <lua.h>

struct client;
struct engine;
struct script_run;

/* Instructions between two looks at the clock. */
#define SCRIPT_HOOK_STEPS 2000

struct script_vm {
    struct engine *engine;
    lua_State *lua;
    size_t used_bytes;      /* by the interpreter */
    struct client *client;  /* redis.call() runs as this one */
    struct script_run *run; /* what runs now, or NULL; see script.h */
    void *load;             /* the library that is being loaded, or NULL; see function_lua.c */
    struct buf scratch;     /* what libraries build their results in; valid within one call */
    struct slice *argv;     /* see script_vm_argv() */
    size_t argv_bytes;
    unsigned loop_steps; /* see script_vm_tick() */
    bool is_tidying;     /* memory is collected: no limit */
    bool in_command;     /* inside redis.call() */
    unsigned runs;       /* since memory was last collected */
};

struct script_vm *script_vm_open(struct engine *engine);
void script_vm_close(struct script_vm *vm);

/* Limits, all by lua-memory-limit (an option that Redis does not have; 1 GB): what an interpreter
 * may hold, what one call of a library (cjson, string.rep ...) may build, and how many values a
 * reply or a text may have, because tables that share tables would never end. A script that wants
 * more gets "not enough memory". */
size_t script_vm_memory_max(const struct script_vm *vm);
size_t script_vm_text_max(const struct script_vm *vm);
size_t script_vm_values_max(const struct script_vm *vm);

/* The interpreter that LUA (or a coroutine of it) belongs to. */
struct script_vm *script_vm_of(lua_State *lua);

/* Call FN(lua) with ARG as its only argument (light userdata), protected. True: it went well.
 * False: the error message is in TEXT (cut to ROOM). The stack is as before either way. */
bool script_vm_protect(struct script_vm *vm, lua_CFunction fn, void *arg, char *text, size_t room);

/* For C loops that a script can make long: raises an error when the script was killed. Counts, and
 * looks at the clock now and then. */
void script_vm_tick(lua_State *lua);

/* An empty buffer to build a result in. */
struct buf *script_vm_scratch(lua_State *lua);
/* Raise an error when SIZE more bytes would be too many for the scratch. */
void script_vm_room(lua_State *lua, const struct buf *scratch, size_t size);
/* Push what is in the scratch as a string. */
void script_vm_push(lua_State *lua, struct buf *scratch);

/* An array for COUNT arguments of a command, with EXTRA bytes for each behind it; valid until the
 * next call. */
struct slice *script_vm_argv(lua_State *lua, size_t count, size_t extra);

/* Compile TEXT, never bytecode; pushes the function, or the message. As lua_load(). */
int script_vm_compile(lua_State *lua, const char *text, size_t size, const char *name);

/* A function that was kept by luaL_ref() is not needed any more. */
void script_vm_forget(struct script_vm *vm, int reference);

/* After a run: give back what is garbage when there is much, or now and then. */
void script_vm_tidy(struct script_vm *vm);
size_t script_vm_memory(const struct script_vm *vm);

#endif
