/* audit_command.c -- DRAWBRIDGE AUDIT: one moment of all data, compared slot by slot, and key by key
 * where that is asked for (C28).
 *
 *     BEGIN   a survey starts: replication id and offset of its moment
 *     SLOTS   how many keys were seen so far; when all were: keys and sum of digests of each slot
 *     KEYS    what the survey saw in some slots, a page at a time, by NEXT
 *
 * The survey's thread adds up, and keeps what it saw of each key (some 60 bytes) in a file without a
 * name in `dir`: the moment is gone when the syncer learns which slots it needs. The file is read by
 * a thread, too. An audit belongs to its connection and ends with it.
 */
#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "lib/redis/bytes.h"
#include "server/args.h"
#include "server/block.h"
#include "server/drawbridge.h"
#include "server/engine.h"
#include "server/execute.h"
#include "server/replication.h"
#include "server/reply.h"
#include "server/survey.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define AUDITS_MAX 4
#define PUSH_BYTES ((size_t)256 * 1024)  /* kept in memory before they go to the file */
#define BLOCK_BYTES ((size_t)256 * 1024) /* read from it at a time */
#define PAGE_BYTES ((size_t)256 * 1024)  /* about what an answer has */
#define SCAN_BYTES ((uint64_t)64 << 20)  /* looked through for one */
#define SLOT_BYTES 24u
/* Of a record: slot 2, database 4, type 1, expiry 8, digest 16, key's size 4; then the key. */
#define HEAD_BYTES 35u

struct audit {
    struct audit *next;
    struct engine *engine;
    uint64_t client_id;
    struct survey *survey; /* NULL: it is over */
    bool is_gone;          /* the connection; it is freed by what still runs */
    struct buf without;    /* keys that begin so are left out; empty: none */
    _Atomic uint64_t keys; /* seen */
    /* The survey's thread's, until it is over. */
    struct digest_total *totals; /* by slot */
    int fd;                      /* -1: there is no file yet */
    uint64_t written;            /* into it, whole records */
    struct buf rest;             /* those behind them */
    enum err err;                /* of the survey */
    struct why why;
    struct {
        uv_work_t work;
        bool runs;
        struct slot_set slots;
        uint64_t at; /* of what was written and the rest */
        bool is_over;
        struct buf page;
        enum err err;
        struct why why;
    } reading;
};

static struct audit *audits; /* of the engine; one in a process */

static struct audit *audit_of(const struct client *c) {
    struct audit *a = audits;
    while (a && a->client_id != c->id) a = a->next;
    return a;
}

static void audit_free(struct audit *a) {
    struct audit **at = &audits;
    while (*at != a) at = &(*at)->next;
    *at = a->next;
    if (a->fd >= 0) close(a->fd);
    buf_close(&a->without);
    buf_close(&a->rest);
    buf_close(&a->reading.page);
    mem_free(a->totals);
    mem_free(a);
}

/* ---- the survey's thread ---- */

/* A file that has no name: it goes with the process, however that ends. */
static enum err open_file(struct audit *a, struct why *why) {
    static _Atomic unsigned number;
    char path[64];
    (void)snprintf(path, sizeof path, "temp-audit-%d-%u.keys", (int)getpid(), ++number);
    enum err err = fs_open(path, O_RDWR | O_CREAT | O_EXCL, &a->fd, why);
    return err ? err : fs_remove(path, why);
}

static enum err push(struct audit *a, struct why *why) {
    struct slice bytes = buf_slice(&a->rest);
    enum err err = a->fd < 0 ? open_file(a, why) : OK;
    if (!err) err = fs_write_at(a->fd, bytes, a->written, "the keys of an audit", why);
    if (err) return err;
    a->written += bytes.size;
    buf_clear(&a->rest);
    return OK;
}

static enum err take_key(void *owner, const struct digest_key *key, struct why *why) {
    struct audit *a = owner;
    struct slice name = key->key->key, without = buf_slice(&a->without);
    if (without.size && slice_starts(name, without)) return OK;
    a->totals[key->slot].keys++;
    digest_add(&a->totals[key->slot].digest, key->digest);
    (void)atomic_fetch_add_explicit(&a->keys, 1, memory_order_relaxed);
    uint8_t *p = buf_room(&a->rest, HEAD_BYTES + name.size);
    bytes_put_le(p, key->slot, 2);
    bytes_put_le(p + 2, key->key->db, 4);
    p[6] = (uint8_t)key->key->type;
    bytes_put_le(p + 7, (uint64_t)key->key->expire_at_ms, 8);
    bytes_put_le(p + 15, key->digest.low, 8);
    bytes_put_le(p + 23, key->digest.high, 8);
    bytes_put_le(p + 31, name.size, 4);
    if (name.size) memcpy(p + HEAD_BYTES, name.data, name.size);
    buf_filled(&a->rest, HEAD_BYTES + name.size);
    return buf_size(&a->rest) >= PUSH_BYTES ? push(a, why) : OK;
}

