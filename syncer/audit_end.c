/* audit_end.c -- one end of an audit. See audit_end.h. */
#include "syncer/audit_end.h"

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/control/rblock.h"
#include "lib/redis/bytes.h"
#include "lib/redis/reply.h"
#include "lib/redis/resp.h"
#include "syncer/checkpoint.h"
#include "syncer/target.h"

#include <errno.h>

#define SORT_BYTES ((size_t)48 << 20)
#define BEGIN_TIMEOUT_MS 120000
#define SURVEY_WAIT_MS 50
#define TOTAL_BYTES 24u
/* Of a record: slot 2, database 4, type 1, expiry 8, digest 16, key's size 4; then the key. */
#define HEAD_BYTES 35u
#define KEY_BYTES_MAX (UINT32_C(1) << 30)

static uint64_t mono_ms(void) { return clock_mono_ms(clock_real()); }

void audit_end_init(struct audit_end *end, struct link *link, const struct config_side *side, const _Atomic bool *stop,
                    const char *path) {
    struct buf pile = {0};
    *end = (struct audit_end){.link = link, .side = side, .stop = stop};
    end->totals = NEW_ARRAY(struct audit_total, SLOT_CLUSTER_COUNT);
    end->sorter = sorter_new(path, SORT_BYTES);
    buf_printf(&pile, "%s.keys", path);
    end->pile_path = mem_strdup(buf_text(&pile));
    buf_close(&pile);
}

void audit_end_close(struct audit_end *end) {
    snapshot_close(&end->snapshot);
    rblock_close(end->survey);
    sorter_free(end->sorter);
    if (end->pile) fclose(end->pile);
    mem_free(end->pile_path);
    mem_free(end->totals);
    end->survey = NULL;
    end->sorter = NULL;
    end->pile = NULL;
    end->pile_path = NULL;
    end->totals = NULL;
}

uint64_t audit_end_bytes(struct audit_end *end) {
    return atomic_load(&end->snapshot.read_bytes) + atomic_load(&end->told_bytes);
}

void audit_end_learn(struct audit_end *end) {
    struct rblock *conn = NULL;
    const struct resp_reply *reply = NULL;
    struct why why;
    struct slice value;
    int64_t seconds = 0, micros = 0, began = clock_wall_ms(clock_real());
    struct rblock_options options = side_options(end->side, NULL);
    if (rblock_open(&conn, &end->side->endpoint, &options, &why) == OK && rblock_words(conn, &reply, &why, "TIME") == OK &&
        reply->kind == RESP_ARRAY && reply->count == 2 && resp_reply_to_int(&reply->child[0], &seconds) &&
        resp_reply_to_int(&reply->child[1], &micros))
        end->ahead_ms = seconds * 1000 + micros / 1000 - began;
    if (conn) end->counts_streams = side_counts_streams(conn);
    if (conn && rblock_words(conn, &reply, &why, "INFO server") == OK && reply->kind == RESP_BULK)
        end->is_bundled = resp_info_field(reply->text, "drawbridge_version", &value);
    rblock_close(conn);
}

/* ---- the server makes the digests ---- */

static const char *stream_words(enum digest_streams streams) {
    return streams == DIGEST_STREAM_WHOLE ? "WHOLE" : streams == DIGEST_STREAM_CARRIED ? "CARRIED" : "OLD";
}

/* One command of the audit; what the server answers with an error is one. */
static enum err ask(struct audit_end *end, const char *words, const struct resp_reply **reply, struct why *why) {
    enum err err = rblock_words(end->survey, reply, why, words);
    if (err != OK) return err;
    if ((*reply)->kind == RESP_ERROR)
        return why_set(why, ERR_REFUSED, "%.*s", (int)((*reply)->text.size < 200 ? (*reply)->text.size : 200),
                       (const char *)(*reply)->text.data);
    return OK;
}

static enum err odd(struct why *why) { return why_set(why, ERR_PROTO, "an odd answer to DRAWBRIDGE AUDIT"); }

static enum err begin_survey(struct audit_end *end, const char *name, enum digest_streams streams, struct why *why) {
    const struct resp_reply *reply = NULL;
    int64_t offset = 0;
    char words[160];
    struct rblock_options options = side_options(end->side, name);
    enum err err = rblock_open(&end->survey, &end->side->endpoint, &options, why);
    if (err != OK) return err;
    snprintf(words, sizeof words, "DRAWBRIDGE AUDIT BEGIN WITHOUT %s STREAMS %s", CHECKPOINT_PREFIX, stream_words(streams));
    err = ask(end, words, &reply, why);
    if (err == OK && !(reply->kind == RESP_ARRAY && reply->count == 2 && resp_reply_to_int(&reply->child[1], &offset) && offset >= 0))
        err = odd(why);
    if (err == OK) {
        end->offset = (uint64_t)offset;
        return OK;
    }
    rblock_close(end->survey);
    end->survey = NULL;
    return err;
}

