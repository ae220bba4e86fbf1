/* script_debug.c -- a debugging session: where it begins and ends, in this process or in a copy of
 * it, and what goes over the client's socket; see script_debug.h. */
#include "server/script_debug.h"

#include "lib/base/mem.h"
#include "lib/base/step.h"
#include "server/args.h"
#include "server/cluster.h"
#include "server/gates.h"
#include "server/reply.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LENGTH_USUAL 256
#define SEND_MS 5000
#define IN_MAX (1u << 20) /* bytes of commands */
#define WORDS_MAX 1024
#define WORD_BYTES_MAX 1024
#define TIMEOUT_USUAL_MS 5000

static pid_t copies[DEBUG_COPIES_MAX]; /* 0: free */

/* ---- the socket, without the loop ---- */

static bool wait_for(const struct client *c, short events, int timeout_ms) {
    struct pollfd wanted = {.fd = c->fd, .events = events};
    int ready;
    do ready = poll(&wanted, 1, timeout_ms);
    while (ready < 0 && errno == EINTR);
    return ready > 0;
}

/* All of BUF, or as much as the client takes; a client that is gone shows at the next reading. */
static void send_all(struct client *c, struct buf *buf) {
    while (buf_size(buf) > 0) {
        struct slice rest = buf_slice(buf);
        ssize_t put = transport_write(&c->transport, c->fd, rest.data, rest.size);
        if (put > 0)
            buf_consume(buf, (size_t)put);
        else if (put == 0 || (errno != EAGAIN && errno != EINTR))
            break;
        else if (!wait_for(c, c->transport.write_wants_read ? POLLIN : POLLOUT, SEND_MS))
            break;
    }
    buf_clear(buf);
}

static bool read_more(struct script_debug *d) {
    struct client *c = d->c;
    for (;;) {
        ssize_t got = transport_read(&c->transport, c->fd, buf_room(&d->in, 4096), 4096);
        if (got > 0) {
            buf_filled(&d->in, (size_t)got);
            return true;
        }
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) return false;
        if (!wait_for(c, c->transport.read_wants_write ? POLLOUT : POLLIN, -1)) return false;
    }
}

void debug_send(struct script_debug *d) {
    struct buf out = {0};
    buf_printf(&out, "*%zu\r\n", d->log_count);
    buf_add(&out, buf_slice(&d->logs));
    buf_clear(&d->logs);
    d->log_count = 0;
    send_all(d->c, &out);
    buf_close(&out);
}

/* ---- commands ---- */

/* MARK and a number up to the line's end. */
static enum step read_head(struct slice *rest, char mark, int64_t most, int64_t *number) {
    if (rest->size == 0) return STEP_MORE;
    if (rest->data[0] != (uint8_t)mark) return STEP_FAIL;
    const uint8_t *end = memchr(rest->data, '\n', rest->size);
    if (end == NULL) return rest->size > 32 ? STEP_FAIL : STEP_MORE;
    size_t size = (size_t)(end - rest->data);
    if (size < 3 || end[-1] != '\r') return STEP_FAIL;
    if (!slice_to_int(slice_from(rest->data + 1, size - 2), number) || *number < 1 ||
        *number > most)
        return STEP_FAIL;
    *rest = slice_drop(*rest, size + 1);
    return STEP_DONE;
}

/* One command from the front of what was read; ARGV points into it. */
static enum step read_command(const struct script_debug *d, struct slice argv[WORDS_MAX],
                              int64_t *argc) {
    struct slice rest = buf_slice(&d->in);
    enum step step = read_head(&rest, '*', WORDS_MAX, argc);
    for (int64_t i = 0; step == STEP_DONE && i < *argc; i++) {
        int64_t size = 0;
        step = read_head(&rest, '$', WORD_BYTES_MAX, &size);
        if (step != STEP_DONE) break;
        if (rest.size < (size_t)size + 2) return STEP_MORE;
        argv[i] = slice_take(rest, (size_t)size);
        if (rest.data[size] != '\r' || rest.data[size + 1] != '\n') return STEP_FAIL;
        rest = slice_drop(rest, (size_t)size + 2);
    }
    return step;
}

static void raise_error(lua_State *lua, const char *text) {
    script_push_error(lua, text, false);
    (void)lua_error(lua);
}

/* Until a command lets the script go on. False: the client is gone, and nothing will stop it. */
static bool converse(struct script_debug *d, lua_State *lua) {
    for (;;) {
        struct slice argv[WORDS_MAX];
        int64_t argc = 0;
        enum step step;
        while ((step = read_command(d, argv, &argc)) == STEP_MORE) {
            if (!read_more(d)) {
                d->step = false;
                d->breakpoint_count = 0;
                return false;
            }
            if (buf_size(&d->in) <= IN_MAX) continue;
            buf_clear(&d->in);
            raise_error(lua, "ERR max client buffer reached");
        }
        if (step == STEP_FAIL) {
            buf_clear(&d->in);
            raise_error(lua, "ERR protocol error");
        }
        bool goes_on = debug_obey(d, lua, (int)argc, argv);
        buf_clear(&d->in); /* one command at a time, as in Redis */
        if (goes_on) return true;
    }
}

