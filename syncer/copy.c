/* copy.c -- the copy phase. See copy.h. */
#include "syncer/copy.h"

#include "lib/base/clock.h"
#include "lib/base/fs.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/control/rblock.h"
#include "lib/redis/dump.h"
#include "lib/redis/rdb_read.h"
#include "lib/redis/reply.h"
#include "lib/redis/pieces.h"
#include "syncer/disk.h"

#include <inttypes.h>
#include <stdio.h>

#define FLUSH_BYTES (128u << 10)
#define WINDOW_COMMANDS 4096u
#define WINDOW_BYTES (16u << 20)
#define CHECKPOINT_MS 200
#define NOTE_MS 1000

/* A command whose answer is still to come. */
struct sent {
    uint64_t end_offset; /* of the RDB, behind the key; 0: more commands of the key follow, or no key */
    uint32_t db;
    size_t bytes;
    struct slice key; /* owned; a function's first bytes; empty: ours */
};

struct copy {
    struct pieces pieces; /* first: it is the `self` of its callbacks, too */
    struct link *link;
    struct target *target;
    const struct apply_rules *rules;
    const struct copy_files *files;
    struct spool_info info;
    struct rdb_reader *reader;
    struct sent ring[WINDOW_COMMANDS * 2];
    size_t first, count, bytes;
    int conn_db;
    struct slice current; /* the key in pieces; owned by the reader */
    uint32_t current_db;
    bool current_failed;
    uint64_t acked_offset, written_offset, keys;
    uint32_t acked_db;
    unsigned version; /* of the RDB when it was resumed */
    uint64_t checkpoint_due_ms, note_due_ms, began_ms, began_bytes, sent_bytes, throttled_ms, throttled_ops, throttled_bytes;
    struct dirty dirty;
    struct deadlines deadlines;
    struct rdb_handler piece_handler;
};

static uint64_t now_ms(void) { return clock_mono_ms(clock_real()); }

/* ---- logs ---- */

static enum err append_log(int fd, struct buf *log, struct why *why) {
    size_t written = 0;
    if (buf_size(log) == 0) return OK;
    enum err err = disk_write(fd, buf_slice(log), &written, why);
    if (err == OK) buf_clear(log);
    return err;
}

static enum err write_logs(struct copy *c, struct why *why) {
    deadlines_commit(&c->deadlines);
    enum err err = append_log(c->files->dirty_fd, &c->dirty.log, why);
    return err == OK ? append_log(c->files->deadlines_fd, &c->deadlines.log, why) : err;
}

/* ---- answers ---- */

static void key_failed(struct copy *c, const struct sent *s, struct slice error) {
    struct place place = {.offset = c->info.copy_offset};
    char reason[96];
    snprintf(reason, sizeof reason, "%.*s", (int)(error.size < 90 ? error.size : 90), (const char *)error.data);
    dirty_mark(&c->dirty, place, (int)s->db, s->key, reason);
    log_warn("copy.key_refused", LOG_S("link", c->link->name), LOG_U("db", s->db), LOG_SL("answer", error));
}

static enum err read_answer(struct copy *c, struct why *why) {
    const struct resp_reply *reply = NULL;
    enum err err = rblock_read(c->target->conn, &reply, why);
    if (err != OK) return err;
    struct sent *s = &c->ring[c->first];
    if (resp_reply_is_error(reply)) {
        if (apply_error_is_state(reply->text) || s->key.size == 0)
            err = why_set(why, ERR_REFUSED, "the target answers: %.*s", (int)(reply->text.size < 200 ? reply->text.size : 200),
                          (const char *)reply->text.data);
        else key_failed(c, s, reply->text);
    }
    if (err == OK && s->end_offset > 0) {
        c->acked_offset = s->end_offset;
        c->acked_db = s->db;
    }
    c->bytes -= s->bytes;
    mem_free((void *)(uintptr_t)s->key.data);
    *s = (struct sent){0};
    c->first = (c->first + 1) % (WINDOW_COMMANDS * 2);
    c->count--;
    return err;
}

static enum err read_down_to(struct copy *c, size_t commands, size_t bytes, struct why *why) {
    while (c->count > commands || c->bytes > bytes) {
        enum err err = read_answer(c, why);
        if (err != OK) return err;
    }
    return OK;
}

static void expect(struct copy *c, uint32_t db, struct slice key, uint64_t end_offset, size_t bytes) {
    struct sent *s = &c->ring[(c->first + c->count++) % (WINDOW_COMMANDS * 2)];
    *s = (struct sent){.end_offset = end_offset, .db = db, .bytes = bytes};
    if (key.size) s->key = slice_from(mem_dup(key.data, key.size), key.size);
    c->bytes += bytes;
}

