/* clientcmd.c -- CLIENT ... for the gateway's own clients; see client.h.
 *
 * What concerns clients of other loops (LIST, KILL, UNBLOCK, PAUSE) travels from loop to loop in
 * one message and comes back to the loop that asked; the client waits for it.
 */
#include "gateway/clientcmd.h"
#include "gateway/backend.h"
#include "gateway/blocked.h"
#include "gateway/dual.h"
#include "gateway/client.h"
#include "gateway/multi.h"
#include "gateway/subs.h"

#include "lib/base/mem.h"

#include <inttypes.h>
#include <stdio.h>

enum tour_kind { TOUR_LIST, TOUR_KILL, TOUR_UNBLOCK, TOUR_PAUSE };

struct tour {
    struct gateway *gw;
    enum tour_kind kind;
    unsigned origin, at, left; /* loops: who asked, where it is, how many are still to be visited */
    uint64_t asker;            /* client id */
    struct buf text;           /* LIST */
    int64_t count;             /* KILL, UNBLOCK */
    /* what is looked for; 0 and empty: anything */
    uint64_t *ids;
    size_t id_count;
    char addr[300], laddr[300], user[128];
    int type; /* enum client_type; -1: any */
    bool skip_me, old_form, with_error;
    uint64_t pause_ms;
    bool writes_only;
    void (*done)(void *self, struct slice text); /* asked by the main loop, not by a client */
    void *self;
};

enum client_type { TYPE_NORMAL, TYPE_MASTER, TYPE_REPLICA, TYPE_PUBSUB };

static enum client_type type_of(const struct client *c) {
    return subs_count(c) > 0 ? TYPE_PUBSUB : TYPE_NORMAL;
}

static bool read_type(struct slice text, int *type) {
    static const char *const names[] = {"normal", "master", "replica", "pubsub", "slave"};
    for (int i = 0; i < 5; i++) {
        if (!slice_equal_nocase(text, slice_text(names[i]))) continue;
        *type = i == 4 ? TYPE_REPLICA : i;
        return true;
    }
    return false;
}

static const char *user_of(const struct client *c) {
    const char *user = c->worker->gw->config->gateway.auth.user;
    return user ? user : "default";
}

static void flags_of(const struct client *c, char text[8]) {
    size_t n = 0;
    if (type_of(c) == TYPE_PUBSUB) text[n++] = 'P';
    if (c->multi != NULL) text[n++] = 'x';
    if (c->blocked != NULL || c->dual_wait != NULL || c->far_wait != NULL) text[n++] = 'b';
    if (c->monitor) text[n++] = 'O';
    if (c->tracking) text[n++] = 't';
    if (c->no_evict) text[n++] = 'e';
    if (n == 0) text[n++] = 'N';
    text[n] = '\0';
}

/* One line as CLIENT LIST of Redis 7.0 has it, with the lib fields of 7.2 at its end. */
static void write_line(const struct client *c, struct buf *out) {
    char flags[8];
    uint64_t now_us = c->worker->now_us;
    flags_of(c, flags);
    size_t queued = stream_queued_bytes(c->stream);
    buf_printf(out,
               "id=%" PRIu64 " addr=%s laddr=%s fd=%d name=%s age=%" PRIu64 " idle=%" PRIu64
               " flags=%s db=%d sub=%zu psub=%zu ssub=%zu multi=%d qbuf=%zu qbuf-free=0 argv-mem=0 "
               "multi-mem=%zu rbs=0 rbp=0 obl=0 oll=0 omem=%zu tot-mem=%zu events=r cmd=%s user=%s "
               "redir=-1 resp=%u lib-name=%s lib-ver=%s\n",
               c->id, stream_peer(c->stream), stream_local(c->stream), stream_fd(c->stream),
               c->name ? c->name : "", now_us / 1000000 - c->created_at_s,
               now_us > c->last_at_us ? (now_us - c->last_at_us) / 1000000 : 0, flags, c->db,
               subs_count_of(c, SUBS_CHANNEL), subs_count_of(c, SUBS_PATTERN),
               subs_count_of(c, SUBS_SHARD), c->multi ? (int)c->multi->count : -1, buf_size(&c->in),
               c->multi ? buf_size(&c->multi->block) : 0, queued,
               queued + buf_size(&c->in) + sizeof *c, c->last ? c->last->name : "NULL", user_of(c),
               c->proto, c->lib_name ? c->lib_name : "", c->lib_version ? c->lib_version : "");
}

