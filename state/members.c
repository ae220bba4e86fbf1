/* members.c -- the control listener: connections, HELLO, commands and reports. */
#include "state/members.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/queue.h"
#include "lib/net/listener.h"
#include "lib/net/loop.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define TICK_MS 250
#define REPORT_WORDS_MAX 8
#define PING_AFTER_MS 1000

static const struct resp_request_limits request_limits = {.args_max = 64,
                                                          .bulk_bytes_max = 64 * 1024,
                                                          .total_bytes_max = 256 * 1024,
                                                          .authenticated = true};
static const struct resp_reply_limits report_limits = {
    .bytes_max = 4u << 20, .items_max = 1024, .depth_max = 4};

struct pending {
    member_on_answer *on_answer;
    void *self;
};

/* A connection; it is a member once `task` is set. */
struct member {
    struct members *owner;
    struct member *next, **link; /* in owner->first, all connections */
    struct stream *stream;
    struct buf in;
    struct resp_request request;
    struct resp_reply_reader reader;
    bool task, gone;
    enum member_role role;
    struct member_row row;
    int64_t joined_ms;
    uint64_t heard_ms, asked_ms;
    json_t *stats;
    struct pending pending[MEMBER_PENDING_MAX]; /* a ring */
    size_t pending_first, pending_count;
};

struct members {
    struct loop *loop;
    struct listener *listener;
    struct loop_timer tick;
    const struct members_events *events;
    void *self;
    struct member *first;
    size_t count;
    bool closing;
};

/* ---- the end of a connection ---- */

static void unlink_member(struct member *m) {
    *m->link = m->next;
    if (m->next) m->next->link = m->link;
    m->owner->count--;
}

static void free_member(struct member *m) {
    buf_close(&m->in);
    resp_request_close(&m->request);
    json_decref(m->stats);
    mem_free(m);
}

static void give_up_pending(struct member *m, const char *why) {
    while (m->pending_count) {
        struct pending p = m->pending[m->pending_first];
        m->pending_first = (m->pending_first + 1) % MEMBER_PENDING_MAX;
        m->pending_count--;
        if (p.on_answer) p.on_answer(p.self, m, false, slice_text(why));
    }
}

/* Says once that it is gone; the memory goes when the stream has closed. */
static void lose(struct member *m, const char *why) {
    if (m->gone) return;
    m->gone = true;
    unlink_member(m);
    if (m->task && !m->owner->closing) {
        give_up_pending(m, why);
        m->owner->events->on_lost(m->owner->self, m, why);
    }
}

static void cut_off(struct member *m, const char *why) {
    lose(m, why);
    stream_abort(m->stream);
}

static void on_closed(void *self, enum err err, const struct why *why) {
    struct member *m = self;
    lose(m, err == OK ? "closed" : why->text);
    free_member(m);
}

/* ---- HELLO ---- */

static bool take_text(struct slice from, char *to, size_t size) {
    if (from.size == 0 || from.size >= size) return false;
    for (size_t i = 0; i < from.size; i++) /* it becomes part of connection names and log lines */
        if (from.data[i] <= 0x20 || from.data[i] > 0x7e || from.data[i] == ':' ||
            from.data[i] == '"')
            return false;
    memcpy(to, from.data, from.size);
    to[from.size] = 0;
    return true;
}

static bool read_hello(size_t argc, const struct slice *argv, struct member_row *row) {
    int64_t epoch;
    *row = (struct member_row){0};
    if (argc != 7 || !take_text(argv[2], row->role, sizeof row->role) ||
        !take_text(argv[3], row->name, sizeof row->name) ||
        !take_text(argv[4], row->version, sizeof row->version) || !slice_to_int(argv[5], &epoch) ||
        epoch < 0 || !slice_to_int(argv[6], &row->pid))
        return false;
    row->epoch = (uint64_t)epoch;
    return true;
}

static void hello(struct member *m, size_t argc, const struct slice *argv, struct buf *out) {
    struct members *ms = m->owner;
    struct member_row row;
    struct why why;
    if (!read_hello(argc, argv, &row)) {
        resp_write_errorf(out, "ERR DRAWBRIDGE HELLO role name version epoch pid");
        return;
    }
    enum member_role role = strcmp(row.role, "gateway") == 0  ? MEMBER_GATEWAY
                            : strcmp(row.role, "syncer") == 0 ? MEMBER_SYNCER
                                                              : MEMBER_ROLES;
    if (role == MEMBER_ROLES) {
        resp_write_errorf(out, "ERR role is gateway or syncer");
        return;
    }
    struct member *other = members_find(ms, role, row.name);
    if (other && member_silence_ms(other) < MEMBER_SILENCE_MS && other->row.pid != row.pid) {
        resp_write_errorf(out, "STALE %s %s is alive as process %" PRId64, row.role, row.name,
                          other->row.pid);
        return;
    }
    if (other) cut_off(other, "it dialled again");
    if (!ms->events->may_join(ms->self, &row, &why)) {
        resp_write_error(out, slice_text(why.text));
        return;
    }
    ms->events->greet(ms->self, out);
    m->task = true;
    m->role = role;
    m->row = row;
    m->joined_ms = clock_wall_ms(loop_clock(ms->loop));
}

