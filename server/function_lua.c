/* function_lua.c -- loading a library: its code is run once, and calls redis.register_function().
 *
 * While it runs it sees nothing but that function and redis.log(); it gets half a second. */
#include "server/function.h"

#include "lib/base/mem.h"
#include "server/lua_sandbox.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#define LOAD_TIMEOUT_MS 500

struct script_vm *functions_interpreter(struct engine *engine) {
    struct functions *functions = engine->scripts->functions;
    if (functions->vm == NULL) functions->vm = script_vm_open(engine);
    return functions->vm;
}

bool function_load_is_late(const struct script_vm *vm) {
    const struct function_load *load = vm->load;
    if (load == NULL || load->timeout_ms == 0) return false;
    return (clock_mono_us(vm->engine->clock) - load->began_us) / 1000 > load->timeout_ms;
}

/* ---- redis.register_function ---- */

/* What is being registered. The strings are Lua's and stay on its stack. */
struct registration {
    const char *name, *description;
    size_t name_size;
    uint32_t flags;
    int callback; /* index on the stack; 0: none */
};

_Noreturn static int refuse(lua_State *lua, const char *why) {
    lua_pushfstring(lua, "ERR %s", why);
    script_push_error(lua, lua_tostring(lua, -1), false);
    lua_error(lua);
    UNREACHABLE("lua_error() does not return");
}

static void read_flags(lua_State *lua, int table, uint32_t *flags) {
    for (int i = 1;; i++) {
        lua_rawgeti(lua, table, i);
        if (lua_isnil(lua, -1)) break;
        const char *word = lua_isstring(lua, -1) ? lua_tostring(lua, -1) : "";
        unsigned bit = 0;
        while (script_flag_names[bit] && strcasecmp(script_flag_names[bit], word) != 0) bit++;
        if (script_flag_names[bit] == NULL) refuse(lua, "unknown flag given");
        *flags |= 1u << bit;
        lua_pop(lua, 1);
    }
    lua_pop(lua, 1);
}

/* Key below value on the top; what is to be kept is moved to a place of its own on the stack. */
static void read_member(lua_State *lua, struct registration *r) {
    if (lua_type(lua, -2) == LUA_TNUMBER)
        refuse(lua, "unknown argument given to redis.register_function");
    if (lua_type(lua, -2) != LUA_TSTRING)
        refuse(lua, "named argument key given to redis.register_function is not a string");
    const char *key = lua_tostring(lua, -2);
    if (strcasecmp(key, "function_name") == 0) {
        if (!lua_isstring(lua, -1))
            refuse(lua, "function_name argument given to redis.register_function must be a string");
        r->name = lua_tolstring(lua, -1, &r->name_size);
        lua_replace(lua, 2);
    } else if (strcasecmp(key, "description") == 0) {
        if (!lua_isstring(lua, -1))
            refuse(lua, "description argument given to redis.register_function must be a string");
        r->description = lua_tostring(lua, -1);
        lua_replace(lua, 3);
    } else if (strcasecmp(key, "callback") == 0) {
        if (!lua_isfunction(lua, -1))
            refuse(lua, "callback argument given to redis.register_function must be a function");
        r->callback = 4;
        lua_replace(lua, 4);
    } else if (strcasecmp(key, "flags") == 0) {
        if (!lua_istable(lua, -1))
            refuse(lua, "flags argument to redis.register_function must be a table representing "
                        "function flags");
        read_flags(lua, lua_gettop(lua), &r->flags);
        lua_pop(lua, 1);
    } else
        refuse(lua, "unknown argument given to redis.register_function");
}

static void read_named(lua_State *lua, struct registration *r) {
    if (!lua_istable(lua, 1))
        refuse(lua, "calling redis.register_function with a single argument is only applicable to "
                    "Lua table "
                    "(representing named arguments).");
    lua_settop(lua, 4);
    lua_pushnil(lua);
    while (lua_next(lua, 1)) read_member(lua, r);
    if (r->name == NULL) refuse(lua, "redis.register_function must get a function name argument");
    if (r->callback == 0) refuse(lua, "redis.register_function must get a callback argument");
}

static void read_positional(lua_State *lua, struct registration *r) {
    if (!lua_isstring(lua, 1))
        refuse(lua, "first argument to redis.register_function must be a string");
    if (!lua_isfunction(lua, 2))
        refuse(lua, "second argument to redis.register_function must be a function");
    r->name = lua_tolstring(lua, 1, &r->name_size);
    r->callback = 2;
}

static void add_function(struct library *library, const struct registration *r, int reference) {
    struct function *f = NEW(struct function), **end = &library->functions;
    f->name = mem_strdup(r->name);
    f->key = mem_strdup(r->name);
    for (char *at = f->key; *at; at++) *at = (char)tolower((unsigned char)*at);
    f->description = r->description ? mem_strdup(r->description) : NULL;
    f->flags = r->flags;
    f->callback = reference;
    f->library = library;
    while (*end) end = &(*end)->next;
    *end = f;
    library->count++;
}

