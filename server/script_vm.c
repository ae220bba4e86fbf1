/* script_vm.c -- the life of a Lua interpreter. */
#include "server/script_vm.h"

#include "lib/base/mem.h"
#include "server/client.h"
#include "server/lua_sandbox.h"
#include "server/script.h"

#include <stdio.h>

#define TIDY_RUNS 50      /* a step of collection every so many runs */
#define TIDY_SHARE 8      /* all of it at once above this share of what there may be */
#define TICK_STEPS 100000 /* of a C loop, between two looks at the clock */
#define SCRATCH_KEEP ((size_t)64 << 10)

size_t script_vm_memory_max(const struct script_vm *vm) {
    return (size_t)vm->engine->settings.lua_memory_limit;
}

size_t script_vm_text_max(const struct script_vm *vm) {
    return script_vm_memory_max(vm) / 2;
}

size_t script_vm_values_max(const struct script_vm *vm) {
    return script_vm_memory_max(vm) / 64;
}

/* Counted, and refused over the limit; Lua turns a refusal into an error that scripts can catch. */
static void *allocate(void *self, void *old, size_t old_size, size_t size) {
    struct script_vm *vm = self;
    if (size == 0) {
        vm->used_bytes -= old_size;
        mem_free(old);
        return NULL;
    }
    size_t most = script_vm_memory_max(vm);
    if (size > old_size && !vm->is_tidying &&
        (vm->used_bytes >= most || size - old_size > most - vm->used_bytes))
        return NULL;
    void *block = mem_try_realloc(old, size);
    if (block == NULL) return NULL;
    vm->used_bytes = vm->used_bytes - old_size + size;
    return block;
}

struct script_vm *script_vm_of(lua_State *lua) {
    void *self;
    (void)lua_getallocf(lua, &self);
    return self;
}

/* Every SCRIPT_HOOK_STEPS instructions; in coroutines too, which inherit the hook. */
static void on_hook(lua_State *lua, lua_Debug *where) {
    struct script_vm *vm = script_vm_of(lua);
    (void)where;
    if (!script_is_to_end(vm)) return;
    /* From now on at every instruction, so that pcall() cannot keep the script alive. */
    lua_sethook(lua, on_hook, LUA_MASKCOUNT, 1);
    script_raise_end(lua);
}

static int open_inside(lua_State *lua) {
    struct script_vm *vm = lua_touserdata(lua, 1);
    lua_sandbox_open(lua);
    lua_sethook(vm->lua, on_hook, LUA_MASKCOUNT, SCRIPT_HOOK_STEPS);
    return 0;
}

struct script_vm *script_vm_open(struct engine *engine) {
    struct script_vm *vm = NEW(struct script_vm);
    char text[128];
    vm->engine = engine;
    vm->lua = lua_newstate(allocate, vm);
    ASSERT(vm->lua != NULL);
    bool opened = script_vm_protect(vm, open_inside, vm, text, sizeof text);
    ASSERT(opened);
    vm->client = client_new_fake(engine, CLIENT_SCRIPT | CLIENT_EXECUTING);
    return vm;
}

void script_vm_close(struct script_vm *vm) {
    lua_close(vm->lua);
    client_free_fake(vm->client);
    buf_close(&vm->scratch);
    mem_free(vm->argv);
    mem_free(vm);
}

bool script_vm_protect(struct script_vm *vm, lua_CFunction fn, void *arg, char *text, size_t room) {
    int top = lua_gettop(vm->lua);
    int status = lua_cpcall(vm->lua, fn, arg);
    if (status == 0) return true;
    const char *message =
        lua_type(vm->lua, -1) == LUA_TSTRING ? lua_tostring(vm->lua, -1) : "execution failure";
    if (text) snprintf(text, room, "%s", message);
    lua_settop(vm->lua, top);
    return false;
}