static void survey_ended(void *owner, enum err err, const char *words) {
    struct audit *a = owner;
    a->survey = NULL;
    a->err = err ? why_set(&a->why, err, "%s", words) : OK;
    if (a->is_gone) audit_free(a);
}

/* ---- a page, on a thread of the loop's pool ---- */

/* What is there from AT on; empty at the end. */
static enum err fetch(struct audit *a, uint64_t at, size_t size, struct buf *block,
                      struct slice *bytes, struct why *why) {
    size_t got;
    if (at >= a->written) {
        *bytes = slice_drop(buf_slice(&a->rest), (size_t)(at - a->written));
        return OK;
    }
    if (size > a->written - at) size = (size_t)(a->written - at);
    buf_clear(block);
    enum err err = fs_read_at(a->fd, buf_room(block, size), size, at, &got, "an audit's keys", why);
    if (!err && got < size) err = why_set(why, ERR_IO, "the keys of an audit end too early");
    if (err) return err;
    buf_filled(block, size);
    *bytes = buf_slice(block);
    return OK;
}

/* The whole records in BYTES, of which those that are wanted go to the page. */
static size_t take_wanted(struct audit *a, struct slice bytes) {
    size_t used = 0;
    while (bytes.size - used >= HEAD_BYTES) {
        const uint8_t *p = bytes.data + used;
        size_t size = HEAD_BYTES + (size_t)bytes_le(p + 31, 4);
        if (size > bytes.size - used) break;
        if (slot_set_has(&a->reading.slots, (unsigned)bytes_le(p, 2)))
            buf_append(&a->reading.page, p, size);
        used += size;
        if (buf_size(&a->reading.page) >= PAGE_BYTES) break;
    }
    return used;
}

static void read_page(uv_work_t *work) {
    struct audit *a = work->data;
    struct buf block = {0};
    struct slice bytes;
    size_t wanted = BLOCK_BYTES;
    uint64_t begin = a->reading.at;
    enum err err = OK;
    while (buf_size(&a->reading.page) < PAGE_BYTES && a->reading.at - begin < SCAN_BYTES) {
        err = fetch(a, a->reading.at, wanted, &block, &bytes, &a->reading.why);
        if (err || bytes.size == 0) break;
        size_t used = take_wanted(a, bytes);
        a->reading.at += used;
        wanted = used ? BLOCK_BYTES : HEAD_BYTES + (size_t)bytes_le(bytes.data + 31, 4);
    }
    a->reading.is_over = a->reading.at == a->written + buf_size(&a->rest);
    a->reading.err = err;
    buf_close(&block);
}

static void timed_out(struct client *c) {
    reply_null(c); /* CLIENT UNBLOCK */
}

static const struct block_how waits = {.timed_out = timed_out, .type = -1};

static void page_is_read(uv_work_t *work, int status) {
    struct audit *a = work->data;
    struct client *c = client_by_id(a->engine, a->client_id);
    (void)status; /* it is never cancelled */
    a->reading.runs = false;
    if (c && block_waits_by(c, &waits)) {
        if (a->reading.err) {
            reply_error(c, "ERR %s", a->reading.why.text);
        } else {
            reply_array(c, 2);
            reply_int(c, !a->reading.is_over);
            reply_bulk(c, buf_slice(&a->reading.page));
        }
        block_end(c);
    }
    buf_clear(&a->reading.page);
    if (a->is_gone) audit_free(a);
}

static void next_page(struct client *c, struct audit *a) {
    a->reading.work.data = a;
    if (uv_queue_work(a->engine->loop, &a->reading.work, read_page, page_is_read)) {
        reply_error(c, "ERR no thread for it");
        return;
    }
    a->reading.runs = true;
    block_until(c, 0, &waits);
}

/* ---- the command ---- */

