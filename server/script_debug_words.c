/* script_debug_words.c -- the commands of the debugger; see script_debug.h. */
#include "server/script_debug.h"

#include "server/args.h"
#include "server/lua_sandbox.h"

#include <stdlib.h>

#define LENGTH_LEAST 60
#define AROUND 5 /* lines that `list` shows before and after */

/* ---- lines and breakpoints ---- */

bool debug_is_breakpoint(const struct script_debug *d, int line) {
    for (int i = 0; i < d->breakpoint_count; i++)
        if (d->breakpoints[i] == line) return true;
    return false;
}

void debug_log_line(struct script_debug *d, int line) {
    bool here = d->line == line, marked = debug_is_breakpoint(d, line);
    struct slice text = SLICE("<out of range source code line>");
    if (line >= 1 && line <= d->line_count) text = d->lines[line - 1];
    debug_log(d, "%s%s%-3d %.*s", here ? "->" : "  ", marked ? "#" : " ", line, (int)text.size,
              text.size ? (const char *)text.data : "");
}

static void list(struct script_debug *d, int64_t around, int64_t context) {
    for (int line = 1; line <= d->line_count; line++)
        if (line - around <= context && around - line <= context) debug_log_line(d, line);
}

static void set_breakpoint(struct script_debug *d, int64_t line) {
    if (d->breakpoint_count == DEBUG_BREAKPOINTS_MAX) {
        debug_log(d, "Too many breakpoints set.");
    } else if (line > d->line_count || debug_is_breakpoint(d, (int)line)) {
        debug_log(d, "Wrong line number.");
    } else {
        d->breakpoints[d->breakpoint_count++] = (int)line;
        list(d, line, 1);
    }
}

static void remove_breakpoint(struct script_debug *d, int64_t line) {
    for (int i = 0; i < d->breakpoint_count; i++) {
        if (d->breakpoints[i] != line) continue;
        d->breakpoint_count--;
        memmove(d->breakpoints + i, d->breakpoints + i + 1,
                sizeof *d->breakpoints * (size_t)(d->breakpoint_count - i));
        debug_log(d, "Breakpoint removed.");
        return;
    }
    debug_log(d, "No breakpoint in the specified line.");
}

static void breaks(struct script_debug *d, int argc, const struct slice *argv) {
    if (argc == 1 && d->breakpoint_count == 0)
        debug_log(d, "No breakpoints set. Use 'b <line>' to add one.");
    if (argc == 1 && d->breakpoint_count > 0) {
        debug_log(d, "%d breakpoints set:", d->breakpoint_count);
        for (int i = 0; i < d->breakpoint_count; i++) debug_log_line(d, d->breakpoints[i]);
    }
    for (int i = 1; i < argc; i++) {
        int64_t line;
        if (!slice_to_int(argv[i], &line) || line < -INT32_MAX || line > INT32_MAX) {
            debug_log(d, "Invalid argument:'%.*s'", (int)argv[i].size, (const char *)argv[i].data);
        } else if (line > 0) {
            set_breakpoint(d, line);
        } else if (line < 0) {
            remove_breakpoint(d, -line);
        } else {
            d->breakpoint_count = 0;
            debug_log(d, "All breakpoints removed.");
        }
    }
}

/* ---- variables ---- */

/* The value on the top; it stays. */
static void log_top(struct script_debug *d, lua_State *lua) {
    debug_put_value(d, lua, lua_gettop(lua));
    debug_log_text(d);
}

static void print_all(struct script_debug *d, lua_State *lua) {
    lua_Debug frame;
    int shown = 0;
    const char *name;
    bool known = lua_getstack(lua, 0, &frame);
    for (int i = 1; known && (name = lua_getlocal(lua, &frame, i)) != NULL; i++) {
        if (strstr(name, "(*temporary)") == NULL) {
            buf_printf(&d->text, "<value> %s = ", name);
            log_top(d, lua);
            shown++;
        }
        lua_pop(lua, 1);
    }
    if (shown == 0) debug_log(d, "No local variables in the current context.");
}

