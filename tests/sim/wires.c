/* wires.c -- connections on which requests wait until somebody steps them. See wires.h. */
#include "tests/sim/wires.h"

#include "lib/base/mem.h"

#include <inttypes.h>
#include <stdio.h>

void messages_push(struct messages *q, struct message *m) {
    m->next = NULL;
    if (q->tail) q->tail->next = m;
    else q->head = m;
    q->tail = m;
}

struct message *messages_pop(struct messages *q) {
    struct message *m = q->head;
    if (!m) return NULL;
    q->head = m->next;
    if (!q->head) q->tail = NULL;
    return m;
}

void message_free(struct message *m) {
    buf_close(&m->bytes);
    buf_close(&m->answer);
    mem_free(m->state);
    mem_free(m);
}

void messages_free(struct messages *q) {
    for (struct message *m = messages_pop(q); m; m = messages_pop(q)) message_free(m);
}

struct wire *wire_new(enum lane_side side, int lane, int64_t id) {
    struct wire *wire = NEW(struct wire);
    wire->side = side;
    wire->lane = lane;
    wire->id = id;
    wire->conn.import_source = side == LANE_F;
    return wire;
}

void wire_free(struct wire *wire) {
    messages_free(&wire->asked);
    messages_free(&wire->answered);
    mini_conn_close(&wire->conn);
    for (int i = 0; i < wire->owns; i++) effect_free(wire->own[i]);
    mem_free(wire);
}

void wires_free(struct wire **list) {
    for (struct wire *next, *wire = *list; wire; wire = next) {
        next = wire->next;
        wire_free(wire);
    }
    *list = NULL;
}

struct message *wire_ask(struct wire *wire, struct slice bytes, uint32_t replies) {
    struct message *m = NEW(struct message);
    m->client = -1;
    m->replies = replies;
    buf_add(&m->bytes, bytes);
    messages_push(&wire->asked, m);
    return m;
}

struct message *wire_ask_in_db(struct wire *wire, int32_t db, struct slice bytes, uint32_t replies) {
    struct buf all = {0};
    char text[16];
    snprintf(text, sizeof text, "%d", db);
    resp_write_words(&all, "SELECT", text, NULL); /* its answer is not part of the answer */
    buf_add(&all, bytes);
    struct message *m = wire_ask(wire, buf_slice(&all), replies);
    buf_close(&all);
    return m;
}

/* The requests of a message, one after the other; the answer to a SELECT before them is dropped. */
void wire_execute(struct wire *wire, struct message *m, struct mini *server, bool talk) {
    struct resp_request r = {0};
    struct slice rest = buf_slice(&m->bytes);
    struct why why;
    size_t used = 0;
    bool first = true;
    if (talk) printf("%c executes on connection %" PRId64 ":", wire->side == LANE_P ? 'P' : 'F', wire->id);
    while (rest.size > 0 && resp_request_next(&r, &resp_request_limits_open, rest, &used, &why) == STEP_DONE) {
        struct buf drop = {0};
        bool skip = first && slice_equal(r.argv[0], SLICE("SELECT"));
        first = false;
        if (m->taken_apart && (slice_equal(r.argv[0], SLICE("MULTI")) || slice_equal(r.argv[0], SLICE("EXEC")))) {
            rest = slice_drop(rest, used);
            continue;
        }
        for (size_t i = 0; talk && i < r.argc; i++) printf(" %.*s", r.argv[i].size > 40 ? 1 : (int)r.argv[i].size, (const char *)r.argv[i].data);
        mini_serve(server, &wire->conn, slice_take(rest, used), skip ? &drop : &m->answer);
        buf_close(&drop);
        if (talk) printf(";");
        rest = slice_drop(rest, used);
    }
    resp_request_close(&r);
    if (talk) printf(" -> %.*s\n", buf_size(&m->answer) > 300 ? 60 : (int)buf_size(&m->answer), (const char *)buf_slice(&m->answer).data);
}
