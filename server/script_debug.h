/* script_debug.h -- SCRIPT DEBUG: a person steps through a script of EVAL.
 *
 *     EVAL --> begin --> lines run, each may stop: logs go out, commands come in --> end, hang up
 *
 * While the script stands still the client's socket is read and written right here, and nothing
 * else happens in this process; with SYNC that is the server, as in Redis. With YES it is a copy of
 * the process, made by fork() and thrown away at the end: what the script changed was never there.
 * In the copy only the engine's thread lives: it has no files and sockets but the client's, sends
 * nothing to replicas, AOF or snapshots, and never runs the loop.
 *
 * What is answered is an array of status lines for each stop or command, the last of which ends with
 * "<endsession>"; then comes EVAL's own reply, and the connection is closed.
 *
 * Hostile input: of the debugger's commands at most 1 MB, 1,024 words of at most 1,024 bytes each;
 * what is shown of a value ends at 1 MB.
 * Whose behaviour: the debugger in eval.c of Redis 7.0.
 */
#ifndef SERVER_SCRIPT_DEBUG_H
#define SERVER_SCRIPT_DEBUG_H

#include "server/script.h"

#define DEBUG_BREAKPOINTS_MAX 64
#define DEBUG_COPIES_MAX 16 /* processes at a time */

struct script_debug {
    struct engine *engine;
    struct client *c;
    bool is_copy;
    bool step;   /* stop at the next line; what is called is logged */
    bool called; /* redis.breakpoint() was */
    int line;    /* the current one */
    int breakpoints[DEBUG_BREAKPOINTS_MAX];
    int breakpoint_count;
    size_t length_max; /* of a value or a reply that is shown; 0: none */
    bool hinted;       /* how to see all of it */
    struct slice *lines; /* of the source; owned, bytes are the request's */
    int line_count;
    struct buf in;   /* of the client, not yet read */
    struct buf logs; /* lines as status replies */
    size_t log_count;
    struct buf text; /* what is being built */
};

/* SCRIPT DEBUG YES, SYNC, NO. */
void script_debug_command(struct client *c);
/* False: EVAL is not to run here (an error was replied, or a copy of the process does it). */
MUST_CHECK bool script_debug_begin(struct client *c);
/* After EVAL. A copy of the process does not return from it. */
void script_debug_end(struct client *c);
/* The interpreter's hook for this run. */
void script_debug_watch(struct script_vm *vm);
void script_debug_open(struct engine *engine);

/* redis.breakpoint() and redis.debug(); the first answers whether there is a debugger. */
bool script_debug_break(const struct engine *engine);
void script_debug_note_values(lua_State *lua);
/* Around redis.call(): what it is asked, what it answers or why not. Nothing unless one steps. */
void script_debug_note_call(lua_State *lua, int argc, const struct slice *argv);
void script_debug_note_reply(lua_State *lua, struct slice reply, const char *error);

/* ---- script_debug_show.c ---- */

/* A line of log; line breaks in it become spaces. */
void debug_log(struct script_debug *d, const char *fmt, ...) PRINTF(2, 3);
void debug_log_text(struct script_debug *d); /* d->text, cut to length_max */
/* Appends to d->text: the value at INDEX (absolute), a RESP reply for people. */
void debug_put_value(struct script_debug *d, lua_State *lua, int index);
void debug_put_reply(struct script_debug *d, struct slice reply);

/* ---- script_debug_words.c ---- */

/* One command of the person who debugs. True: the script goes on. May raise a Lua error. */
bool debug_obey(struct script_debug *d, lua_State *lua, int argc, const struct slice *argv);
void debug_log_line(struct script_debug *d, int line);
bool debug_is_breakpoint(const struct script_debug *d, int line);
/* Send what was logged. */
void debug_send(struct script_debug *d);

#endif
