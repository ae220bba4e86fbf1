/* link_fetch.c -- reads dirty keys at the source, each with the offset at which it was read, in one
 * step: MULTI; INFO replication; PEXPIRETIME; DUMP; EXEC (C7a).
 *
 * INFO comes first: reading an expired key deletes it, which moves the offset.
 */
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/control/rblock.h"
#include "lib/redis/reply.h"
#include "lib/redis/dump.h"
#include "syncer/link_apply.h"

#include <inttypes.h>
#include <stdio.h>

#define KEYS_MAX 32

static int64_t now_ms(void) { return (int64_t)clock_mono_ms(clock_real()); }

static enum err open_source(struct applier *a, struct why *why) {
    const struct resp_reply *reply = NULL;
    struct slice version;
    if (a->source) return OK;
    char name[96];
    snprintf(name, sizeof name, "drawbridge-link:%s:%" PRIu64 ":c", a->link->name, a->link->epoch);
    struct rblock_options options = side_options(a->link->from, name);
    enum err err = rblock_open(&a->source, &a->link->from->endpoint, &options, why);
    if (err == OK) link_set_interruptible(a->link, 1, a->source);
    if (err == OK) err = rblock_words(a->source, &reply, why, "INFO server");
    if (err != OK) return err;
    a->source_version = resp_info_field(reply->text, "redis_version", &version) && version.size > 0 && version.data[0] <= '6' &&
                                (version.size == 1 || version.data[1] == '.') ? 6 : 7;
    return OK;
}

static void request(const struct applier *a, struct dirty_key *const *keys, size_t count, struct buf *out) {
    resp_write_words(out, "MULTI", NULL);
    if (a->source_version >= 7) resp_write_words(out, "INFO", "replication", NULL);
    else resp_write_words(out, "INFO", NULL);
    for (size_t i = 0; i < count; i++) {
        char db[16];
        struct slice key = keys[i]->entry.key;
        snprintf(db, sizeof db, "%d", keys[i]->entry.db);
        resp_write_words(out, "SELECT", db, NULL);
        if (a->source_version >= 7) {
            resp_write_command(out, 2, (struct slice[]){SLICE("PEXPIRETIME"), key});
        } else {
            resp_write_words(out, "TIME", NULL);
            resp_write_command(out, 2, (struct slice[]){SLICE("PTTL"), key});
        }
        resp_write_command(out, 2, (struct slice[]){SLICE("DUMP"), key});
    }
    resp_write_words(out, "EXEC", NULL);
}

/* The expiry of a key from its answers, or an error text. */
static const char *expiry_of(const struct applier *a, const struct resp_reply *at, int64_t *expire_ms) {
    int64_t seconds = 0, micros = 0, ttl = 0;
    const struct resp_reply *last = a->source_version >= 7 ? at : at + 1;
    if (resp_reply_is_error(last) || !resp_reply_to_int(last, &ttl)) return "the source does not tell its expiry";
    *expire_ms = ttl;
    if (a->source_version >= 7 || ttl < 0) return NULL;
    if (at->kind != RESP_ARRAY || at->count != 2 || !resp_reply_to_int(&at->child[0], &seconds) ||
        !resp_reply_to_int(&at->child[1], &micros))
        return "the source does not tell the time";
    *expire_ms = seconds * 1000 + micros / 1000 + ttl;
    return NULL;
}

static bool place_of(const struct resp_reply *info, char replid[REPLID_SIZE + 1], uint64_t *offset) {
    struct slice id, number;
    int64_t n = 0;
    bool told = resp_info_field(info->text, "master_replid", &id) || resp_info_field(info->text, "run_id", &id); /* before 4.0 */
    if (!told || !replid_valid(id)) return false;
    if (!resp_info_field(info->text, "master_repl_offset", &number) || !slice_to_int(number, &n) || n < 0) return false;
    memcpy(replid, id.data, REPLID_SIZE);
    replid[REPLID_SIZE] = '\0';
    *offset = (uint64_t)n;
    return true;
}