static bool fits(const struct tour *tour, const struct client *c) {
    bool found = tour->id_count == 0;
    for (size_t i = 0; i < tour->id_count; i++) found |= tour->ids[i] == c->id;
    if (!found || c->stream == NULL || c->closing) return false;
    if (tour->addr[0] && strcmp(tour->addr, stream_peer(c->stream)) != 0) return false;
    if (tour->laddr[0] && strcmp(tour->laddr, stream_local(c->stream)) != 0) return false;
    if (tour->user[0] && strcmp(tour->user, user_of(c)) != 0) return false;
    if (tour->type >= 0 && type_of(c) != (enum client_type)tour->type) return false;
    return !(tour->skip_me && c->id == tour->asker);
}

/* UNBLOCK: the server does it, and its answer comes as the blocked command's; of what waits here
 * (C17), the lanes do. */
static void unblock(struct tour *tour, struct client *c) {
    if (dual_unblock(c, tour->with_error)) tour->count++;
    if (c->blocked == NULL || !c->leased) return;
    struct backend *b = c->worker->shared[c->worker->side][0][0];
    if (b == NULL || !backend_is_ready(b) || c->worker->held) return;
    char id[24];
    struct buf out = {0};
    (void)snprintf(id, sizeof id, "%" PRId64, c->conn->server_id);
    resp_write_words(&out, "CLIENT", "UNBLOCK", id, tour->with_error ? "ERROR" : "TIMEOUT", NULL);
    backend_write(b, buf_slice(&out));
    buf_close(&out);
    (void)backend_expect(b, NULL, REQ_DROP, 1);
    tour->count++;
}

static void visit_client(struct tour *tour, struct client *c) {
    switch (tour->kind) {
    case TOUR_LIST: write_line(c, &tour->text); break;
    case TOUR_KILL:
        tour->count++;
        if (c->id == tour->asker && c->worker->number == tour->origin)
            c->closing = true;
        else
            client_abort(c);
        break;
    case TOUR_UNBLOCK: unblock(tour, c); break;
    case TOUR_PAUSE:
    default: break;
    }
}

static void pause_loop(struct worker *w, const struct tour *tour) {
    w->pause_until_ms = tour->pause_ms ? loop_now_ms(w->loop) + tour->pause_ms : 0;
    w->pause_writes_only = tour->writes_only;
    if (tour->pause_ms == 0) worker_unpark_all(w, PARK_ROUTE);
}

static void visit_loop(struct tour *tour, struct worker *w) {
    if (tour->kind == TOUR_PAUSE) {
        pause_loop(w, tour);
        return;
    }
    for (struct list *next, *at = w->clients.next; at != &w->clients; at = next) {
        next = at->next;
        struct client *c = LIST_OWNER(at, struct client, link);
        if (fits(tour, c)) visit_client(tour, c);
    }
}

static void free_tour(struct tour *tour) {
    buf_close(&tour->text);
    mem_free(tour->ids);
    mem_free(tour);
}

static void write_result(struct tour *tour, struct client *c) {
    struct buf *out = &c->worker->scratch;
    bool was_closing = c->closing;
    buf_clear(out);
    if (tour->kind == TOUR_LIST)
        resp_write_verbatim(out, c->proto, "txt", buf_slice(&tour->text));
    else if (tour->kind == TOUR_PAUSE || (tour->old_form && tour->count > 0))
        resp_write_ok(out);
    else if (tour->old_form)
        resp_write_error(out, SLICE("ERR No such client"));
    else
        resp_write_int(out, tour->kind == TOUR_UNBLOCK && tour->count > 1 ? 1 : tour->count);
    c->busy = false;
    client_reply_scratch(c);
    if (was_closing)
        client_close(c); /* it killed itself, and has its answer */
    else
        client_wake(c);
}

