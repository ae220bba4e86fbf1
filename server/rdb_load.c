/* rdb_load.c -- read an RDB file into the keyspace. See persistence.h.
 *
 * A team (load_team.h) reads pieces of the file and makes entries of their keys; here they are put
 * into the index in the order of the file, and what stands between the keys is obeyed.
 */
#include "server/persistence.h"

#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "lib/redis/resp.h"
#include "server/access.h"
#include "server/allocator.h"
#include "server/function.h"
#include "server/load_team.h"
#include "server/loading.h"
#include "server/script.h"
#include "server/value_rdb.h"

#include <fcntl.h>
#include <unistd.h>

#define KEYS_BETWEEN_LOOKS 16 /* at the clock */
#define KEY_BYTES_MIN 12u     /* of an RDB, for each key whose room is reserved on its word */
#define EMPTY_KEYS_NAMED 100  /* in the log; the others are counted */
/* Keys whose segment, and whose bucket, are fetched from memory before their turn. */
#define AHEAD_SEGMENT 32u
#define AHEAD_BUCKET 16u
#define BYTES_FOR_GROWTH (UINT64_C(16) << 20) /* of a file, from which on the memory for it comes in huge pages */
#define BYTES_FOR_THREADS (UINT64_C(1) << 20) /* smaller files are not worth a thread */

struct loader {
    struct engine *engine;
    struct db *dbs;          /* where keys go: the engine's, or those of */
    struct rdb_aside *aside; /* NULL: none */
    struct db *db;           /* selected */
    struct load_team *team;
    struct value_builder builder; /* for what stands between keys, and for REST */
    struct rdb_reader *in_memory;
    struct rdb_place *place;
    unsigned flags;
    uint64_t empty_keys; /* skipped */
    uint64_t end;        /* offset behind what was read */
};

/* ---- the file in slices, so that there is a moment for a turn between two of them ---- */

struct sliced_source {
    struct rdb_source source;
    struct rdb_source_file file;
    struct engine *engine;
};

static enum err read_slice(struct rdb_source *source, void *into, size_t size, size_t *got,
                           struct why *why) {
    struct sliced_source *sliced = (struct sliced_source *)(void *)source;
    size_t most = size < LOADING_PIECE_BYTES ? size : LOADING_PIECE_BYTES;
    enum err err = sliced->file.source.read(&sliced->file.source, into, most, got, why);
    return err ? err : loading_look(sliced->engine, why);
}

/* ---- what stands between the keys ---- */

static bool to_int(struct slice text, int64_t *number) {
    return slice_to_int(text, number);
}

static void load_checkpoint(struct loader *loader, struct slice name, struct slice value) {
    struct checkpoints *all =
        loader->aside ? &loader->aside->checkpoints : &persistence_of(loader->engine)->checkpoints;
    int64_t epoch;
    if (slice_equal(name, SLICE(CHECKPOINT_AUX_EPOCH))) {
        if (to_int(value, &epoch) && epoch > 0 && (uint64_t)epoch > all->epoch)
            all->epoch = (uint64_t)epoch;
        return;
    }
    name = slice_drop(name, sizeof CHECKPOINT_AUX_PREFIX - 1);
    if (checkpoint_name_is_fine(name) && checkpoint_value_is_fine(value))
        (void)checkpoints_set(all, name, value);
}

static enum err load_aux(void *self, struct slice name, struct slice value, struct why *why) {
    struct value_builder *builder = self;
    struct loader *loader = builder->self;
    (void)why;
    int64_t number;
    if (slice_equal(name, SLICE("repl-id")) && value.size == 40) {
        memcpy(loader->place->id, value.data, 40);
        loader->place->id[40] = '\0';
    } else if (slice_equal(name, SLICE("repl-offset")) && to_int(value, &number) && number >= 0) {
        loader->place->offset = number;
    } else if (slice_equal(name, SLICE("used-mem")) && to_int(value, &number)) {
        persistence_of(loader->engine)->loading_used_memory = number;
    } else if (slice_equal(name, SLICE("lua"))) {
        script_learn(loader->engine, value);
    } else if (slice_equal(name, SLICE("repl-stream-db")) && to_int(value, &number)) {
        loader->place->db = number;
    } else if (slice_starts(name, SLICE(CHECKPOINT_AUX_PREFIX)) ||
               slice_equal(name, SLICE(CHECKPOINT_AUX_EPOCH))) {
        load_checkpoint(loader, name, value);
    }
    return OK;
}