/* DUMP says the version of its own server; RESTORE takes none above the target's. */
static enum err fit_payload(const struct applier *a, struct slice payload, struct buf *fitting, struct why *why) {
    uint8_t type = 0;
    struct slice value;
    const uint8_t *end = payload.data + payload.size;
    if (payload.size < DUMP_BYTES_MIN) return why_set(why, ERR_CORRUPT, "the source's DUMP is too short");
    if ((unsigned)(end[-10] | end[-9] << 8) <= a->target.rdb_version) {
        buf_add(fitting, payload);
        return OK;
    }
    enum err err = dump_open(payload, &type, &value, why);
    return err == OK ? dump_put_for(fitting, type, value, a->target.rdb_version, why) : err;
}

static void take_dump(struct applier *a, int db, struct slice key, struct slice payload, const char *replid, uint64_t offset,
                      int64_t expire_ms) {
    struct buf fitting = {0};
    struct why why;
    if (fit_payload(a, payload, &fitting, &why) == OK)
        apply_copy_came(&a->apply, replid, offset, db, key, buf_slice(&fitting), expire_ms);
    else
        apply_copy_failed(&a->apply, db, key, why.text, now_ms());
    buf_close(&fitting);
}

static void take_answers(struct applier *a, struct dirty_key *const *keys, size_t count, const struct resp_reply *exec) {
    char replid[REPLID_SIZE + 1];
    uint64_t offset = 0;
    size_t each = a->source_version >= 7 ? 3 : 4;
    ASSERT(exec);
    if (exec->kind != RESP_ARRAY || exec->count != 1 + each * count || !place_of(&exec->child[0], replid, &offset)) {
        const char *reason = "the source does not carry out MULTI, INFO, DUMP, EXEC";
        for (size_t i = 0; i < count; i++) apply_copy_failed(&a->apply, keys[i]->entry.db, keys[i]->entry.key, reason, now_ms());
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const struct resp_reply *at = &exec->child[1 + i * each];
        const struct resp_reply *dump = at + each - 1;
        int64_t expire_ms = -1;
        const char *reason = resp_reply_is_error(at) ? "the source refuses SELECT" : expiry_of(a, at + 1, &expire_ms);
        if (!reason && resp_reply_is_error(dump)) reason = "the source refuses DUMP";
        struct slice key = keys[i]->entry.key;
        int db = keys[i]->entry.db;
        if (reason) apply_copy_failed(&a->apply, db, key, reason, now_ms());
        else if (dump->kind == RESP_NULL) apply_copy_came(&a->apply, replid, offset, db, key, (struct slice){0}, -1);
        else take_dump(a, db, key, dump->text, replid, offset, expire_ms);
    }
}

void link_fetch_copies(struct applier *a) {
    struct dirty_key *keys[KEYS_MAX];
    struct why why;
    struct buf out = {0};
    const struct resp_reply *reply = NULL;
    size_t count = apply_want_copies(&a->apply, keys, KEYS_MAX, now_ms());
    if (count == 0) return;
    enum err err = open_source(a, &why);
    if (err == OK) {
        request(a, keys, count, &out);
        rblock_append_raw(a->source, buf_slice(&out));
        err = rblock_flush(a->source, &why);
    }
    size_t each = a->source_version >= 7 ? 3 : 4;
    for (size_t i = 0; err == OK && i < 2 + each * count + 1; i++) err = rblock_read(a->source, &reply, &why);
    if (err == OK) {
        take_answers(a, keys, count, reply);
    } else { /* the source is away; the keys stay dirty and are asked for again */
        for (size_t i = 0; i < count; i++) {
            keys[i]->asked = false;
            keys[i]->next_try_ms = now_ms() + 500;
        }
        link_set_interruptible(a->link, 1, NULL);
        rblock_close(a->source);
        a->source = NULL;
    }
    buf_close(&out);
}