static void take_totals(struct audit_end *end, const uint8_t *p) {
    uint64_t keys = 0;
    for (unsigned slot = 0; slot < SLOT_CLUSTER_COUNT; slot++, p += TOTAL_BYTES) {
        end->totals[slot] = (struct audit_total){bytes_le(p, 8), {bytes_le(p + 8, 8), bytes_le(p + 16, 8)}};
        keys += end->totals[slot].keys;
    }
    atomic_store(&end->keys, keys);
}

static enum err read_survey(struct audit_end *end, struct why *why) {
    const struct resp_reply *reply = NULL;
    for (;;) {
        int64_t keys = 0;
        enum err err = ask(end, "DRAWBRIDGE AUDIT SLOTS", &reply, why);
        if (err != OK) return err;
        if (reply->kind == RESP_BULK && reply->text.size == TOTAL_BYTES * SLOT_CLUSTER_COUNT) {
            atomic_fetch_add(&end->told_bytes, reply->text.size);
            take_totals(end, reply->text.data);
            return OK;
        }
        if (!resp_reply_to_int(reply, &keys) || keys < 0) return odd(why);
        atomic_store(&end->keys, (uint64_t)keys);
        if (atomic_load(end->stop)) return why_set(why, ERR_STOPPED, "the audit was stopped");
        link_sleep(end->link, SURVEY_WAIT_MS);
    }
}

/* ---- records ---- */

/* The record at the head of BYTES goes to the sorter. False: that is none. */
static bool take_record(struct audit_end *end, const uint8_t *p, struct slice name, enum err *err, struct why *why) {
    struct rdb_key key = {.db = (uint32_t)bytes_le(p + 2, 4), .key = name, .expire_at_ms = bytes_le_signed(p + 7, 8),
                          .type = (enum value_type)p[6], .idle_s = -1, .freq = -1};
    struct digest_key record = {.key = &key, .slot = (uint32_t)bytes_le(p, 2), .digest = {bytes_le(p + 15, 8), bytes_le(p + 23, 8)}};
    if (p[6] > VALUE_STREAM) return false;
    *err = sorter_add(end->sorter, &record, why);
    return true;
}

static enum err take_page(struct audit_end *end, struct slice page, struct why *why) {
    enum err err = OK;
    atomic_fetch_add(&end->told_bytes, page.size);
    while (page.size > 0 && err == OK) {
        uint64_t size = page.size < HEAD_BYTES ? 0 : bytes_le(page.data + 31, 4);
        if (page.size < HEAD_BYTES || size > page.size - HEAD_BYTES) return odd(why);
        if (!take_record(end, page.data, slice_from(page.data + HEAD_BYTES, (size_t)size), &err, why)) return odd(why);
        page = slice_drop(page, HEAD_BYTES + (size_t)size);
    }
    return err;
}

static enum err sort_survey(struct audit_end *end, const uint8_t *slots, struct why *why) {
    const struct resp_reply *reply = NULL;
    struct buf words = {0};
    int64_t more = 1;
    buf_printf(&words, "DRAWBRIDGE AUDIT KEYS");
    for (unsigned slot = 0; slot < SLOT_CLUSTER_COUNT; slot++)
        if (audit_slot_has(slots, slot)) buf_printf(&words, " %u", slot);
    enum err err = ask(end, buf_text(&words), &reply, why);
    buf_close(&words);
    while (err == OK) {
        if (reply->kind != RESP_ARRAY || reply->count != 2 || !resp_reply_to_int(&reply->child[0], &more) ||
            reply->child[1].kind != RESP_BULK)
            return odd(why);
        err = take_page(end, reply->child[1].text, why);
        if (err != OK || more == 0) return err;
        if (atomic_load(end->stop)) return why_set(why, ERR_STOPPED, "the audit was stopped");
        err = ask(end, "DRAWBRIDGE AUDIT NEXT", &reply, why);
    }
    return err;
}

/* ---- the RDB is read here ---- */

static enum err begin_snapshot(struct audit_end *end, const char *name, void (*while_waiting)(void *), void *self, struct why *why) {
    bool begun = false;
    uint64_t until = mono_ms() + BEGIN_TIMEOUT_MS;
    enum err err = snapshot_open(&end->snapshot, end->side, name, end->stop, why);
    while (err == OK && !begun) {
        err = snapshot_begin(&end->snapshot, while_waiting ? 50 : 200, &begun, why);
        if (err == OK && !begun && while_waiting) while_waiting(self);
        if (err == OK && atomic_load(end->stop)) err = why_set(why, ERR_STOPPED, "the audit was stopped");
        if (err == OK && mono_ms() > until) err = why_set(why, ERR_TIMEOUT, "it does not begin a snapshot");
    }
    end->offset = end->snapshot.offset;
    return err;
}