/* ---- sending ---- */

static enum err make_room(struct copy *c, struct why *why) {
    if (rblock_appended_bytes(c->target->conn) >= FLUSH_BYTES) {
        enum err err = rblock_flush(c->target->conn, why);
        if (err != OK) return err;
    }
    if (c->count < WINDOW_COMMANDS && c->bytes < WINDOW_BYTES) return OK;
    return read_down_to(c, WINDOW_COMMANDS / 2, WINDOW_BYTES / 2, why);
}

static enum err select_db(struct copy *c, uint32_t db, struct why *why) {
    char words[16];
    struct buf out = {0};
    (void)why;
    if (c->conn_db == (int)db) return OK;
    snprintf(words, sizeof words, "%u", db);
    resp_write_words(&out, "SELECT", words, NULL);
    rblock_append_raw(c->target->conn, buf_slice(&out));
    expect(c, db, (struct slice){0}, 0, buf_size(&out));
    buf_close(&out);
    c->conn_db = (int)db;
    return OK;
}

/* Sleep as the throttle demands, and obey orders. */
static enum err pace(struct copy *c, size_t bytes, struct why *why) {
    struct link_orders orders;
    if (c->keys % 256 == 0 || bytes > 65536 || c->throttled_ms > 0) {
        link_get_orders(c->link, &orders);
        while (orders.paused && !orders.stop) {
            link_set_state(c->link, LINK_PAUSED, NULL);
            link_sleep(c->link, 100);
            link_get_orders(c->link, &orders);
            if (!orders.paused) link_set_state(c->link, LINK_COPYING, NULL);
        }
        if (orders.stop || orders.begin_again || orders.role != LINK_ACTIVE) return why_set(why, ERR_STOPPED, "the link stops");
        if (orders.throttle_ops || orders.throttle_bytes) {
            uint64_t now = now_ms();
            if (c->throttled_ms == 0 || now - c->throttled_ms > 10000) {
                c->throttled_ms = now;
                c->throttled_ops = c->throttled_bytes = 0;
            }
            uint64_t due = 0, by_bytes = 0;
            if (orders.throttle_ops) due = c->throttled_ops * 1000 / orders.throttle_ops;
            if (orders.throttle_bytes) by_bytes = c->throttled_bytes * 1000 / orders.throttle_bytes;
            if (by_bytes > due) due = by_bytes;
            while (c->throttled_ms + due > now_ms() && !link_stopping(c->link)) link_sleep(c->link, 20);
        } else {
            c->throttled_ms = 0;
        }
    }
    c->throttled_ops++;
    c->throttled_bytes += bytes;
    return OK;
}

static void show_progress(struct copy *c) {
    uint64_t position = rdb_reader_offset(c->reader), elapsed = now_ms() - c->began_ms;
    struct spool_info info;
    spool_look(c->link->spool, &info);
    pthread_mutex_lock(&c->link->lock);
    struct link_copy_status *s = &c->link->status.copy;
    s->keys = c->keys;
    s->bytes = position;
    uint64_t total = s->bytes_total > info.rdb_received ? s->bytes_total : info.rdb_received;
    bool known = info.kind == SPOOL_COPY || s->bytes_total > 0;
    s->eta_ms = -1;
    if (known && position > c->began_bytes && position * 100 >= total && total >= position)
        s->eta_ms = (int64_t)((double)(total - position) * (double)elapsed / (double)(position - c->began_bytes));
    pthread_mutex_unlock(&c->link->lock);
}

/* Say how far we are: to the target by a checkpoint, to people by the status. */
static enum err tick(struct copy *c, struct why *why) {
    if (now_ms() < c->checkpoint_due_ms) return OK;
    c->checkpoint_due_ms = now_ms() + CHECKPOINT_MS;
    show_progress(c);
    enum err err = rblock_flush(c->target->conn, why); /* a throttled copy fills no window: ask for its answers */
    if (err == OK) err = read_down_to(c, c->count / 2, c->bytes / 2, why);
    if (now_ms() >= c->note_due_ms) {
        c->note_due_ms = now_ms() + NOTE_MS;
        copy_note_write(c->link);
    }
    if (err != OK || c->acked_offset == c->written_offset) return err;
    err = write_logs(c, why); /* before the checkpoint passes over what they know */
    if (err != OK) return err;
    struct checkpoint checkpoint = {.kind = CHECKPOINT_COPY, .place = {.offset = c->info.copy_offset},
        .rdb_offset = c->acked_offset, .rdb_db = c->acked_db, .rdb_version = rdb_reader_version(c->reader)};
    memcpy(checkpoint.replid, c->info.replid, sizeof checkpoint.replid);
    memcpy(checkpoint.copy_id, c->info.copy_id, sizeof checkpoint.copy_id);
    struct buf out = {0};
    size_t commands = 0;
    apply_write_checkpoint(c->rules, &checkpoint, &c->conn_db, &out, &commands);
    rblock_append_raw(c->target->conn, buf_slice(&out));
    while (commands-- > 0) expect(c, 0, (struct slice){0}, 0, 0);
    buf_close(&out);
    c->written_offset = c->acked_offset;
    return OK;
}