static void tour_stop(void *self);

static void go_on(struct tour *tour) {
    if (loop_call(tour->gw->workers[tour->at]->loop, tour_stop, tour)) return;
    free_tour(tour); /* the loop is full to the brim: the client stays unanswered and may go */
}

static void tour_home(void *self) {
    struct tour *tour = self;
    tour->done(tour->self, buf_slice(&tour->text));
    free_tour(tour);
}

static void tour_stop(void *self) {
    struct tour *tour = self;
    struct worker *w = tour->gw->workers[tour->at];
    worker_begin(w);
    if (tour->left > 0) {
        visit_loop(tour, w);
        tour->left--;
        tour->at = tour->left > 0 ? (tour->at + 1) % tour->gw->loops : tour->origin;
        if (tour->left > 0 || w->number != tour->origin) {
            worker_run_ready(w);
            go_on(tour);
            return;
        }
    }
    struct client *c = worker_find_client(w, tour->asker);
    if (c != NULL) write_result(tour, c);
    worker_run_ready(w);
    if (tour->done == NULL || !loop_call(tour->gw->main, tour_home, tour)) free_tour(tour);
}

void clientcmd_list(struct gateway *gw, void (*done)(void *self, struct slice text), void *self) {
    struct tour *tour = NEW(struct tour);
    *tour = (struct tour){.gw = gw,
                          .kind = TOUR_LIST,
                          .at = gw->loops > 1 ? 1 : 0,
                          .left = gw->loops,
                          .type = -1,
                          .done = done,
                          .self = self};
    go_on(tour);
}

static struct tour *new_tour(struct client *c, enum tour_kind kind) {
    struct tour *tour = NEW(struct tour);
    tour->gw = c->worker->gw;
    tour->kind = kind;
    tour->origin = c->worker->number;
    tour->at = (tour->origin + 1) % tour->gw->loops; /* it ends at home */
    tour->left = tour->gw->loops;
    tour->asker = c->id;
    tour->type = -1;
    return tour;
}

static enum take start(struct client *c, struct tour *tour) {
    c->busy = true;
    go_on(tour);
    return TAKE_DONE;
}

static enum take refuse(struct client *c, struct tour *tour, const char *words) {
    if (tour != NULL) free_tour(tour);
    client_reply_errorf(c, "%s", words);
    return TAKE_DONE;
}

static void copy(char *to, size_t room, struct slice text) {
    size_t size = text.size < room ? text.size : room - 1;
    memcpy(to, text.data, size);
    to[size] = '\0';
}

static bool add_id(struct tour *tour, struct slice text) {
    int64_t id = 0;
    if (!slice_to_int(text, &id) || id <= 0) return false;
    tour->ids = mem_realloc(tour->ids, (tour->id_count + 1) * sizeof *tour->ids);
    tour->ids[tour->id_count++] = (uint64_t)id;
    return true;
}

static enum take list(struct client *c) {
    const struct resp_request *r = &c->request;
    struct tour *tour = new_tour(c, TOUR_LIST);
    if (r->argc == 4 && slice_equal_nocase(r->argv[2], SLICE("type"))) {
        if (!read_type(r->argv[3], &tour->type)) return refuse(c, tour, "ERR Unknown client type");
    } else if (r->argc > 3 && slice_equal_nocase(r->argv[2], SLICE("id"))) {
        for (size_t i = 3; i < r->argc; i++)
            if (!add_id(tour, r->argv[i])) return refuse(c, tour, "ERR Invalid client ID");
    } else if (r->argc != 2) {
        return refuse(c, tour, "ERR syntax error");
    }
    return start(c, tour);
}