static enum err load_function(void *self, struct slice code, struct why *why) {
    struct value_builder *builder = self;
    struct loader *loader = builder->self;
    if (loader->aside) {
        rdb_aside_add_function(loader->aside, code);
        return OK;
    }
    return functions_load(loader->engine, code, loader->flags & RDB_LOAD_MERGE, why);
}

/* A database that is empty gets its index at once; what the file claims is believed as far as its
 * size allows. */
static enum err load_resize(void *self, uint64_t keys, uint64_t expires, struct why *why) {
    struct value_builder *builder = self;
    struct loader *loader = builder->self;
    uint64_t most = persistence_of(loader->engine)->loading_total_bytes / KEY_BYTES_MIN;
    (void)expires, (void)why;
    if (loader->db) db_reserve(loader->db, keys < most ? keys : most);
    return OK;
}

static enum err load_select(void *self, uint32_t db, struct why *why) {
    struct value_builder *builder = self;
    struct loader *loader = builder->self;
    (void)why; /* the reader has checked the number */
    loader->db = &loader->dbs[db];
    return OK;
}

/* ---- keys ---- */

/* A master drops what has expired while nobody looked; a replica and import mode (C8) leave that to
 * their masters. */
static bool is_to_be_dropped(const struct loader *loader, const struct db_addition *key) {
    return key->expiry_ms >= 0 && !(loader->flags & RDB_LOAD_KEEP_EXPIRED) &&
           !loader->engine->settings.import_mode && key->expiry_ms < loader->engine->now_ms;
}

/* The replicas that may go on from here have the key, and must hear that it is gone. */
static void note_dropped(struct loader *loader, const struct db_addition *key) {
    struct persistence *p = persistence_of(loader->engine);
    bool is_noted = loader->flags & RDB_LOAD_NOTE_EXPIRED;
    if (!is_noted || !loader->place->id[0] || loader->place->offset < 0) return;
    char number[24];
    (void)snprintf(number, sizeof number, "%u", (unsigned)key->db);
    if (p->expired_db != (int64_t)key->db)
        resp_write_words(&p->expired_deletions, "SELECT", number, NULL);
    p->expired_db = (int64_t)key->db;
    struct slice words[] = {SLICE("DEL"), entry_key(key->e)};
    resp_write_command(&p->expired_deletions, COUNT(words), words);
}

static enum err says_twice(const struct db_addition *key, struct why *why) {
    struct slice name = entry_key(key->e);
    enum err err =
        why_set(why, ERR_CORRUPT, "the key '%.*s' stands twice in database %d",
                name.size > 100 ? 100 : (int)name.size, (const char *)name.data, (int)key->db);
    entry_free(key->e);
    return err;
}

/* The entry is the database's, or gone. */
static enum err take_key(struct loader *loader, const struct db_addition *key, struct why *why) {
    struct persistence *p = persistence_of(loader->engine);
    struct db *db = &loader->dbs[key->db];
    if (is_to_be_dropped(loader, key)) {
        p->keys_expired_on_load++;
        note_dropped(loader, key);
        entry_free(key->e);
        return OK;
    }
    if (loader->flags & RDB_LOAD_MERGE) (void)db_delete(db, entry_key(key->e));
    if (!db_addition_end(db, key)) return says_twice(key, why);
    p->keys_loaded++;
    return loader->engine->settings.key_load_delay_us ? loading_key(loader->engine, why) : OK;
}

static void fetch(const struct loader *loader, const struct load_piece *piece, size_t at) {
    if (at + AHEAD_SEGMENT < piece->count) {
        const struct db_addition *key = &piece->keys[at + AHEAD_SEGMENT];
        db_addition_fetch(&loader->dbs[key->db], key, 0);
    }
    if (at + AHEAD_BUCKET < piece->count) {
        const struct db_addition *key = &piece->keys[at + AHEAD_BUCKET];
        db_addition_fetch(&loader->dbs[key->db], key, 1);
    }
}