static void note_deadline(struct copy *c, const struct rdb_key *key) {
    if (key->expire_at_ms < 0) return;
    deadlines_set(&c->deadlines, (int)key->db, key->key, key->expire_at_ms > 0 ? key->expire_at_ms : 1);
    if (c->deadlines.change_count > 10000) deadlines_commit(&c->deadlines);
}

/* ---- what the reader calls ---- */

static enum err in_pieces(struct copy *c, const struct rdb_key *key, struct slice payload, struct why *why) {
    struct buf dump = {0};
    struct rdb_key copy = *key;
    struct rdb_limits limits = RDB_LIMITS_DEFAULT;
    dump_put(&dump, key->rdb_type, payload);
    enum err err = dump_read(buf_slice(&dump), limits, &copy, &c->piece_handler, why);
    buf_close(&dump);
    return err;
}

static enum err key_raw(void *self, const struct rdb_key *key, struct slice payload, struct why *why) {
    struct copy *c = self;
    char ttl[24] = "0";
    if (checkpoint_is_key(key->key)) return OK;
    enum err err = pace(c, payload.size, why);
    if (err == OK) err = make_room(c, why);
    if (err == OK) err = select_db(c, key->db, why);
    if (err != OK) return err;
    note_deadline(c, key);
    c->keys++;
    if (rdb_type_version(key->rdb_type) > c->target->rdb_version || key->expire_at_ms == 0) {
        c->current = key->key;
        c->current_db = key->db;
        err = in_pieces(c, key, payload, why);
        c->ring[(c->first + c->count - 1) % (WINDOW_COMMANDS * 2)].end_offset = key->end_offset;
    } else {
        struct buf out = {0};
        struct buf dump = {0};
        dump_put(&dump, key->rdb_type, payload);
        if (key->expire_at_ms > 0) snprintf(ttl, sizeof ttl, "%" PRId64, key->expire_at_ms);
        resp_write_command(&out, 6, (struct slice[]){SLICE("RESTORE"), key->key, slice_text(ttl), buf_slice(&dump),
                                                     SLICE("REPLACE"), SLICE("ABSTTL")});
        rblock_append_raw(c->target->conn, buf_slice(&out));
        expect(c, key->db, key->key, key->end_offset, buf_size(&out));
        buf_close(&dump);
        buf_close(&out);
    }
    return err == OK ? tick(c, why) : err;
}

/* A command of a value in pieces. */
static enum err send_piece(void *self, struct slice command, struct why *why) {
    struct copy *c = self;
    enum err err = make_room(c, why);
    if (err != OK) return err;
    rblock_append_raw(c->target->conn, command);
    expect(c, c->current_db, buf_slice(&c->pieces.key), 0, command.size);
    return OK;
}

static enum err big_begin(void *self, const struct rdb_key *key, uint64_t count, struct why *why) {
    struct copy *c = self;
    enum err err = select_db(c, key->db, why);
    if (err == OK) err = pace(c, 0, why);
    if (err != OK) return err;
    note_deadline(c, key);
    c->current_db = key->db;
    return c->piece_handler.key_begin(c, key, count, why);
}

static enum err big_end(void *self, const struct rdb_key *key, struct why *why) {
    struct copy *c = self;
    enum err err = c->piece_handler.key_end(c, key, why);
    if (err != OK) return err;
    c->keys++;
    if (c->count > 0) c->ring[(c->first + c->count - 1) % (WINDOW_COMMANDS * 2)].end_offset = key->end_offset;
    return tick(c, why);
}

