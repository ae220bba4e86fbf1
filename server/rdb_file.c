/* rdb_file.c -- write the keyspace as an RDB, and read one into it. See persistence.h. */
#include "server/persistence.h"

#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "lib/redis/resp.h"
#include "server/function.h"
#include "server/loading.h"
#include "server/value_rdb.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define PUSH_BYTES ((size_t)64 * 1024)
#define AUX_VERSION_MIN 7u /* of an RDB: aux fields, and the sizes of databases */
#define FUNCTION_VERSION_MIN 10u
#define FETCHED_AT_ONCE 16
#define KEYS_BETWEEN_LOOKS 16 /* at the clock */
#define KEY_BYTES_MIN 12u     /* of an RDB, for each key whose room is reserved on its word */
#define EMPTY_KEYS_NAMED 100  /* in the log; the others are counted */
#define SYNC_EVERY_BYTES                                                                           \
    (UINT64_C(32) << 20) /* rdb-save-incremental-fsync: never a long queue of dirty pages */

/* ---- writing ---- */

enum err rdb_has_no_streams(unsigned version, int db, struct slice key, struct why *why) {
    return why_set(why, ERR_LIMIT,
                   "RDB version %u (rdb-version) has no streams, and '%.*s' in database %d is one",
                   version, key.size > 100 ? 100 : (int)key.size, (const char *)key.data, db);
}

void rdb_put_head(struct engine *engine, struct rdb_writer *writer,
                  const struct rdb_save_options *options) {
    if (options->version < AUX_VERSION_MIN) return; /* there are no words for it */
    rdb_writer_aux(writer, SLICE("redis-ver"), SLICE(SERVER_VERSION));
    rdb_writer_aux_number(writer, SLICE("redis-bits"), 64);
    rdb_writer_aux_number(writer, SLICE("ctime"), engine->now_ms / 1000);
    rdb_writer_aux_number(writer, SLICE("used-mem"), (int64_t)engine->stats.memory_peak);
    if (options->place.known) {
        rdb_writer_aux_number(writer, SLICE("repl-stream-db"),
                              options->place.db < 0 ? 0 : options->place.db);
        rdb_writer_aux(writer, SLICE("repl-id"), slice_text(options->place.id));
        rdb_writer_aux_number(writer, SLICE("repl-offset"), options->place.offset);
    }
    rdb_writer_aux_number(writer, SLICE("aof-base"), options->aof_base);
    const struct checkpoints *all = &persistence_of(engine)->checkpoints;
    for (size_t i = 0; i < all->count; i++) {
        char name[sizeof CHECKPOINT_AUX_PREFIX + CHECKPOINT_NAME_SIZE_MAX];
        int size = snprintf(name, sizeof name, CHECKPOINT_AUX_PREFIX "%s", all->list[i].name);
        rdb_writer_aux(writer, slice_from(name, (size_t)size), slice_text(all->list[i].value));
    }
    if (all->epoch) rdb_writer_aux_number(writer, SLICE(CHECKPOINT_AUX_EPOCH), (int64_t)all->epoch);
    bool functions = options->version >= FUNCTION_VERSION_MIN;
    if (functions && options->scope != SNAPSHOT_NOTHING) functions_save(engine, writer);
}

static enum err put_entry(struct rdb_writer *writer, const struct db *db, const struct entry *e,
                          bool compress, unsigned version, struct why *why) {
    struct value value = entry_value(e);
    struct rdb_key key = {.db = (uint32_t)db->id,
                          .key = entry_key(e),
                          .expire_at_ms = entry_expiry(e),
                          .idle_s = -1,
                          .freq = -1,
                          .rdb_type = value_rdb_type_for(&value, version)};
    if (key.rdb_type == RDB_NO_TYPE) 
        return rdb_has_no_streams(version, db->id, key.key, why);
    rdb_put_key(&writer->out, &key, compress);
    value_put_as(&writer->out, &value, key.rdb_type, compress);
    return rdb_writer_push(writer, PUSH_BYTES, why);
}

/* The next entries, fetched from memory together; how many. */
static size_t next_entries(struct db_iter *iter, struct entry *entries[FETCHED_AT_ONCE]) {
    size_t count = 0;
    for (struct entry *e; count < FETCHED_AT_ONCE && (e = db_iter_next(iter)) != NULL;) {
        __builtin_prefetch(e);
        entries[count++] = e;
    }
    for (size_t i = 0; i < count; i++) entry_prefetch(entries[i]);
    return count;
}