static enum err take_keys(struct loader *loader, struct load_piece *piece, struct why *why) {
    uint64_t bytes = piece->end - piece->cut.at.offset, told = 0;
    enum err err = OK;
    while (!err && piece->taken < piece->count) {
        fetch(loader, piece, piece->taken);
        err = take_key(loader, &piece->keys[piece->taken++], why);
        bool looks = piece->taken % KEYS_BETWEEN_LOOKS == 0 || piece->taken == piece->count;
        if (err || !looks) continue;
        uint64_t done = bytes * piece->taken / piece->count;
        err = loading_advance(loader->engine, done - told, why);
        told = done;
    }
    return err;
}

/* Old versions of Redis could leave such. */
static void say_empty(struct loader *loader, struct load_piece *piece) {
    uint64_t named = 0;
    for (size_t size; buf_size(&piece->empty); buf_consume(&piece->empty, size + 1)) {
        const uint8_t *name = buf_slice(&piece->empty).data;
        size = *name;
        if (loader->empty_keys + named++ < EMPTY_KEYS_NAMED)
            engine_log(loader->engine, '*', "Loading the RDB, skipping empty key: %.*s", (int)size,
                       (const char *)name + 1);
    }
    loader->empty_keys += piece->empty_count;
}

/* ---- pieces ---- */

/* Of REST. */
static enum err take_value(void *self, const struct rdb_key *key, const struct value *value,
                           struct why *why) {
    struct loader *loader = self;
    struct engine *engine = loader->engine;
    struct db_addition one =
        db_addition_make(engine->dbs[0].partitions->share_bits, key->db, key->key, value,
                         key->expire_at_ms, access_word(engine));
    enum err err = take_key(loader, &one, why);
    bool looks = persistence_of(engine)->keys_loaded % KEYS_BETWEEN_LOOKS == 0;
    return err || !looks ? err : loading_look(engine, why);
}

static void say_empty_of_rest(void *self, const struct rdb_key *key) {
    struct value_builder *builder = self;
    struct load_piece piece = {.empty_count = 1};
    size_t size = key->key.size < 100 ? key->key.size : 100;
    buf_byte(&piece.empty, (uint8_t)size);
    buf_add(&piece.empty, slice_take(key->key, size));
    say_empty(builder->self, &piece);
    buf_close(&piece.empty);
}

static enum err take_rest(struct loader *loader, const struct load_piece *piece,
                          struct rdb_limits limits, struct rdb_source *source, struct why *why) {
    enum err err = load_team_seek(loader->team, why);
    if (err) return err;
    struct rdb_reader *reader = rdb_reader_open(source, limits, &loader->builder.handler);
    if (piece->cut.at.version > 0) {
        rdb_reader_resume(reader, piece->cut.at);
        rdb_reader_know_sum(reader, piece->cut.sum);
    }
    err = rdb_reader_run(reader, why);
    loader->end = rdb_reader_offset(reader);
    rdb_reader_close(reader);
    return err;
}

static enum err take_between(struct loader *loader, const struct load_piece *piece,
                             const uint64_t *sum, struct why *why) {
    loader->end = piece->end;
    enum err err =
        rdb_reader_part(loader->in_memory, buf_slice(&piece->cut.bytes), piece->cut.at, sum, why);
    return err ? err : loading_advance(loader->engine, piece->end - piece->cut.at.offset, why);
}

static enum err take_piece(struct loader *loader, struct load_piece *piece, struct why *why) {
    enum err err = OK;
    switch (piece->cut.kind) {
    case LOAD_KEYS:
    case LOAD_BIG:
        err = take_keys(loader, piece, why);
        say_empty(loader, piece);
        break;
    case LOAD_BETWEEN: return take_between(loader, piece, NULL, why);
    case LOAD_END: return take_between(loader, piece, &piece->cut.sum, why);
    case LOAD_REST:
    case LOAD_FAILED: break;
    }
    if (err || !piece->err) return err;
    *why = piece->why;
    return piece->err;
}

static enum err take_all(struct loader *loader, struct rdb_limits limits, struct rdb_source *source,
                         struct why *why) {
    for (;;) {
        struct load_piece *piece = load_team_next(loader->team);
        enum err err = OK;
        bool is_last = false;
        if (piece) {
            err = take_piece(loader, piece, why);
            is_last = piece->cut.kind == LOAD_END || piece->cut.kind == LOAD_REST;
            if (!err && piece->cut.kind == LOAD_REST)
                err = take_rest(loader, piece, limits, source, why);
            load_team_give(loader->team, piece);
        } else {
            err = loading_look(loader->engine, why);
        }
        if (err || is_last) return err;
    }
}