static bool is_registered(const struct library *library, const char *name) {
    for (const struct function *f = library->functions; f; f = f->next)
        if (strcasecmp(f->name, name) == 0) return true;
    return false;
}

int function_register(lua_State *lua) {
    struct function_load *load = script_vm_of(lua)->load;
    struct registration r = {.name = NULL};
    if (load == NULL)
        return refuse(lua, "redis.register_function can only be called on FUNCTION LOAD command");
    int argc = lua_gettop(lua);
    if (argc < 1 || argc > 2)
        return refuse(lua, "wrong number of arguments to redis.register_function");
    luaL_checkstack(lua, 10, "register");
    if (argc == 1)
        read_named(lua, &r);
    else
        read_positional(lua, &r);
    if (!function_name_is_fine(slice_from(r.name, r.name_size)))
        return refuse(lua, "Library names can only contain letters, numbers, or underscores(_) and "
                           "must be at least "
                           "one character long");
    if (is_registered(load->library, r.name))
        return refuse(lua, "Function already exists in the library");
    lua_pushvalue(lua, r.callback);
    add_function(load->library, &r, luaL_ref(lua, LUA_REGISTRYINDEX));
    return 0;
}

/* ---- running the code ---- */

static void note_error(struct function_load *load, lua_State *lua, const char *what) {
    const char *text = "execution failure";
    if (lua_isstring(lua, -1)) {
        lua_pushfstring(lua, "ERR %s", lua_tostring(lua, -1));
        text = lua_tostring(lua, -1);
    } else if (lua_istable(lua, -1)) {
        lua_pushliteral(lua, "err");
        lua_rawget(lua, -2);
        if (lua_isstring(lua, -1)) text = lua_tostring(lua, -1);
    }
    snprintf(load->error, sizeof load->error, "ERR %s: %s", what, text);
}

static int load_inside(lua_State *lua) {
    struct function_load *load = lua_touserdata(lua, 1);
    struct slice code = slice_drop(load->code, load->skip);
    if (script_vm_compile(lua, (const char *)code.data, code.size, "@user_function") != 0) {
        snprintf(load->error, sizeof load->error, "ERR Error compiling function: %s",
                 lua_tostring(lua, -1));
        return 0;
    }
    lua_sandbox_loading(lua, true);
    int status = lua_pcall(lua, 0, 0, 0);
    lua_sandbox_loading(lua, false);
    if (status != 0) note_error(load, lua, "Error registering functions");
    return 0;
}

static struct library *run_code(struct engine *engine, struct slice code, size_t skip,
                                const char *name, bool timed, struct buf *error) {
    struct script_vm *vm = functions_interpreter(engine);
    struct library *library = NEW(struct library);
    library->name = mem_strdup(name);
    library->code = mem_dup(code.data, code.size);
    library->code_size = code.size;
    struct function_load load = {.library = library,
                                 .code = slice_from(library->code, code.size),
                                 .skip = skip,
                                 .began_us = clock_mono_us(engine->clock),
                                 .timeout_ms = timed ? LOAD_TIMEOUT_MS : 0};
    char text[128];
    vm->load = &load;
    bool done = script_vm_protect(vm, load_inside, &load, text, sizeof text);
    vm->load = NULL;
    script_vm_tidy(vm);
    if (!done)
        buf_printf(error, "ERR Error registering functions: ERR %s", text);
    else if (load.error[0])
        buf_add(error, slice_text(load.error));
    else if (library->count == 0)
        buf_add(error, SLICE("ERR No functions registered"));
    else
        return library;
    library_free(library, vm);
    return NULL;
}

/* Would LIBRARY fit into SET once OLD (NULL: none) is gone? */
static bool fits(const struct function_set *set, const struct library *library,
                 const struct library *old, struct buf *error) {
    for (const struct function *f = library->functions; f; f = f->next) {
        const struct function *other = table_find(&set->functions, slice_text(f->key));
        if (other == NULL || other->library == old) continue;
        buf_printf(error, "ERR Function %s already exists", f->name);
        return false;
    }
    return true;
}

bool function_set_load(struct engine *engine, struct function_set *set, struct slice code,
                       bool replace, bool timed, struct buf *name, struct buf *error) {
    size_t skip;
    if (!script_read_library(code, name, &skip, error)) return false;
    struct library *old = function_set_library(set, buf_slice(name));
    if (old && !replace) {
        buf_printf(error, "ERR Library '%s' already exists", buf_text(name));
        return false;
    }
    struct library *library = run_code(engine, code, skip, buf_text(name), timed, error);
    if (library == NULL) return false;
    struct script_vm *vm = functions_interpreter(engine);
    if (!fits(set, library, old, error)) {
        library_free(library, vm);
        return false;
    }
    if (old) {
        function_set_take(set, old);
        library_free(old, vm);
    }
    function_set_add(set, library);
    return true;
}