void script_vm_tick(lua_State *lua) {
    struct script_vm *vm = script_vm_of(lua);
    if (++vm->loop_steps < TICK_STEPS) return;
    vm->loop_steps = 0;
    if (script_is_to_end(vm)) script_raise_end(lua);
}

struct buf *script_vm_scratch(lua_State *lua) {
    struct script_vm *vm = script_vm_of(lua);
    buf_clear(&vm->scratch);
    buf_shrink(&vm->scratch, SCRATCH_KEEP);
    return &vm->scratch;
}

void script_vm_room(lua_State *lua, const struct buf *scratch, size_t size) {
    size_t most = script_vm_text_max(script_vm_of(lua));
    if (size > most || buf_size(scratch) > most - size) luaL_error(lua, "not enough memory");
}

void script_vm_push(lua_State *lua, struct buf *scratch) {
    struct slice bytes = buf_slice(scratch);
    lua_pushlstring(lua, bytes.data ? (const char *)bytes.data : "", bytes.size);
}

struct slice *script_vm_argv(lua_State *lua, size_t count, size_t extra) {
    struct script_vm *vm = script_vm_of(lua);
    size_t bytes = count * (sizeof *vm->argv + extra); /* at most 8,000: they were on Lua's stack */
    if (bytes > vm->argv_bytes) {
        vm->argv = mem_realloc(vm->argv, bytes);
        vm->argv_bytes = bytes;
    }
    return vm->argv;
}

/* ---- compiling ---- */

struct piece {
    const char *text;
    size_t size;
    bool began;
};

/* The parser decides by the first byte whether it gets bytecode: it gets a space first. */
static const char *read_piece(lua_State *lua, void *self, size_t *size) {
    struct piece *piece = self;
    (void)lua;
    if (!piece->began) {
        piece->began = true;
        *size = 1;
        return " ";
    }
    *size = piece->size;
    piece->size = 0;
    return *size ? piece->text : NULL;
}

int script_vm_compile(lua_State *lua, const char *text, size_t size, const char *name) {
    struct piece piece = {.text = text, .size = size};
    /* The parser does not hold on to the chunk's name while it works (CVE-2025-49844): we do. */
    lua_pushstring(lua, name);
    int status = lua_load(lua, read_piece, &piece, name);
    lua_remove(lua, -2);
    return status;
}

static int forget_inside(lua_State *lua) {
    const int *reference = lua_touserdata(lua, 1);
    luaL_unref(lua, LUA_REGISTRYINDEX, *reference);
    return 0;
}

void script_vm_forget(struct script_vm *vm, int reference) {
    (void)script_vm_protect(vm, forget_inside, &reference, NULL, 0);
}

/* ---- memory ---- */

static bool is_much(const struct script_vm *vm) {
    return vm->used_bytes > script_vm_memory_max(vm) / TIDY_SHARE;
}

static int collect(lua_State *lua) {
    struct script_vm *vm = script_vm_of(lua);
    if (is_much(vm))
        (void)lua_gc(lua, LUA_GCCOLLECT, 0);
    else
        (void)lua_gc(lua, LUA_GCSTEP, TIDY_RUNS);
    return 0;
}

void script_vm_tidy(struct script_vm *vm) {
    lua_sethook(vm->lua, on_hook, LUA_MASKCOUNT, SCRIPT_HOOK_STEPS);
    buf_clear(&vm->scratch);
    buf_shrink(&vm->scratch, SCRATCH_KEEP);
    buf_clear(&vm->client->out);
    buf_shrink(&vm->client->out, SCRATCH_KEEP);
    if (++vm->runs < TIDY_RUNS && !is_much(vm)) return;
    vm->runs = 0;
    vm->is_tidying = true; /* the call itself needs a few bytes, and there may be none left */
    (void)script_vm_protect(vm, collect, NULL, NULL, 0);
    vm->is_tidying = false;
}

size_t script_vm_memory(const struct script_vm *vm) {
    return vm->used_bytes;
}