static enum err put_db(struct db *db, struct rdb_writer *writer, bool compress, unsigned version,
                       struct why *why) {
    if (db_size(db) == 0) return OK;
    rdb_writer_select(writer, (uint32_t)db->id);
    if (version >= AUX_VERSION_MIN) rdb_writer_resize(writer, db_size(db), db->expires);
    struct db_iter iter;
    db_iter_init(&iter, db);
    struct entry *entries[FETCHED_AT_ONCE];
    for (size_t count; (count = next_entries(&iter, entries)) > 0;)
        for (size_t i = 0; i < count; i++) {
            enum err err = put_entry(writer, db, entries[i], compress, version, why);
            if (err) return err;
        }
    return OK;
}

enum err rdb_save_to(struct engine *engine, struct rdb_sink *sink,
                     const struct rdb_save_options *wanted, struct why *why) {
    struct rdb_writer writer;
    struct rdb_save_options copy = *wanted, *options = &copy;
    if (options->version == 0) options->version = RDB_VERSION_WRITTEN;
    rdb_writer_open(&writer, sink, options->version);
    rdb_put_head(engine, &writer, options);
    enum err err = OK;
    for (int i = 0; !err && i < engine->db_count && options->scope == SNAPSHOT_ALL; i++)
        err = put_db(&engine->dbs[i], &writer, engine->settings.rdbcompression, options->version,
                     why);
    if (!err) err = rdb_writer_end(&writer, why);
    rdb_writer_close(&writer);
    return err;
}

struct file_sink {
    struct rdb_sink sink;
    int fd;
    const char *path;
    uint64_t unsynced_bytes;
    bool syncs; /* every now and then */
};

static enum err write_to_file(struct rdb_sink *sink, struct slice bytes, struct why *why) {
    struct file_sink *file = (struct file_sink *)(void *)sink;
    enum err err = fs_write(file->fd, bytes, file->path, why);
    file->unsynced_bytes += bytes.size;
    if (!err && file->syncs && file->unsynced_bytes >= SYNC_EVERY_BYTES) {
        file->unsynced_bytes = 0;
        err = fs_sync(file->fd, file->path, why);
    }
    return err;
}

enum err rdb_save_file(struct engine *engine, const char *path,
                       const struct rdb_save_options *options, struct why *why) {
    struct file_sink file = {.sink.write = write_to_file,
                             .path = path,
                             .syncs = engine->settings.rdb_save_incremental_fsync};
    enum err err = fs_open(path, O_WRONLY | O_CREAT | O_TRUNC, &file.fd, why);
    if (err) return err;
    err = rdb_save_to(engine, &file.sink, options, why);
    if (!err) err = fs_sync(file.fd, path, why);
    close(file.fd);
    return err;
}

/* ---- reading ---- */

/* The file in pieces, so that there is a moment for a turn between two of them, whatever they
 * hold. */
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
    return err ? err : loading_advance(sliced->engine, *got, why);
}

/* Keys whose places in the index are being fetched from memory while others are read. */
#define WAITING_KEYS 32u /* a power of two */

struct loader {
    struct engine *engine;
    struct db *db; /* selected */
    struct db_addition waiting[WAITING_KEYS];
    uint64_t begun, added; /* of them, in turn */
    struct value_builder builder;
    struct rdb_place *place;
    unsigned flags;
    uint64_t empty_keys; /* skipped */
};

static bool to_int(struct slice text, int64_t *number) {
    return slice_to_int(text, number);
}

static void load_checkpoint(struct loader *loader, struct slice name, struct slice value) {
    struct checkpoints *all = &persistence_of(loader->engine)->checkpoints;
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
    return functions_load(loader->engine, code, loader->flags & RDB_LOAD_MERGE, why);
}

/* A master drops what has expired while nobody looked; a replica and import mode (C8) leave that to
 * their masters. */
static bool is_to_be_dropped(const struct loader *loader, const struct rdb_key *key) {
    return key->expire_at_ms >= 0 && !(loader->flags & RDB_LOAD_KEEP_EXPIRED) &&
           !loader->engine->settings.import_mode && key->expire_at_ms < loader->engine->now_ms;
}

/* The replicas that may go on from here have the key, and must hear that it is gone. */
static void note_dropped(struct loader *loader, const struct rdb_key *key) {
    struct persistence *p = persistence_of(loader->engine);
    bool is_noted = loader->flags & RDB_LOAD_NOTE_EXPIRED;
    if (!is_noted || !loader->place->id[0] || loader->place->offset < 0) return;
    char number[24];
    (void)snprintf(number, sizeof number, "%u", (unsigned)key->db);
    if (p->expired_db != (int64_t)key->db)
        resp_write_words(&p->expired_deletions, "SELECT", number, NULL);
    p->expired_db = (int64_t)key->db;
    struct slice words[] = {SLICE("DEL"), key->key};
    resp_write_command(&p->expired_deletions, COUNT(words), words);
}