static uint32_t slot_of(struct slice key) { return slot_cluster(key); }

static enum err pile_failed(struct audit_end *end, const char *what, struct why *why) {
    return why_set(why, errno == ENOSPC ? ERR_DISK_FULL : ERR_IO, "%s %s: %s", what, end->pile_path, strerror(errno));
}

static enum err take_key(void *self, const struct digest_key *key, struct why *why) {
    struct audit_end *end = self;
    struct slice name = key->key->key;
    uint8_t head[HEAD_BYTES];
    if (checkpoint_is_key(name)) return OK;
    atomic_fetch_add(&end->keys, 1);
    end->totals[key->slot].keys++;
    digest_add(&end->totals[key->slot].digest, key->digest);
    bytes_put_le(head, key->slot, 2);
    bytes_put_le(head + 2, key->key->db, 4);
    head[6] = (uint8_t)key->key->type;
    bytes_put_le(head + 7, (uint64_t)key->key->expire_at_ms, 8);
    bytes_put_le(head + 15, key->digest.low, 8);
    bytes_put_le(head + 23, key->digest.high, 8);
    bytes_put_le(head + 31, name.size, 4);
    bool fine = fwrite(head, sizeof head, 1, end->pile) == 1 && (name.size == 0 || fwrite(name.data, name.size, 1, end->pile) == 1);
    return fine ? OK : pile_failed(end, "write", why);
}

static enum err read_snapshot(struct audit_end *end, enum digest_streams streams, struct why *why) {
    struct rdb_limits limits = RDB_LIMITS_DEFAULT;
    limits.skip_empty = true;
    end->pile = fopen(end->pile_path, "w+be");
    if (!end->pile) return pile_failed(end, "open", why);
    remove(end->pile_path); /* it goes with the process, however that ends */
    struct digester *digester = digester_new(take_key, end, slot_of);
    digester_streams(digester, streams);
    struct rdb_reader *reader = rdb_reader_open(&end->snapshot.source, limits, digester_handler(digester));
    enum err err = rdb_reader_run(reader, why);
    rdb_reader_close(reader);
    digester_free(digester);
    if (err == OK && fflush(end->pile) != 0) err = pile_failed(end, "write", why);
    return err;
}

static enum err sort_pile(struct audit_end *end, const uint8_t *slots, struct why *why) {
    struct buf name = {0};
    uint8_t head[HEAD_BYTES];
    enum err err = OK;
    rewind(end->pile);
    while (err == OK && fread(head, sizeof head, 1, end->pile) == 1) {
        size_t size = (size_t)bytes_le(head + 31, 4);
        buf_clear(&name);
        bool fine = size <= KEY_BYTES_MAX && (size == 0 || fread(buf_room(&name, size), size, 1, end->pile) == 1);
        buf_filled(&name, fine ? size : 0);
        if (!fine) err = why_set(why, ERR_IO, "a file of the audit is cut");
        else if (audit_slot_has(slots, (unsigned)bytes_le(head, 2)) && !take_record(end, head, buf_slice(&name), &err, why))
            err = why_set(why, ERR_IO, "a file of the audit is damaged");
        if (err == OK && atomic_load(end->stop)) err = why_set(why, ERR_STOPPED, "the audit was stopped");
    }
    if (err == OK && ferror(end->pile)) err = pile_failed(end, "read", why);
    buf_close(&name);
    return err;
}

/* ---- either ---- */

enum err audit_end_begin(struct audit_end *end, const char *name, enum digest_streams streams, void (*while_waiting)(void *self),
                         void *self, struct why *why) {
    struct why refused = {0};
    if (end->is_bundled && begin_survey(end, name, streams, &refused) == OK) return OK;
    if (end->is_bundled)
        log_warn("audit.no_survey", LOG_S("link", end->link->name), LOG_S("effect", "its RDB is read instead"),
                 LOG_S("error", refused.text));
    return begin_snapshot(end, name, while_waiting, self, why);
}

enum err audit_end_read(struct audit_end *end, enum digest_streams streams, struct why *why) {
    return end->survey ? read_survey(end, why) : read_snapshot(end, streams, why);
}

enum err audit_end_sort(struct audit_end *end, const uint8_t slots[SLOT_CLUSTER_COUNT / 8], struct why *why) {
    enum err err = end->survey ? sort_survey(end, slots, why) : sort_pile(end, slots, why);
    return err == OK ? sorter_finish(end->sorter, why) : err;
}