/* ---- the file ---- */

static unsigned threads_for(const struct engine *engine) {
    int64_t wanted = engine->settings.rdb_load_threads;
    if (persistence_of(engine)->loading_total_bytes < BYTES_FOR_THREADS && wanted == 0) return 0;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (wanted == 0) wanted = cores > LOAD_THREADS_AUTO ? LOAD_THREADS_AUTO : cores;
    return wanted > 1 ? (unsigned)wanted - 1 : 0;
}

static struct rdb_limits limits_of(const struct engine *engine) {
    struct rdb_limits limits = RDB_LIMITS_DEFAULT;
    limits.databases_max = (uint64_t)engine->db_count;
    limits.skip_empty = true;
    return limits;
}

static void loader_open(struct loader *loader, struct rdb_place *place) {
    struct engine *engine = loader->engine;
    struct persistence *p = persistence_of(engine);
    *place = (struct rdb_place){.offset = -1, .db = -1};
    p->keys_loaded = p->keys_expired_on_load = 0;
    value_builder_init(&loader->builder, &engine->settings.types, loader, take_value);
    struct rdb_handler *handler = &loader->builder.handler;
    handler->aux = load_aux;
    handler->function = load_function;
    handler->select_db = load_select;
    handler->resize = load_resize;
    handler->key_empty = say_empty_of_rest;
}

static void loader_close(struct loader *loader) {
    loader->place->known = loader->place->id[0] && loader->place->offset >= 0;
    value_builder_close(&loader->builder);
}

static void team_open(struct loader *loader, int fd, struct sliced_source *source) {
    struct engine *engine = loader->engine;
    *source = (struct sliced_source){.source.read = read_slice, .engine = engine};
    rdb_source_file_init(&source->file, fd);
    struct rdb_limits limits = limits_of(engine);
    loader->in_memory = rdb_reader_open(NULL, limits, &loader->builder.handler);
    struct load_plan plan = {.fd = fd,
                             .threads = threads_for(engine),
                             .limits = limits,
                             .types = engine->settings.types,
                             .share_bits = engine->dbs[0].partitions->share_bits,
                             .access = access_word(engine),
                             .source = &source->source};
    loader->team = load_team_open(&plan);
}

static void team_close(struct loader *loader) {
    load_team_close(loader->team);
    rdb_reader_close(loader->in_memory);
}

enum err rdb_load_file(struct engine *engine, const char *path, unsigned flags,
                       struct rdb_place *place, uint64_t *used_bytes, struct why *why) {
    struct loader loader = {.engine = engine, .dbs = engine->dbs, .place = place, .flags = flags};
    struct sliced_source source;
    bool grows = persistence_of(engine)->loading_total_bytes >= BYTES_FOR_GROWTH && !engine->async_loading;
    int fd;
    enum err err = fs_open(path, O_RDONLY, &fd, why);
    loader_open(&loader, place);
    if (!err) {
        if (grows) allocator_grows(true);
        team_open(&loader, fd, &source);
        err = take_all(&loader, limits_of(engine), &source.source, why);
        if (used_bytes) *used_bytes = loader.end;
        if (err) err = why_add(why, err, "%s", path);
        team_close(&loader);
        if (grows) allocator_grows(false);
        close(fd);
    }
    if (loader.empty_keys)
        engine_log(engine, '*', "%s: empty keys skipped: %llu.", path,
                   (unsigned long long)loader.empty_keys);
    loader_close(&loader);
    return err;
}

enum err rdb_load_stream(struct engine *engine, struct rdb_source *source, struct rdb_aside *aside,
                         unsigned flags, struct rdb_place *place, struct why *why) {
    struct loader loader = {.engine = engine,
                            .dbs = aside ? aside->dbs : engine->dbs,
                            .aside = aside,
                            .place = place,
                            .flags = flags};
    loader_open(&loader, place);
    struct rdb_reader *reader = rdb_reader_open(source, limits_of(engine), &loader.builder.handler);
    enum err err = rdb_reader_run(reader, why);
    rdb_reader_close(reader);
    loader_close(&loader);
    return err;
}