/* ---- stopping ---- */

static bool runs_for_long(const struct script_debug *d, const struct script_run *run) {
    int64_t most_ms = d->engine->settings.busy_reply_threshold_ms;
    if (most_ms <= 0) most_ms = TIMEOUT_USUAL_MS;
    return clock_mono_us(d->engine->clock) - run->began_us >= (uint64_t)most_ms * 1000;
}

/* At each line, and now and then within one. */
static void on_hook(lua_State *lua, lua_Debug *where) {
    struct script_vm *vm = script_vm_of(lua);
    struct script_debug *d = vm->engine->scripts->debug;
    if (d == NULL || vm->run == NULL) return;
    (void)lua_getinfo(lua, "Sl", where);
    if (strstr(where->short_src, "user_script") == NULL) return;
    d->line = where->currentline;
    bool marked = d->called || (where->event == LUA_HOOKLINE && debug_is_breakpoint(d, d->line));
    bool late = false;
    if (where->event == LUA_HOOKCOUNT) {
        if (d->step || marked) return; /* the next line stops anyway */
        late = runs_for_long(d, vm->run);
    }
    if (!d->step && !marked && !late) return;
    debug_log(d, "* Stopped at %d, stop reason = %s", d->line,
              d->called ? "redis.breakpoint() called"
              : marked  ? "break point"
              : late    ? "timeout reached, infinite loop?"
                        : "step over");
    d->step = d->called = false;
    debug_log_line(d, d->line);
    debug_send(d);
    bool here = converse(d, lua);
    vm->run->began_us = clock_mono_us(d->engine->clock);
    if (!here && late)
        raise_error(lua, "ERR timeout during Lua debugging with client closing connection");
}

void script_debug_watch(struct script_vm *vm) {
    lua_sethook(vm->lua, on_hook, LUA_MASKLINE | LUA_MASKCOUNT, SCRIPT_HOOK_STEPS);
}

bool script_debug_break(const struct engine *engine) {
    struct script_debug *d = engine->scripts->debug;
    if (d) d->called = true;
    return d != NULL;
}

void script_debug_note_values(lua_State *lua) {
    struct script_debug *d = script_vm_of(lua)->engine->scripts->debug;
    if (d == NULL) return;
    int count = lua_gettop(lua);
    buf_clear(&d->text);
    buf_printf(&d->text, "<debug> line %d: ", d->line);
    for (int i = 1; i <= count; i++) {
        if (i > 1) buf_printf(&d->text, ", ");
        debug_put_value(d, lua, i);
    }
    size_t most = d->length_max;
    d->length_max = 0; /* what the script wants shown is shown */
    debug_log_text(d);
    d->length_max = most;
}

static struct script_debug *stepping(lua_State *lua) {
    struct script_debug *d = script_vm_of(lua)->engine->scripts->debug;
    return d && d->step ? d : NULL;
}

void script_debug_note_call(lua_State *lua, int argc, const struct slice *argv) {
    struct script_debug *d = stepping(lua);
    if (d == NULL) return;
    struct buf line = {0};
    for (int i = 0; i < argc && i < 10; i++) {
        buf_byte(&line, ' ');
        buf_add(&line, argv[i]);
    }
    if (argc > 10) buf_printf(&line, " ... (%d more)", argc - 11);
    debug_log(d, "<redis>%s", buf_text(&line));
    buf_close(&line);
}

void script_debug_note_reply(lua_State *lua, struct slice reply, const char *error) {
    struct script_debug *d = stepping(lua);
    if (d == NULL) return;
    if (error) {
        debug_log(d, "<error> %s", strncmp(error, "ERR ", 4) == 0 ? error + 4 : error);
        return;
    }
    if (reply.size && reply.data[0] == '-') {
        const uint8_t *end = memchr(reply.data, '\r', reply.size);
        debug_log(d, "<error> %.*s", (int)(end ? end - reply.data : 0), (const char *)reply.data);
    }
    buf_clear(&d->text);
    buf_printf(&d->text, "<reply> ");
    debug_put_reply(d, reply);
    debug_log_text(d);
}

/* ---- the session ---- */

static void split(struct script_debug *d, struct slice source) {
    while (source.size && strchr("\r\n", source.data[source.size - 1]) &&
           source.data[source.size - 1])
        source.size--;
    int count = 1;
    for (size_t i = 0; i < source.size; i++) count += source.data[i] == '\n';
    d->lines = NEW_ARRAY(struct slice, (size_t)count);
    while (d->line_count < count) {
        const uint8_t *end = source.size ? memchr(source.data, '\n', source.size) : NULL;
        size_t size = end ? (size_t)(end - source.data) : source.size;
        d->lines[d->line_count++] = slice_take(source, size);
        source = slice_drop(source, end ? size + 1 : size);
    }
}