static enum err add_first(struct loader *loader, struct why *why) {
    const struct db_addition *first = &loader->waiting[loader->added++ % WAITING_KEYS];
    if (db_addition_end(first)) return OK;
    struct slice key = entry_key(first->e);
    enum err err =
        why_set(why, ERR_CORRUPT, "the key '%.*s' stands twice in database %d",
                key.size > 100 ? 100 : (int)key.size, (const char *)key.data, first->db->id);
    entry_free(first->e);
    return err;
}

static enum err load_value(void *self, const struct rdb_key *key, const struct value *value,
                           struct why *why) {
    struct loader *loader = self;
    struct engine *engine = loader->engine;
    struct persistence *p = persistence_of(engine);
    if (is_to_be_dropped(loader, key)) {
        if (value->type != TYPE_STRING) value_free(value);
        p->keys_expired_on_load++;
        note_dropped(loader, key);
        return OK;
    }
    struct db *db = &engine->dbs[key->db];
    if (loader->flags & RDB_LOAD_MERGE) (void)db_delete(db, key->key);
    loader->waiting[loader->begun++ % WAITING_KEYS] =
        db_addition_begin(db, key->key, value, key->expire_at_ms);
    if (loader->begun - loader->added > WAITING_KEYS / 2)
        db_addition_fetch(&loader->waiting[(loader->begun - WAITING_KEYS / 2) % WAITING_KEYS]);
    enum err err = loader->begun - loader->added < WAITING_KEYS ? OK : add_first(loader, why);
    bool looks = ++p->keys_loaded % KEYS_BETWEEN_LOOKS == 0 || engine->settings.key_load_delay_us;
    return err || !looks ? err : loading_advance(engine, 0, why);
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
    loader->db = &loader->engine->dbs[db];
    return OK;
}

/* What waits is added, or after an error thrown away. */
static enum err add_waiting(struct loader *loader, enum err err, struct why *why) {
    while (!err && loader->added < loader->begun) err = add_first(loader, why);
    while (loader->added < loader->begun)
        entry_free(loader->waiting[loader->added++ % WAITING_KEYS].e);
    return err;
}

/* Old versions of Redis could leave such. */
static void say_empty(void *self, const struct rdb_key *key) {
    struct value_builder *builder = self;
    struct loader *loader = builder->self;
    if (loader->empty_keys++ >= EMPTY_KEYS_NAMED) return;
    engine_log(loader->engine, '*', "Loading the RDB, skipping empty key: %.*s",
               key->key.size > 100 ? 100 : (int)key->key.size, (const char *)key->key.data);
}

enum err rdb_load_file(struct engine *engine, const char *path, unsigned flags,
                       struct rdb_place *place, uint64_t *used_bytes, struct why *why) {
    struct loader loader = {.engine = engine, .place = place, .flags = flags};
    struct persistence *p = persistence_of(engine);
    struct sliced_source source = {.source.read = read_slice, .engine = engine};
    struct rdb_limits limits = RDB_LIMITS_DEFAULT;
    limits.databases_max = (uint64_t)engine->db_count;
    limits.skip_empty = true;
    *place = (struct rdb_place){.offset = -1, .db = -1};
    p->keys_loaded = p->keys_expired_on_load = 0;
    int fd;
    enum err err = fs_open(path, O_RDONLY, &fd, why);
    if (err) return err;
    rdb_source_file_init(&source.file, fd);
    value_builder_init(&loader.builder, &engine->settings.types, &loader, load_value);
    loader.builder.handler.aux = load_aux;
    loader.builder.handler.function = load_function;
    loader.builder.handler.select_db = load_select;
    loader.builder.handler.resize = load_resize;
    loader.builder.handler.key_empty = say_empty;
    struct rdb_reader *reader = rdb_reader_open(&source.source, limits, &loader.builder.handler);
    err = add_waiting(&loader, rdb_reader_run(reader, why), why);
    place->known = place->id[0] && place->offset >= 0;
    if (used_bytes) *used_bytes = rdb_reader_offset(reader);
    if (err) err = why_add(why, err, "%s", path);
    if (loader.empty_keys)
        engine_log(engine, '*', "%s: empty keys skipped: %llu.", path,
                   (unsigned long long)loader.empty_keys);
    rdb_reader_close(reader);
    value_builder_close(&loader.builder);
    close(fd);
    return err;
}
