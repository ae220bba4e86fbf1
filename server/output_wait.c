/* output_wait.c -- the line of those whose replies wait for the AOF. See output_wait.h. */
#include "server/output_wait.h"

#include "server/engine.h"
#include "server/net.h"

static struct { /* one engine in a process */
    struct client *first, **last;
    uint64_t length; /* of this turn; 0: nobody waits */
    uint64_t released;
} line = {.last = &line.first};

void output_hold(struct engine *engine, uint64_t length) {
    (void)engine;
    line.length = length;
}

static void get_in_line(struct client *c, uint64_t length) {
    c->waits_for_aof = length;
    c->waiting_bytes = buf_size(&c->out);
    c->waits_next = 0;
    c->next_waiting = NULL;
    *line.last = c;
    line.last = &c->next_waiting;
}

bool output_waits(struct client *c) {
    uint64_t length = line.length;
    if (c->flags & CLIENT_CLOSE_NOW || c->fd < 0) return false;
    if (c->waits_for_aof) {
        if (length > c->waits_for_aof) c->waits_next = length;
        return true;
    }
    if (length <= line.released) return false;
    get_in_line(c, length);
    net_writable_later(c);
    return true;
}

void output_wait_forget(struct client *c) {
    if (c->waits_for_aof == 0) return;
    struct client **at = &line.first;
    while (*at != c) at = &(*at)->next_waiting;
    *at = c->next_waiting;
    if (*at == NULL) line.last = at;
    c->waits_for_aof = 0;
}

/* The first in line goes. */
static void let_go(struct client *c) {
    output_wait_forget(c);
    bool more = c->waits_next > line.released && buf_size(&c->out) > c->waiting_bytes;
    if (more) {
        net_send_part(c, c->waiting_bytes);
        get_in_line(c, c->waits_next);
        return;
    }
    net_send(c);
    if (buf_size(&c->in) > 0) net_ready(c);
}

void output_release(struct engine *engine, uint64_t length) {
    (void)engine;
    if (length > line.released) line.released = length;
    if (line.length <= line.released) line.length = 0;
    while (line.first && line.first->waits_for_aof <= line.released) let_go(line.first);
}
