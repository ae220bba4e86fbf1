/* client_info.c -- describing clients. */
#include "server/client_info.h"

#include "lib/base/mem.h"
#include "server/acl.h"
#include "server/client_memory.h"
#include "server/multi.h"
#include "server/pubsub.h"
#include "server/tracking.h"

#define REPLY_BUFFER 16384 /* bytes; what is more, Redis counts as omem */

static void flags(const struct client *c, struct buf *out) {
    static const struct {
        uint64_t flag;
        char letter;
    } letters[] = {{CLIENT_MONITOR, 'O'},
                   {CLIENT_MASTER, 'M'},
                   {CLIENT_PUBSUB, 'P'},
                   {CLIENT_MULTI, 'x'},
                   {CLIENT_BLOCKED | CLIENT_PAUSED, 'b'},
                   {CLIENT_DIRTY_CAS, 'd'},
                   {CLIENT_CLOSING, 'c'},
                   {CLIENT_CLOSE_NOW, 'A'},
                   {CLIENT_UNIX, 'U'},
                   {CLIENT_NO_EVICT, 'e'},
                   {CLIENT_NO_TOUCH, 'T'},
                   {CLIENT_IMPORT_SOURCE, 'I'}};
    size_t before = buf_size(out);
    if (c->flags & CLIENT_REPLICA && !(c->flags & CLIENT_MONITOR)) buf_byte(out, 'S');
    for (size_t i = 0; i < COUNT(letters); i++)
        if (c->flags & letters[i].flag) buf_byte(out, (uint8_t)letters[i].letter);
    if (c->tracking && c->tracking->on) buf_byte(out, 't');
    if (c->tracking && c->tracking->broken) buf_byte(out, 'R');
    if (c->tracking && c->tracking->bcast) buf_byte(out, 'B');
    if (buf_size(out) == before) buf_byte(out, 'N');
}

void client_describe(const struct client *c, struct buf *out) {
    const struct engine *engine = c->engine;
    size_t counts[3], waiting = buf_size(&c->out);
    pubsub_count(c, counts);
    buf_printf(out, "id=%llu addr=%s laddr=%s fd=%d name=%s age=%lld idle=%lld flags=",
               (unsigned long long)c->id, c->peer, c->local, c->fd, c->name ? c->name : "",
               (long long)((engine->now_ms - c->created_ms) / 1000),
               (long long)((int64_t)(engine->now_us / 1000 - c->active_ms) / 1000));
    flags(c, out);
    buf_printf(out,
               " db=%d sub=%zu psub=%zu ssub=%zu multi=%d qbuf=%zu qbuf-free=%zu argv-mem=%d "
               "multi-mem=%zu rbs=%zu rbp=0 obl=%zu oll=%d omem=%zu "
               "tot-mem=%zu events=%s cmd=%s user=%.*s redir=%lld resp=%d lib-name=%s lib-ver=%s",
               c->db->id, counts[0], counts[1], counts[2],
               c->flags & CLIENT_MULTI ? (int)multi_queued(c) : -1, client_input_waiting(c),
               c->in.cap - c->in.end, 0, multi_memory(c),
               c->out.cap > REPLY_BUFFER ? (size_t)REPLY_BUFFER : c->out.cap,
               waiting > REPLY_BUFFER ? (size_t)0 : waiting, waiting > REPLY_BUFFER,
               waiting > REPLY_BUFFER ? waiting : (size_t)0, client_memory(c),
               c->wants_write ? "rw" : "r", c->last_command ? c->last_command->name : "NULL",
               c->user ? (int)c->user->name_size : 11,
               c->user ? (const char *)c->user->name : "(superuser)",
               c->tracking && c->tracking->on ? (long long)c->tracking->redirect : -1LL, c->resp,
               c->lib_name ? c->lib_name : "", c->lib_ver ? c->lib_ver : "");
}

bool client_name_is_good(struct slice name) {
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] < '!' || name.data[i] > '~') return false;
    return true;
}

void client_set_text(char **text, struct slice value) {
    mem_free(*text);
    *text = NULL;
    if (value.size == 0) return;
    *text = mem_alloc(value.size + 1);
    memcpy(*text, value.data, value.size);
    (*text)[value.size] = '\0';
}

const char *client_type_name(const struct client *c) {
    if (c->flags & CLIENT_MASTER) return "master";
    if (c->flags & CLIENT_REPLICA && !(c->flags & CLIENT_MONITOR)) return "replica";
    return c->flags & CLIENT_PUBSUB ? "pubsub" : "normal";
}
