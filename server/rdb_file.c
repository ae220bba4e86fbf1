/* rdb_file.c -- write the keyspace as an RDB. See persistence.h. */
#include "server/persistence.h"

#include "lib/base/fs.h"
#include "server/function.h"
#include "server/script.h"
#include "server/value_rdb.h"

#include <fcntl.h>
#include <unistd.h>

#define PUSH_BYTES ((size_t)64 * 1024)
#define AUX_VERSION_MIN 7u /* of an RDB: aux fields, and the sizes of databases */
#define FUNCTION_VERSION_MIN 10u
#define FETCHED_AT_ONCE 16
#define SYNC_EVERY_BYTES                                                                           \
    (UINT64_C(32) << 20) /* rdb-save-incremental-fsync: never a long queue of dirty pages */

enum err rdb_has_no_streams(unsigned version, int db, struct slice key, struct why *why) {
    return why_set(why, ERR_LIMIT,
                   "RDB version %u (rdb-version, oldest-replica) has no streams, and '%.*s' in database %d is one",
                   version, key.size > 100 ? 100 : (int)key.size, (const char *)key.data, db);
}

static void put_script(void *ctx, struct slice body) {
    rdb_writer_aux(ctx, SLICE("lua"), body);
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
    script_tell_learned(engine, writer, put_script);
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
    writer.no_sum = !engine->settings.rdbchecksum;
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