/* ---- bytes ---- */

static bool is_word(struct slice s, const char *word) {
    return slice_equal_nocase(s, slice_text(word));
}

static void answer_request(struct member *m, size_t argc, const struct slice *argv) {
    struct buf out = {0};
    if (argc >= 2 && is_word(argv[0], "DRAWBRIDGE") && is_word(argv[1], "HELLO"))
        hello(m, argc, argv, &out);
    else if (is_word(argv[0], "PING"))
        resp_write_simple(&out, SLICE("PONG"));
    else
        m->owner->events->on_ask(m->owner->self, argc, argv, &out);
    stream_write_buf(m->stream, &out);
    buf_close(&out);
    if (m->task) m->owner->events->on_joined(m->owner->self, m);
}

/* Requests until the connection turns into a task connection. */
static bool take_request(struct member *m) {
    size_t used = 0;
    struct why why;
    enum step step =
        resp_request_next(&m->request, &request_limits, buf_slice(&m->in), &used, &why);
    if (step == STEP_FAIL) {
        cut_off(m, why.text);
        return false;
    }
    if (step == STEP_MORE) return false;
    if (m->request.argc) answer_request(m, m->request.argc, m->request.argv);
    if (m->gone) return false;
    buf_consume(&m->in, used);
    return true;
}

static void take_push(struct member *m, const struct resp_reply *push) {
    struct slice words[REPORT_WORDS_MAX];
    json_t *json = NULL;
    if (push->count < 2 || push->count > REPORT_WORDS_MAX) return;
    for (size_t i = 0; i < push->count; i++) words[i] = push->child[i].text;
    struct slice last = words[push->count - 1];
    size_t count = push->count;
    if (last.size && last.data[0] == '{') {
        json = json_loadb((const char *)last.data, last.size, JSON_REJECT_DUPLICATES, NULL);
        count--;
    }
    m->owner->events->on_report(m->owner->self, m, words, count, json);
    json_decref(json);
}

static void take_answer(struct member *m, const struct resp_reply *reply) {
    if (m->pending_count == 0) {
        cut_off(m, "it answered what nobody asked");
        return;
    }
    struct pending p = m->pending[m->pending_first];
    m->pending_first = (m->pending_first + 1) % MEMBER_PENDING_MAX;
    m->pending_count--;
    if (resp_reply_is_error(reply))
        log_warn("member.refused", LOG_S("role", m->row.role), LOG_S("name", m->row.name),
                 LOG_SL("answer", reply->text));
    if (p.on_answer) p.on_answer(p.self, m, !resp_reply_is_error(reply), reply->text);
}

static bool take_reply(struct member *m) {
    struct resp_reply *reply = NULL;
    size_t used = 0;
    struct why why;
    enum step step =
        resp_reply_next(&m->reader, &report_limits, buf_slice(&m->in), &reply, &used, &why);
    if (step == STEP_FAIL) {
        cut_off(m, why.text);
        return false;
    }
    if (step == STEP_MORE) return false;
    buf_consume(&m->in, used);
    if (reply->kind == RESP_PUSH)
        take_push(m, reply);
    else
        take_answer(m, reply);
    resp_reply_free(reply);
    return !m->gone;
}

static void on_bytes(void *self, struct slice bytes) {
    struct member *m = self;
    if (m->gone) return;
    m->heard_ms = loop_now_ms(m->owner->loop);
    buf_add(&m->in, bytes);
    while (buf_size(&m->in) && (m->task ? take_reply(m) : take_request(m))) continue;
    if (!m->gone) buf_shrink(&m->in, 64 * 1024);
}

static const struct stream_events stream_events = {.on_bytes = on_bytes, .on_closed = on_closed};

static void on_stream(void *self, struct stream *stream) {
    struct members *ms = self;
    if (ms->count >= CONTROL_CONNS_MAX) {
        log_warn("control.full", LOG_U("connections", ms->count));
        stream_drop(stream);
        return;
    }
    struct member *m = NEW(struct member);
    m->owner = ms;
    m->stream = stream;
    m->heard_ms = m->asked_ms = loop_now_ms(ms->loop);
    m->next = ms->first;
    m->link = &ms->first;
    if (m->next) m->next->link = &m->next;
    ms->first = m;
    ms->count++;
    stream_set_owner(stream, &stream_events, m);
}