static void reap(struct engine *engine) {
    for (size_t i = 0; i < DEBUG_COPIES_MAX; i++) {
        if (copies[i] == 0 || waitpid(copies[i], NULL, WNOHANG) == 0) continue;
        engine_log(engine, '*', "Process %d, which debugged a script, is gone", (int)copies[i]);
        copies[i] = 0;
    }
}

static pid_t *free_place(struct engine *engine) {
    reap(engine);
    for (size_t i = 0; i < DEBUG_COPIES_MAX; i++)
        if (copies[i] == 0) return &copies[i];
    return NULL;
}

/* We are the copy: nothing of ours may reach anybody but the client. */
static void become_copy(struct engine *engine, const struct client *c) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGINT, SIG_IGN);
    if (c->fd > 3) (void)syscall(SYS_close_range, 3u, (unsigned)c->fd - 1, 0u);
    (void)syscall(SYS_close_range, (unsigned)c->fd + 1, ~0u, 0u);
    propagate_detach_all(engine);
    hooks_forget(engine, HOOK_FLUSHED); /* which saves */
    engine->observer = NULL;
    if (engine->cluster) engine->cluster->bus = NULL;
}

/* False: go no further here. */
static bool part(struct client *c) {
    pid_t *place = free_place(c->engine);
    if (place == NULL) {
        reply_error(c, "ERR %d scripts are being debugged already", DEBUG_COPIES_MAX);
        return false;
    }
    pid_t pid = fork();
    if (pid < 0) {
        reply_error(c, "ERR Fork() failed: can't run EVAL in debugging mode: %s", strerror(errno));
        return false;
    }
    if (pid == 0) {
        become_copy(c->engine, c);
        return true;
    }
    *place = pid;
    engine_log(c->engine, '#', "A script is debugged in process %d", (int)pid);
    transport_abandon(&c->transport); /* the connection is the copy's */
    client_close_later(c);
    return false;
}

bool script_debug_begin(struct client *c) {
    struct engine_scripts *all = c->engine->scripts;
    if (c->fd < 0 || c->flags & (CLIENT_EXECUTING | CLIENT_MASTER | CLIENT_FAKE)) {
        reply_error(c, "ERR a script cannot be debugged here");
        return false;
    }
    send_all(c, &c->out); /* in a copy as here, nothing else is to be said by the loop */
    bool copy = c->debugs == CLIENT_DEBUGS_COPY;
    if (copy && !part(c)) {
        c->debugs = CLIENT_DEBUGS_NOT;
        return false;
    }
    if (!copy) engine_log(c->engine, '#', "A script is debugged, and everybody waits for it");
    all->debug = NEW(struct script_debug);
    *all->debug = (struct script_debug){.engine = c->engine,
                                        .c = c,
                                        .is_copy = copy,
                                        .step = true,
                                        .length_max = LENGTH_USUAL};
    split(all->debug, c->argv[1]);
    return true;
}

/* The reply of EVAL, and then the end of the connection, are how a client knows. */
void script_debug_end(struct client *c) {
    struct engine_scripts *all = c->engine->scripts;
    struct script_debug *d = all->debug;
    struct buf reply = c->out;
    c->out = (struct buf){0};
    debug_log(d, "<endsession>");
    debug_send(d);
    if (d->is_copy) {
        send_all(c, &reply);
        transport_close(&c->transport);
        _exit(0);
    }
    c->out = reply;
    all->debug = NULL;
    mem_free(d->lines);
    buf_close(&d->in);
    buf_close(&d->logs);
    buf_close(&d->text);
    mem_free(d);
    c->debugs = CLIENT_DEBUGS_NOT;
    engine_read_clock(c->engine);
    engine_log(c->engine, '#', "A script was debugged");
    client_close_after_reply(c);
}

/* ---- SCRIPT DEBUG, and copies ---- */

void script_debug_command(struct client *c) {
    if (buf_size(&c->out) > 0)
        reply_error(c, "ERR SCRIPT DEBUG must be called outside a pipeline");
    else if (arg_is(c->argv[2], "no"))
        c->debugs = CLIENT_DEBUGS_NOT;
    else if (arg_is(c->argv[2], "yes"))
        c->debugs = CLIENT_DEBUGS_COPY;
    else if (arg_is(c->argv[2], "sync"))
        c->debugs = CLIENT_DEBUGS_HERE;
    else
        reply_error(c, "ERR Use SCRIPT DEBUG YES/SYNC/NO");
    if (buf_size(&c->out) == 0) reply_ok(c);
}

static void on_shutdown(struct engine *engine) {
    (void)engine;
    for (size_t i = 0; i < DEBUG_COPIES_MAX; i++)
        if (copies[i]) (void)kill(copies[i], SIGKILL);
}

void script_debug_open(struct engine *engine) {
    engine_hook_add(engine, HOOK_TICK, reap);
    engine_hook_add(engine, HOOK_SHUTDOWN, on_shutdown);
}