/* One filter of CLIENT KILL; the error, or NULL. */
static const char *kill_filter(struct tour *tour, struct slice name, struct slice value) {
    if (slice_equal_nocase(name, SLICE("id")))
        return add_id(tour, value) ? NULL : "ERR client-id should be greater than 0";
    if (slice_equal_nocase(name, SLICE("type")))
        return read_type(value, &tour->type) ? NULL : "ERR Unknown client type";
    if (slice_equal_nocase(name, SLICE("addr")))
        copy(tour->addr, sizeof tour->addr, value);
    else if (slice_equal_nocase(name, SLICE("laddr")))
        copy(tour->laddr, sizeof tour->laddr, value);
    else if (slice_equal_nocase(name, SLICE("user")))
        copy(tour->user, sizeof tour->user, value);
    else if (slice_equal_nocase(name, SLICE("skipme")) && slice_equal_nocase(value, SLICE("yes")))
        tour->skip_me = true;
    else if (slice_equal_nocase(name, SLICE("skipme")) && slice_equal_nocase(value, SLICE("no")))
        tour->skip_me = false;
    else
        return "ERR syntax error";
    return NULL;
}

static enum take kill_clients(struct client *c) {
    const struct resp_request *r = &c->request;
    struct tour *tour = new_tour(c, TOUR_KILL);
    if (r->argc == 3) {
        tour->old_form = true;
        copy(tour->addr, sizeof tour->addr, r->argv[2]);
        return start(c, tour);
    }
    if (r->argc % 2 != 0) return refuse(c, tour, "ERR syntax error");
    tour->skip_me = true;
    for (size_t i = 2; i + 1 < r->argc; i += 2) {
        const char *error = kill_filter(tour, r->argv[i], r->argv[i + 1]);
        if (error != NULL) return refuse(c, tour, error);
    }
    return start(c, tour);
}

static enum take pause_clients(struct client *c, bool on) {
    const struct resp_request *r = &c->request;
    struct tour *tour = new_tour(c, TOUR_PAUSE);
    int64_t ms = 0;
    if (on && (!slice_to_int(r->argv[2], &ms) || ms < 0))
        return refuse(c, tour, "ERR timeout is not an integer or out of range");
    if (on && r->argc == 4 && slice_equal_nocase(r->argv[3], SLICE("write")))
        tour->writes_only = true;
    else if (on && r->argc == 4 && !slice_equal_nocase(r->argv[3], SLICE("all")))
        return refuse(c, tour, "ERR CLIENT PAUSE mode must be WRITE or ALL");
    tour->pause_ms = (uint64_t)ms;
    return start(c, tour);
}

static enum take unblock_client(struct client *c) {
    const struct resp_request *r = &c->request;
    struct tour *tour = new_tour(c, TOUR_UNBLOCK);
    if (r->argc == 4 && slice_equal_nocase(r->argv[3], SLICE("error")))
        tour->with_error = true;
    else if (r->argc == 4 && !slice_equal_nocase(r->argv[3], SLICE("timeout")))
        return refuse(c, tour, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    if (!add_id(tour, r->argv[2]))
        return refuse(c, tour, "ERR value is not an integer or out of range");
    return start(c, tour);
}

static enum take reply_command(struct client *c) {
    struct slice mode = c->request.argv[2];
    if (slice_equal_nocase(mode, SLICE("on"))) {
        c->reply_mode = REPLY_ON;
        client_reply_ok(c);
    } else if (slice_equal_nocase(mode, SLICE("off"))) {
        c->reply_mode = REPLY_OFF;
    } else if (slice_equal_nocase(mode, SLICE("skip"))) {
        if (c->reply_mode != REPLY_OFF) c->skip_next = true;
    } else {
        client_reply_errorf(c, "ERR syntax error");
    }
    return TAKE_DONE;
}

static bool text_is_fine(struct slice text) {
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] < '!' || text.data[i] > '~') return false;
    return true;
}