/* Audits whose connections are gone. */
static void tick(struct engine *engine) {
    for (struct audit *a = audits, *next; a; a = next) {
        next = a->next;
        if (a->is_gone || client_by_id(engine, a->client_id)) continue;
        a->is_gone = true;
        if (a->survey)
            survey_cancel(a->survey);
        else if (!a->reading.runs)
            audit_free(a);
    }
}

static void begin(struct client *c) {
    const struct history *history = &replication_of(c->engine)->history;
    enum digest_streams streams;
    struct why why;
    int end;
    size_t count = 0;
    tick(c->engine);
    for (const struct audit *other = audits; other; other = other->next) count += !other->is_gone;
    if (!digest_take_streams(c, &end, &streams)) return;
    if (end != 3 && !(end == 5 && arg_is(c->argv[3], "without"))) {
        reply_syntax_error(c);
        return;
    }
    if (count >= AUDITS_MAX) {
        reply_error(c, "ERR %d audits are under way already", AUDITS_MAX);
        return;
    }
    struct audit *a = NEW(struct audit);
    struct survey_want want = {
        .db = -1, .streams = streams, .owner = a, .key = take_key, .ended = survey_ended};
    a->engine = c->engine;
    a->client_id = c->id;
    a->fd = -1;
    a->totals = NEW_ARRAY(struct digest_total, SLOT_CLUSTER_COUNT);
    if (end == 5) buf_add(&a->without, c->argv[4]);
    a->next = audits;
    audits = a;
    if (survey_start(c->engine, &want, &a->survey, &why)) {
        reply_error(c, "ERR %s", why.text);
        audit_free(a);
        return;
    }
    reply_array(c, 2);
    reply_bulk_text(c, history->id);
    reply_int(c, history->offset);
}

static void slots(struct client *c, const struct audit *a) {
    struct buf all = {0};
    uint8_t *p = buf_room(&all, SLOT_BYTES * SLOT_CLUSTER_COUNT);
    for (unsigned slot = 0; slot < SLOT_CLUSTER_COUNT; slot++, p += SLOT_BYTES) {
        bytes_put_le(p, a->totals[slot].keys, 8);
        bytes_put_le(p + 8, a->totals[slot].digest.low, 8);
        bytes_put_le(p + 16, a->totals[slot].digest.high, 8);
    }
    buf_filled(&all, SLOT_BYTES * SLOT_CLUSTER_COUNT);
    reply_bulk(c, buf_slice(&all));
    buf_close(&all);
}

static void keys(struct client *c, struct audit *a) {
    struct slot_set wanted = {{0}};
    for (int i = 3; i < c->argc; i++) {
        int64_t slot;
        if (!arg_int_range(c, c->argv[i], 0, SLOT_CLUSTER_COUNT - 1, &slot, "ERR Invalid slot"))
            return;
        slot_set_add(&wanted, (unsigned)slot);
    }
    a->reading.slots = wanted;
    a->reading.at = 0;
    next_page(c, a);
}

void drawbridge_audit(struct client *c) {
    struct audit *a = audit_of(c);
    bool begins = arg_is(c->argv[2], "begin");
    if (block_is_denied(c))
        reply_error(c, "ERR not in MULTI or a script: it takes a snapshot");
    else if (begins && a)
        reply_error(c, "ERR this connection has an audit already");
    else if (begins)
        begin(c);
    else if (a == NULL)
        reply_error(c, "ERR this connection has no audit; DRAWBRIDGE AUDIT BEGIN [WITHOUT prefix] "
                       "[STREAMS WHOLE|CARRIED|OLD] starts one");
    else if (a->err)
        reply_error(c, "ERR %s", a->why.text);
    else if (arg_is(c->argv[2], "slots") && c->argc == 3 && a->survey)
        reply_int(c, (int64_t)atomic_load_explicit(&a->keys, memory_order_relaxed));
    else if (arg_is(c->argv[2], "slots") && c->argc == 3)
        slots(c, a);
    else if (a->survey || a->reading.runs)
        reply_error(c, "ERR the audit is not that far; ask for SLOTS first");
    else if (arg_is(c->argv[2], "keys") && c->argc > 3)
        keys(c, a);
    else if (arg_is(c->argv[2], "next") && c->argc == 3)
        next_page(c, a);
    else
        reply_error(c, "ERR syntax: DRAWBRIDGE AUDIT BEGIN [WITHOUT prefix] [STREAMS how] | SLOTS "
                       "| KEYS slot [slot ...] | NEXT");
}

void drawbridge_audit_open(struct engine *engine) {
    engine_hook_add(engine, HOOK_TICK, tick);
}