static void tick(void *self) {
    struct members *ms = self;
    uint64_t now_ms = loop_now_ms(ms->loop);
    struct member *next;
    for (struct member *m = ms->first; m; m = next) {
        next = m->next;
        if (!m->task) continue;
        uint64_t silent_ms = now_ms - m->heard_ms;
        if (silent_ms > MEMBER_SILENCE_MS) {
            cut_off(m, "silent for 3 s");
            next = ms->first; /* on_lost may have changed the list */
        } else if (silent_ms > PING_AFTER_MS && now_ms - m->asked_ms > PING_AFTER_MS) {
            m->asked_ms = now_ms;
            member_sendf(m, NULL, NULL, "PING");
        }
    }
}

enum err members_open(struct members **out, struct loop *loop, const struct endpoint *listen,
                      const struct members_events *events, void *self, struct why *why) {
    struct members *ms = NEW(struct members);
    ms->loop = loop;
    ms->events = events;
    ms->self = self;
    struct listener_options options = {.streams = {.queue_limit_bytes = 16u << 20}};
    enum err err = listener_open(&ms->listener, loop, listen, &options, on_stream, ms, why);
    if (err) {
        mem_free(ms);
        return why_add(why, err, "state.control");
    }
    loop_timer_start(loop, &ms->tick, TICK_MS, TICK_MS, tick, ms);
    *out = ms;
    return OK;
}

enum err members_reload_tls(struct members *members, struct why *why) {
    if (!listener_endpoint(members->listener)->tls.on) return OK;
    enum err err = listener_reload_tls(members->listener, why);
    return err == OK ? OK : why_add(why, err, "state.tls");
}

void members_close(struct members *members) {
    if (!members) return;
    members->closing = true;
    loop_timer_stop(&members->tick);
    listener_close(members->listener);
    /* What waits for a member's answer is told; the members themselves are not looked at again. */
    while (members->first) {
        struct member *m = members->first;
        unlink_member(m);
        give_up_pending(m, "state is ending");
        stream_drop(m->stream);
        free_member(m);
    }
    mem_free(members);
}

/* ---- commands to a member ---- */

void member_send(struct member *m, member_on_answer *on_answer, void *self, size_t argc,
                 const struct slice *argv) {
    ASSERT(m->task);
    if (m->gone) return;
    if (m->pending_count == MEMBER_PENDING_MAX) {
        cut_off(m, "it answers nothing");
        return;
    }
    size_t last = (m->pending_first + m->pending_count++) % MEMBER_PENDING_MAX;
    m->pending[last] = (struct pending){on_answer, self};
    struct buf out = {0};
    resp_write_command(&out, argc, argv);
    stream_write_buf(m->stream, &out);
    buf_close(&out);
}

void member_sendf(struct member *m, member_on_answer *on_answer, void *self, const char *fmt, ...) {
    char text[1024];
    struct slice argv[16];
    size_t argc = 0;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    for (char *word = text, *end; word && argc < 16; word = end ? end + 1 : NULL) {
        end = strchr(word, ' ');
        argv[argc++] = slice_from(word, end ? (size_t)(end - word) : strlen(word));
    }
    member_send(m, on_answer, self, argc, argv);
}

/* ---- looking ---- */

enum member_role member_role(const struct member *m) {
    return m->role;
}
const struct member_row *member_row(const struct member *m) {
    return &m->row;
}
uint64_t member_silence_ms(const struct member *m) {
    return loop_now_ms(m->owner->loop) - m->heard_ms;
}
int64_t member_joined_ms(const struct member *m) {
    return m->joined_ms;
}
json_t *member_stats(const struct member *m) {
    return m->stats;
}
void member_set_epoch(struct member *m, uint64_t epoch) {
    m->row.epoch = epoch;
}

void member_keep_stats(struct member *m, const json_t *stats) {
    json_decref(m->stats);
    m->stats = json_deep_copy(stats);
}

static struct member *task_from(struct member *m, enum member_role role) {
    while (m && !(m->task && m->role == role)) m = m->next;
    return m;
}

struct member *members_first(const struct members *members, enum member_role role) {
    return members ? task_from(members->first, role) : NULL;
}
struct member *members_next(const struct member *m) {
    return task_from(m->next, m->role);
}

struct member *members_find(const struct members *members, enum member_role role, const char *name) {
    for (struct member *m = members_first(members, role); m; m = members_next(m))
        if (strcmp(m->row.name, name) == 0) return m;
    return NULL;
}