/* The innermost that has this name; else KEYS and ARGV. */
static void print_one(struct script_debug *d, lua_State *lua, struct slice wanted) {
    lua_Debug frame;
    for (int level = 0; lua_getstack(lua, level, &frame); level++) {
        const char *name;
        for (int i = 1; (name = lua_getlocal(lua, &frame, i)) != NULL; i++) {
            if (slice_equal(wanted, slice_text(name))) {
                buf_printf(&d->text, "<value> ");
                log_top(d, lua);
                lua_pop(lua, 1);
                return;
            }
            lua_pop(lua, 1);
        }
    }
    if (!slice_equal(wanted, SLICE("KEYS")) && !slice_equal(wanted, SLICE("ARGV"))) {
        debug_log(d, "No such variable.");
        return;
    }
    lua_sandbox_push_globals(lua);
    lua_getfield(lua, -1, slice_equal(wanted, SLICE("KEYS")) ? "KEYS" : "ARGV");
    buf_printf(&d->text, "<value> ");
    log_top(d, lua);
    lua_pop(lua, 2);
}

static void trace(struct script_debug *d, lua_State *lua) {
    lua_Debug frame;
    int level = 0;
    for (; lua_getstack(lua, level, &frame); level++) {
        if (!lua_getinfo(lua, "Snl", &frame) || !strstr(frame.short_src, "user_script")) continue;
        debug_log(d, "%s %s:", level ? "From" : "In", frame.name ? frame.name : "top level");
        debug_log_line(d, frame.currentline);
    }
    if (level == 0) debug_log(d, "<error> Can't retrieve Lua stack.");
}

/* ---- doing things ---- */

static void log_failure(struct script_debug *d, lua_State *lua) {
    const char *text = lua_isstring(lua, -1) ? lua_tostring(lua, -1) : NULL;
    if (text == NULL && lua_istable(lua, -1)) {
        lua_getfield(lua, -1, "err");
        debug_log(d, "<error> %s", lua_isstring(lua, -1) ? lua_tostring(lua, -1) : "?");
        lua_pop(lua, 1);
    } else {
        debug_log(d, "<error> %s", text ? text : luaL_typename(lua, -1));
    }
}

/* As an expression, or else as statements; with the globals that scripts see. */
static bool compile(lua_State *lua, struct slice expression, struct slice code) {
    int status = script_vm_compile(lua, (const char *)expression.data, expression.size,
                                   "@ldb_eval");
    if (status != 0) {
        lua_pop(lua, 1);
        status = script_vm_compile(lua, code.size ? (const char *)code.data : "", code.size,
                                   "@ldb_eval");
    }
    return status == 0;
}

static void eval(struct script_debug *d, lua_State *lua, int argc, const struct slice *argv) {
    buf_printf(&d->text, "return ");
    for (int i = 1; i < argc; i++) {
        if (i > 1) buf_byte(&d->text, ' ');
        buf_add(&d->text, argv[i]);
    }
    struct slice whole = buf_slice(&d->text);
    bool compiled = compile(lua, whole, slice_drop(whole, 7));
    buf_clear(&d->text);
    if (compiled) {
        lua_sandbox_push_globals(lua);
        (void)lua_setfenv(lua, -2);
        compiled = lua_pcall(lua, 0, 1, 0) == 0;
    }
    if (compiled) {
        buf_printf(&d->text, "<retval> ");
        log_top(d, lua);
    } else {
        log_failure(d, lua);
    }
    lua_pop(lua, 1);
}

/* By redis.call() itself, which logs what it does. */
static void redis(struct script_debug *d, lua_State *lua, int argc, const struct slice *argv) {
    if (!lua_checkstack(lua, argc + 4)) {
        debug_log(d, "<reply> max lua stack reached");
        return;
    }
    lua_sandbox_push_globals(lua);
    lua_getfield(lua, -1, "redis");
    lua_getfield(lua, -1, "call");
    for (int i = 1; i < argc; i++)
        lua_pushlstring(lua, (const char *)argv[i].data, argv[i].size);
    d->step = true;
    (void)lua_pcall(lua, argc - 1, 1, 0);
    d->step = false;
    lua_pop(lua, 3);
}

