/* pieces.c -- a value as ordinary commands. See pieces.h. */
#include "lib/redis/pieces.h"

#include "lib/base/mem.h"
#include "lib/redis/resp.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define ARGS_MAX 512
#define BYTES_MAX (64u << 10)

void pieces_close(struct pieces *pieces) {
    buf_close(&pieces->key);
    buf_close(&pieces->args);
    buf_close(&pieces->out);
    buf_close(&pieces->group);
    buf_close(&pieces->consumer);
    mem_free(pieces->pending);
    *pieces = (struct pieces){0};
}

static enum err send_words(struct pieces *p, size_t argc, const struct slice *argv,
                           struct why *why) {
    buf_clear(&p->out);
    resp_write_command(&p->out, argc, argv);
    return p->send(p->self, buf_slice(&p->out), why);
}

static enum err flush(struct pieces *p, struct why *why) {
    if (p->arg_count == 0) return OK;
    buf_clear(&p->out);
    resp_write_array(&p->out, p->arg_count + 2);
    resp_write_text(&p->out, p->verb);
    resp_write_bulk(&p->out, buf_slice(&p->key));
    buf_add(&p->out, buf_slice(&p->args));
    buf_clear(&p->args);
    p->arg_count = 0;
    return p->send(p->self, buf_slice(&p->out), why);
}

static enum err gather(struct pieces *p, const char *verb, struct slice a, const struct slice *b,
                       struct why *why) {
    p->verb = verb;
    resp_write_bulk(&p->args, a);
    p->arg_count++;
    if (b) {
        resp_write_bulk(&p->args, *b);
        p->arg_count++;
    }
    return p->arg_count >= ARGS_MAX || buf_size(&p->args) >= BYTES_MAX ? flush(p, why) : OK;
}

static enum err key_begin(void *self, const struct rdb_key *key, uint64_t count, struct why *why) {
    struct pieces *p = self;
    (void)count;
    buf_clear(&p->key);
    buf_add(&p->key, key->key);
    buf_clear(&p->args);
    p->arg_count = p->pending_count = 0;
    if (p->is_new) return OK;
    return send_words(p, 2, (struct slice[]){SLICE("DEL"), key->key}, why);
}

static enum err string(void *self, struct slice value, struct why *why) {
    struct pieces *p = self;
    return send_words(p, 3, (struct slice[]){SLICE("SET"), buf_slice(&p->key), value}, why);
}

static enum err list_item(void *self, struct slice item, struct why *why) {
    return gather(self, "RPUSH", item, NULL, why);
}
static enum err set_member(void *self, struct slice member, struct why *why) {
    return gather(self, "SADD", member, NULL, why);
}

static enum err hash_field(void *self, struct slice field, struct slice value, struct why *why) {
    return gather(self, "HSET", field, &value, why);
}

static enum err zset_member(void *self, struct slice member, double score, struct why *why) {
    char text[40];
    (void)resp_double_text(score, text);
    return gather(self, "ZADD", slice_text(text), &member, why);
}

/* ---- streams ---- */

static struct slice id_text(struct stream_id id, char text[48]) {
    snprintf(text, 48, "%" PRIu64 "-%" PRIu64, id.ms, id.seq);
    return slice_text(text);
}

static enum err entry(void *self, struct stream_id id, struct rdb_fields *fields, struct why *why) {
    struct pieces *p = self;
    struct slice field, value;
    char text[48];
    buf_clear(&p->out);
    resp_write_array(&p->out, 3 + 2 * (size_t)fields->count);
    resp_write_text(&p->out, "XADD");
    resp_write_bulk(&p->out, buf_slice(&p->key));
    resp_write_bulk(&p->out, id_text(id, text));
    while (rdb_fields_next(fields, &field, &value)) {
        resp_write_bulk(&p->out, field);
        resp_write_bulk(&p->out, value);
    }
    return p->send(p->self, buf_slice(&p->out), why);
}

