/* function.h -- libraries of functions: FUNCTION and FCALL.
 *
 *     function_set.c       libraries and their functions by name; sets that can be joined
 *     function_lua.c       a library's code is run once to learn which functions it registers
 *     function_commands.c  FUNCTION and FCALL; RDB
 *
 * Libraries are data: they are in RDB files (opcode 245) and in the stream (FUNCTION LOAD as it was
 * sent), and FLUSHALL leaves them alone. They live in an interpreter of their own, which is made
 * when the first library is loaded. Their code is untrusted.
 *
 * Names of functions are compared without case, those of libraries are not; as Redis 7.0
 * (functions.c, function_lua.c).
 */
#ifndef SERVER_FUNCTION_H
#define SERVER_FUNCTION_H

#include "lib/redis/rdb_write.h"
#include "server/script.h"
#include "server/table.h"

struct library;

struct function {
    char *name, *key;  /* key: in lower case */
    char *description; /* NULL: none */
    uint32_t flags;    /* enum script_flag */
    int callback;      /* reference in the registry */
    struct library *library;
    struct function *next;
};

struct library {
    char *name;
    struct function *functions; /* in the order of their registration */
    size_t count;
    size_t code_size;
    uint8_t *code;
};

struct function_set {
    struct table libraries, functions;
    size_t bytes;
};

struct functions {
    struct function_set set;
    struct script_vm *vm; /* NULL: never needed yet */
};

struct function_totals {
    size_t libraries, functions, bytes, interpreter_bytes;
};

/* A library that is being loaded; vm->load while its code runs. */
struct function_load {
    struct library *library;
    struct slice code;
    size_t skip;
    uint64_t began_us, timeout_ms; /* 0: none */
    char error[512];               /* empty: none */
};

/* ---- function_set.c ---- */

bool function_name_is_fine(struct slice name);
void function_set_init(struct function_set *set);
void function_set_clear(struct function_set *set, struct script_vm *vm);
struct library *function_set_library(const struct function_set *set, struct slice name);
struct function *function_set_function(const struct function_set *set, struct slice name);
/* Names must be free. The set owns the library. */
void function_set_add(struct function_set *set, struct library *library);
/* The caller owns it then. */
void function_set_take(struct function_set *set, struct library *library);
/* Move all of FROM into INTO; names that are there are replaced (libraries, REPLACE) or refuse the
 * whole: false, ERROR has why, both sets are as before. */
bool function_set_join(struct function_set *into, struct function_set *from, bool replace,
                       struct script_vm *vm, struct buf *error);
void library_free(struct library *library, struct script_vm *vm);
struct function *library_function(const struct library *library, struct slice name);
size_t library_bytes(const struct library *library);

/* ---- function_lua.c ---- */

/* Load CODE into SET. False: ERROR has why ("ERR ..."), and nothing changed. NAME is appended to.
 */
bool function_set_load(struct engine *engine, struct function_set *set, struct slice code,
                       bool replace, bool timed, struct buf *name, struct buf *error);
int function_register(lua_State *lua); /* redis.register_function */
bool function_load_is_late(const struct script_vm *vm);
struct script_vm *functions_interpreter(struct engine *engine);

/* ---- function_commands.c ---- */

void function_commands_bind(struct engine *engine);
/* The flags of a function; false: there is none. */
bool function_flags(const struct engine *engine, struct slice name, uint32_t *flags);
void function_count(const struct engine *engine, struct function_totals *totals);
/* RDB: all libraries into a file; one library out of a file (REPLACE: of DEBUG RELOAD MERGE). */
void functions_save(const struct engine *engine, struct rdb_writer *writer);
MUST_CHECK enum err functions_load(struct engine *engine, struct slice code, bool replace,
                                   struct why *why);
/* Before a file or a full copy is loaded. */
void functions_flush(struct engine *engine);

#endif