static enum take set_name(struct client *c) {
    if (!text_is_fine(c->request.argv[2]))
        return refuse(c, NULL,
                      "ERR Client names cannot contain spaces, newlines or special characters.");
    client_put_text(&c->name, c->request.argv[2]);
    client_reply_ok(c);
    return TAKE_DONE;
}

static enum take set_info(struct client *c) {
    const struct resp_request *r = &c->request;
    bool name = slice_equal_nocase(r->argv[2], SLICE("lib-name"));
    if (!name && !slice_equal_nocase(r->argv[2], SLICE("lib-ver")))
        return refuse(c, NULL, "ERR Unrecognized option");
    if (!text_is_fine(r->argv[3]))
        return refuse(
            c, NULL,
            "ERR lib-name and lib-ver cannot contain spaces, newlines or special characters.");
    client_put_text(name ? &c->lib_name : &c->lib_version, r->argv[3]);
    client_reply_ok(c);
    return TAKE_DONE;
}

static enum take get_name(struct client *c) {
    buf_clear(&c->worker->scratch);
    if (c->name == NULL)
        resp_write_null(&c->worker->scratch, c->proto);
    else
        resp_write_text(&c->worker->scratch, c->name);
    client_reply_scratch(c);
    return TAKE_DONE;
}

static enum take info(struct client *c) {
    struct buf line = {0};
    write_line(c, &line);
    buf_clear(&c->worker->scratch);
    resp_write_verbatim(&c->worker->scratch, c->proto, "txt", buf_slice(&line));
    buf_close(&line);
    client_reply_scratch(c);
    return TAKE_DONE;
}

static enum take on_off(struct client *c, bool *flag) {
    struct slice word = c->request.argv[2];
    bool on = slice_equal_nocase(word, SLICE("on"));
    if (!on && !slice_equal_nocase(word, SLICE("off"))) return refuse(c, NULL, "ERR syntax error");
    *flag = on;
    client_reply_ok(c);
    return TAKE_DONE;
}

static enum take help(struct client *c) {
    buf_clear(&c->worker->scratch);
    resp_write_array(&c->worker->scratch, 1);
    resp_write_simple(&c->worker->scratch,
                      SLICE("CLIENT of the drawbridge gateway: GETNAME ID INFO KILL LIST NO-EVICT "
                            "NO-TOUCH PAUSE REPLY SETINFO SETNAME TRACKING UNBLOCK UNPAUSE"));
    client_reply_scratch(c);
    return TAKE_DONE;
}

enum take clientcmd_request(struct client *c, const struct command *command) {
    const char *sub = strchr(command->name, '|');
    if (sub == NULL) return refuse(c, NULL, "ERR wrong number of arguments for 'client' command");
    sub++;
    if (strcmp(sub, "id") == 0) {
        buf_clear(&c->worker->scratch);
        resp_write_int(&c->worker->scratch, (int64_t)c->id);
        client_reply_scratch(c);
        return TAKE_DONE;
    }
    if (strcmp(sub, "setname") == 0) return set_name(c);
    if (strcmp(sub, "getname") == 0) return get_name(c);
    if (strcmp(sub, "setinfo") == 0) return set_info(c);
    if (strcmp(sub, "info") == 0) return info(c);
    if (strcmp(sub, "list") == 0) return list(c);
    if (strcmp(sub, "kill") == 0) return kill_clients(c);
    if (strcmp(sub, "reply") == 0) return reply_command(c);
    if (strcmp(sub, "pause") == 0) return pause_clients(c, true);
    if (strcmp(sub, "unpause") == 0) return pause_clients(c, false);
    if (strcmp(sub, "unblock") == 0) return unblock_client(c);
    if (strcmp(sub, "no-evict") == 0) return on_off(c, &c->no_evict);
    if (strcmp(sub, "no-touch") == 0) return on_off(c, &c->no_touch);
    return help(c);
}