static enum err stream(void *self, const struct rdb_stream *s, struct why *why) {
    struct pieces *p = self;
    char last[48], deleted[48], added[24];
    struct slice key = buf_slice(&p->key);
    if (s->length == 0) { /* XADD makes the key, and MAXLEN 0 leaves it empty */
        struct stream_id id =
            s->last_id.ms || s->last_id.seq ? s->last_id : (struct stream_id){0, 1};
        enum err err = send_words(p, 7,
                                  (struct slice[]){SLICE("XADD"), key, SLICE("MAXLEN"), SLICE("0"),
                                                   id_text(id, last), SLICE("f"), SLICE("v")},
                                  why);
        if (err != OK) return err;
    }
    snprintf(added, sizeof added, "%" PRIu64, s->entries_added);
    return send_words(p, 7,
                      (struct slice[]){SLICE("XSETID"), key, id_text(s->last_id, last),
                                       SLICE("ENTRIESADDED"), slice_text(added),
                                       SLICE("MAXDELETEDID"), id_text(s->max_deleted_id, deleted)},
                      why);
}

static enum err group(void *self, const struct rdb_group *g, struct why *why) {
    struct pieces *p = self;
    char last[48], read[24];
    buf_clear(&p->group);
    buf_add(&p->group, g->name);
    p->pending_count = 0;
    snprintf(read, sizeof read, "%" PRId64, g->entries_read);
    struct slice argv[] = {SLICE("XGROUP"), SLICE("CREATE"),           buf_slice(&p->key),
                           g->name,         id_text(g->last_id, last), SLICE("ENTRIESREAD"),
                           slice_text(read)};
    return send_words(p, g->entries_read < 0 ? 5 : 7, argv, why);
}

static enum err pending(void *self, const struct rdb_pending *n, struct why *why) {
    struct pieces *p = self;
    (void)why;
    if (p->pending_count == p->pending_cap) {
        p->pending_cap = p->pending_cap ? p->pending_cap * 2 : 64;
        p->pending = mem_realloc(p->pending, p->pending_cap * sizeof *p->pending);
    }
    p->pending[p->pending_count++] = (struct pieces_pending){n->id, n->delivered_ms, n->deliveries};
    return OK;
}

static enum err consumer(void *self, const struct rdb_consumer *c, struct why *why) {
    struct pieces *p = self;
    buf_clear(&p->consumer);
    buf_add(&p->consumer, c->name);
    return send_words(p, 5,
                      (struct slice[]){SLICE("XGROUP"), SLICE("CREATECONSUMER"), buf_slice(&p->key),
                                       buf_slice(&p->group), c->name},
                      why);
}

static int by_id(const void *a, const void *b) {
    const struct pieces_pending *x = a, *y = b;
    return stream_id_compare(x->id, y->id);
}

static enum err consumer_pending(void *self, struct stream_id id, struct why *why) {
    struct pieces *p = self;
    char text[48], when[24], times[24];
    struct pieces_pending wanted = {.id = id};
    const struct pieces_pending *n =
        p->pending_count ? bsearch(&wanted, p->pending, p->pending_count, sizeof wanted, by_id)
                         : NULL;
    if (!n)
        return why_set(why, ERR_CORRUPT,
                       "a consumer owns a pending entry that its group does not have");
    snprintf(when, sizeof when, "%" PRId64, n->delivered_ms);
    snprintf(times, sizeof times, "%" PRIu64, n->deliveries);
    return send_words(p, 12,
                      (struct slice[]){SLICE("XCLAIM"), buf_slice(&p->key), buf_slice(&p->group),
                                       buf_slice(&p->consumer), SLICE("0"), id_text(id, text),
                                       SLICE("TIME"), slice_text(when), SLICE("RETRYCOUNT"),
                                       slice_text(times), SLICE("FORCE"), SLICE("JUSTID")},
                      why);
}

static enum err key_end(void *self, const struct rdb_key *key, struct why *why) {
    struct pieces *p = self;
    char when[24];
    enum err err = flush(p, why);
    if (err != OK || key->expire_at_ms < 0) return err;
    snprintf(when, sizeof when, "%" PRId64, key->expire_at_ms);
    return send_words(
        p, 3, (struct slice[]){SLICE("PEXPIREAT"), buf_slice(&p->key), slice_text(when)}, why);
}

void pieces_fill_handler(struct rdb_handler *h) {
    h->key_begin = key_begin;
    h->string = string;
    h->list_item = list_item;
    h->set_member = set_member;
    h->hash_field = hash_field;
    h->zset_member = zset_member;
    h->entry = entry;
    h->stream = stream;
    h->group = group;
    h->pending = pending;
    h->consumer = consumer;
    h->consumer_pending = consumer_pending;
    h->key_end = key_end;
}