static void length(struct script_debug *d, int argc, const struct slice *argv) {
    int64_t most;
    if (argc == 2) {
        d->hinted = true;
        if (!slice_to_int(argv[1], &most) || most > INT32_MAX) most = 0;
        d->length_max = most && most < LENGTH_LEAST ? LENGTH_LEAST : (size_t)most;
    }
    if (d->length_max)
        debug_log(d, "<value> replies are truncated at %zu bytes.", d->length_max);
    else
        debug_log(d, "<value> replies are unlimited.");
}

static void help(struct script_debug *d) {
    static const char *const lines[] = {
        "What the debugger understands, by the first letter or the whole word:",
        "[s]tep, [n]ext       Run this line, then stop again.",
        "[c]ontinue           Run until a breakpoint, or to the end.",
        "[l]ist [line] [n]    Source around the current or another line, n lines on each side.",
        "[w]hole              All of the source.",
        "[p]rint [name]       Local variables of this function; or one, by name, KEYS and ARGV too.",
        "[b]reak [line ...]   Breakpoints: shown, set; removed with -line, all of them with 0.",
        "[t]race              Who called whom.",
        "[e]val code          Run Lua code, which does not see local variables.",
        "[r]edis command ...  Run a command of Redis as the script would.",
        "[m]axlen [bytes]     How much of a value or a reply is shown; 0: all of it.",
        "[a]bort              End the script; in sync mode what it wrote stays.",
        "[h]elp               This.",
        "In a script redis.debug(...) shows values here, redis.breakpoint() stops at the next line."};
    for (size_t i = 0; i < COUNT(lines); i++) debug_log(d, "%s", lines[i]);
}

static void list_by_words(struct script_debug *d, int argc, const struct slice *argv) {
    int64_t around = d->line, context = AROUND, number;
    if (argc > 1 && slice_to_int(argv[1], &number) && number > 0) around = number;
    if (argc > 2 && slice_to_int(argv[2], &number)) context = number;
    if (around > INT32_MAX) around = INT32_MAX;
    if (context > INT32_MAX) context = INT32_MAX;
    list(d, around, context);
}

static bool is(struct slice word, const char *letter, const char *name) {
    return arg_is(word, letter) || arg_is(word, name);
}

bool debug_obey(struct script_debug *d, lua_State *lua, int argc, const struct slice *argv) {
    struct slice word = argv[0];
    if (is(word, "s", "step") || is(word, "n", "next")) {
        d->step = true;
        return true;
    }
    if (is(word, "c", "continue")) return true;
    if (is(word, "a", "abort")) {
        script_push_error(lua, "ERR script aborted for user request", false);
        (void)lua_error(lua);
    }
    if (is(word, "h", "help"))
        help(d);
    else if (is(word, "t", "trace"))
        trace(d, lua);
    else if (is(word, "m", "maxlen"))
        length(d, argc, argv);
    else if (is(word, "b", "break"))
        breaks(d, argc, argv);
    else if (is(word, "e", "eval"))
        eval(d, lua, argc, argv);
    else if (argc > 1 && is(word, "r", "redis"))
        redis(d, lua, argc, argv);
    else if (is(word, "p", "print") && argc == 2)
        print_one(d, lua, argv[1]);
    else if (is(word, "p", "print"))
        print_all(d, lua);
    else if (is(word, "l", "list"))
        list_by_words(d, argc, argv);
    else if (is(word, "w", "whole"))
        list(d, 1, INT32_MAX);
    else
        debug_log(d, "<error> Unknown Redis Lua debugger command or wrong number of arguments.");
    debug_send(d);
    return false;
}