static enum err on_function(void *self, struct slice code, struct why *why) {
    struct copy *c = self;
    (void)why;
    struct buf out = {0};
    resp_write_command(&out, 4, (struct slice[]){SLICE("FUNCTION"), SLICE("LOAD"), SLICE("REPLACE"), code});
    rblock_append_raw(c->target->conn, buf_slice(&out));
    buf_close(&out);
    const struct resp_reply *reply = NULL;
    enum err err = read_down_to(c, 0, 0, why);
    if (err == OK) err = rblock_read(c->target->conn, &reply, why);
    if (err != OK) return err;
    if (resp_reply_is_error(reply)) {
        if (apply_error_is_state(reply->text))
            return why_set(why, ERR_REFUSED, "the target answers: %.*s", (int)(reply->text.size < 200 ? reply->text.size : 200),
                           (const char *)reply->text.data);
        log_warn("copy.function_refused", LOG_S("link", c->link->name), LOG_SL("answer", reply->text));
    }
    return OK;
}

static enum err on_aux(void *self, struct slice name, struct slice value, struct why *why) {
    struct copy *c = self;
    const struct resp_reply *reply = NULL;
    if (!slice_equal(name, SLICE("lua"))) return OK;
    enum err err = read_down_to(c, 0, 0, why); /* script bodies of sources up to 6.x */
    if (err == OK) err = rblock_call(c->target->conn, 3, (struct slice[]){SLICE("SCRIPT"), SLICE("LOAD"), value}, &reply, why);
    return err;
}

static enum err on_resize(void *self, uint64_t keys, uint64_t expires, struct why *why) {
    struct copy *c = self;
    (void)expires;
    (void)why;
    pthread_mutex_lock(&c->link->lock);
    c->link->status.copy.keys_total += keys;
    pthread_mutex_unlock(&c->link->lock);
    return OK;
}

/* ---- the whole ---- */

static void make_handlers(struct copy *c, struct rdb_handler *handler) {
    c->pieces.send = send_piece;
    c->pieces.self = c;
    c->piece_handler = (struct rdb_handler){.self = c};
    pieces_fill_handler(&c->piece_handler);
    *handler = c->piece_handler;
    handler->aux = on_aux;
    handler->function = on_function;
    handler->resize = on_resize;
    handler->value_raw = key_raw;
    handler->key_begin = big_begin;
    handler->key_end = big_end;
}

static enum err read_rdb(struct copy *c, const struct checkpoint *from, struct why *why) {
    struct rdb_handler handler;
    struct rdb_limits limits = RDB_LIMITS_DEFAULT;
    limits.raw_bytes_max = c->link->pieces_over;
    limits.skip_empty = true;
    make_handlers(c, &handler);
    bool resumed = from && from->rdb_offset > 0;
    struct rdb_source *source = spool_source_open(c->link, c->info.generation, resumed ? from->rdb_offset : 0);
    c->reader = rdb_reader_open(source, limits, &handler);
    if (resumed) {
        rdb_reader_resume(c->reader, (struct rdb_position){from->rdb_offset, from->rdb_db, from->rdb_version});
        c->acked_offset = c->written_offset = c->began_bytes = from->rdb_offset;
        c->acked_db = from->rdb_db;
    }
    c->began_ms = now_ms();
    enum err err = rdb_reader_run(c->reader, why);
    if (err == OK) err = rblock_flush(c->target->conn, why);
    if (err == OK) err = read_down_to(c, 0, 0, why);
    if (err == OK) err = write_logs(c, why);
    if (err == OK) show_progress(c);
    rdb_reader_close(c->reader);
    spool_source_close(source);
    return err;
}

/* What the target had when this copy began, for the end of it; survives a restart. */
static enum err had_keys(struct copy *c, bool fresh, bool *had, struct why *why) {
    char path[4352], id[48] = "", word[8] = "";
    struct buf text = {0};
    uint64_t keys = 0;
    snprintf(path, sizeof path, "%s/begun", c->link->folder);
    enum err err = fs_read_file(path, 4096, &text, why);
    bool begun = err == OK;
    if (err == ERR_ABSENT) err = OK;
    if (err != OK) goto out;
    if (begun && sscanf(buf_text(&text), "%40s %7s", id, word) != 2) word[0] = '\0';
    *had = strcmp(word, "empty") != 0;
    if (begun && !fresh && strcmp(id, c->info.copy_id) == 0) goto out;
    err = target_count_keys(c->target, &keys, why);
    if (err != OK) goto out;
    *had = keys > 0;
    if (keys > 0 && !begun) {
        err = why_set(why, ERR_EXISTS, "the target is not empty: it has %" PRIu64 " keys that this link did not write; empty it "
                      "(FLUSHALL) or choose another target", keys);
        goto out;
    }
    buf_clear(&text);
    buf_printf(&text, "%s %s\n", c->info.copy_id, *had ? "keys" : "empty");
    err = fs_replace(path, buf_slice(&text), why);
out:
    buf_close(&text);
    return err;
}

static enum err start_fresh(struct copy *c, bool had, struct why *why) {
    const struct resp_reply *reply = NULL;
    struct checkpoint checkpoint = {.kind = CHECKPOINT_COPY, .place = {.offset = c->info.copy_offset}, .rdb_version = 1};
    memcpy(checkpoint.replid, c->info.replid, sizeof checkpoint.replid);
    memcpy(checkpoint.copy_id, c->info.copy_id, sizeof checkpoint.copy_id);
    enum err err = target_write_checkpoint(c->target, c->rules, &checkpoint, why);
    if (err == OK && had) err = rblock_words(c->target->conn, &reply, why, "FUNCTION FLUSH SYNC"); /* unknown before 7.0: fine */
    return err;
}

/* The reader saw the end of the RDB, perhaps before the receiver made the file durable. */
static enum err wait_complete(struct copy *c, struct why *why) {
    for (;;) {
        struct spool_info info;
        spool_look(c->link->spool, &info);
        if (info.generation != c->info.generation) return why_set(why, ERR_STATE, "the spool began another copy");
        if (info.kind == SPOOL_COPY) return OK;
        if (link_stopping(c->link)) return why_set(why, ERR_STOPPED, "the link stops");
        link_sleep(c->link, 100);
    }
}

static enum err finish(struct copy *c, bool had, struct why *why) {
    uint64_t removed = 0;
    struct checkpoint checkpoint = {.kind = CHECKPOINT_STREAM, .place = {.offset = c->info.copy_offset}};
    memcpy(checkpoint.replid, c->info.replid, sizeof checkpoint.replid);
    enum err err = wait_complete(c, why);
    if (err == OK && had) err = extras_remove(c->link, c->target, c->info.generation, &removed, why);
    if (err == OK) err = target_write_checkpoint(c->target, c->rules, &checkpoint, why);
    if (err != OK) return err;
    pthread_mutex_lock(&c->link->lock);
    struct link_copy_status *s = &c->link->status.copy;
    s->done = true;
    s->ended_ms = clock_wall_ms(clock_real());
    s->eta_ms = 0;
    s->keys_total = s->keys;
    s->bytes_total = s->bytes;
    pthread_mutex_unlock(&c->link->lock);
    copy_note_write(c->link);
    log_info("copy.done", LOG_S("link", c->link->name), LOG_U("keys", c->keys), LOG_U("removed", removed),
             LOG_U("refused", dirty_count(&c->dirty)), LOG_U("ms", now_ms() - c->began_ms));
    return OK;
}

enum err copy_run(struct link *link, struct target *target, const struct apply_rules *rules, const struct copy_files *files,
                  const struct checkpoint *from, struct why *why) {
    struct copy *c = NEW(struct copy);
    bool had = false, fresh = from == NULL;
    c->link = link;
    c->target = target;
    c->rules = rules;
    c->files = files;
    c->conn_db = -1;
    dirty_init(&c->dirty);
    spool_look(link->spool, &c->info);
    /* The id in the meta file is that of the end of the stream; the copy has the first one's. */
    enum err err = spool_copy_replid(link->spool, c->info.replid) ? OK : why_set(why, ERR_STATE, "the spool began another copy");
    if (err == OK) err = had_keys(c, fresh, &had, why);
    if (err == OK && fresh) err = start_fresh(c, had, why);
    log_info("copy.start", LOG_S("link", link->name), LOG_B("resumed", !fresh), LOG_U("at", from ? from->rdb_offset : 0));
    link_set_state(link, LINK_COPYING, NULL);
    pthread_mutex_lock(&link->lock);
    struct link_copy_status *s = &link->status.copy;
    if (!s->started_ms) s->started_ms = clock_wall_ms(clock_real());
    if (!s->copies) s->copies = 1;
    if (fresh) s->keys = s->keys_total = 0;
    s->done = false;
    s->ended_ms = 0;
    c->keys = s->keys; /* of before a restart, as far as they were noted */
    pthread_mutex_unlock(&link->lock);
    if (err == OK) err = read_rdb(c, from, why);
    if (err == OK) err = finish(c, had, why);
    for (size_t i = 0; i < c->count; i++)
        mem_free((void *)(uintptr_t)c->ring[(c->first + i) % (WINDOW_COMMANDS * 2)].key.data);
    dirty_close(&c->dirty);
    deadlines_close(&c->deadlines);
    pieces_close(&c->pieces);
    mem_free(c);
    return err;
}
