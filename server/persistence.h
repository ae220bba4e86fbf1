/* persistence.h -- what the server keeps on disk: RDB files, the AOF, checkpoints.
 *
 *     rdb_file.c, rdb_load.c  write, read RDB files    snapshot.c   the same of one moment, beside the
 * engine save.c        SAVE, BGSAVE, save points       aof.c        append what commands did,
 * before they are answered aof_load.c    start from an AOF               drawbridge.c checkpoints
 * and epoch as commands
 *
 * One struct, owned by the engine, on the engine's thread.
 */
#ifndef SERVER_PERSISTENCE_H
#define SERVER_PERSISTENCE_H

#include "lib/base/why.h"
#include "lib/redis/rdb_read.h"
#include "server/checkpoints.h"
#include "server/engine.h"
#include "server/snapshot.h"

struct aof;
struct disk_thread;
struct naming;

struct persistence {
    struct engine *engine;
    struct checkpoints checkpoints;
    struct aof *aof; /* never NULL */
    /* For what clients need not wait for, and need not stand in line with what the AOF writes. */
    struct disk_thread *disk;

    /* RDB */
    struct snapshot *bgsave; /* NULL: none is being taken */
    char *bgsave_temp;       /* the file it is writing; owned */
    struct naming *naming;   /* NULL: none; the file of a BGSAVE gets its name, on `disk` */
    unsigned namings;        /* under way, with those that nobody wants any more */
    bool bgsave_scheduled;   /* begin one as soon as nothing stands in the way */
    bool last_bgsave_ok;
    int64_t last_save_ms, bgsave_started_ms, last_bgsave_try_ms,
        last_bgsave_took_ms; /* the last: -1 none */
    uint64_t dirty_at_bgsave, saves;
    int64_t keys_loaded, keys_expired_on_load;
    struct buf expired_deletions; /* of a load that knows its place in the stream; then empty */
    int64_t expired_db;           /* selected in them */

    /* loading */
    int64_t loading_began_ms;
    uint64_t loading_slice_us; /* when the slice began */
    uint64_t loading_total_bytes, loading_done_bytes;
    int64_t loading_used_memory; /* as the RDB says, of who wrote it */

    bool skip_checksums; /* DEBUG SET-SKIP-CHECKSUM-VALIDATION */
};

static inline struct persistence *persistence_of(const struct engine *engine) {
    return engine->persistence;
}

/* Make it, plug it in, bind its commands. */
void persistence_open(struct engine *engine);

/* ---- rdb_file.c, rdb_load.c ---- */

/* What an RDB says about the replication stream. */
struct rdb_place {
    bool known;
    char id[41];
    int64_t offset;
    int64_t db; /* selected in the stream; -1: none */
};

struct rdb_save_options {
    enum snapshot_scope scope;
    unsigned version; /* of the RDB; 0: that of Redis 7.0 */
    bool aof_base;
    struct rdb_place place;
};

struct rdb_sink;
struct rdb_writer;
/* What an RDB begins with: everything but keys. */
void rdb_put_head(struct engine *engine, struct rdb_writer *writer,
                  const struct rdb_save_options *options);
/* What a save fails with that meets a stream, KEY of DB, and may not write one. */
enum err rdb_has_no_streams(unsigned version, int db, struct slice key, struct why *why);
/* Write the whole data to SINK. Blocks: SAVE and the last save before the end use it; all others
 * take a snapshot. */
MUST_CHECK enum err rdb_save_to(struct engine *engine, struct rdb_sink *sink,
                                const struct rdb_save_options *options, struct why *why);
/* To the file PATH, synced. What is left behind after an error is for the caller to remove. */
MUST_CHECK enum err rdb_save_file(struct engine *engine, const char *path,
                                  const struct rdb_save_options *options, struct why *why);

enum rdb_load_flag {
    RDB_LOAD_KEEP_EXPIRED = 1, /* a replica, or what the AOF goes on from */
    RDB_LOAD_MERGE = 2,        /* a key that is there is replaced */
    RDB_LOAD_NOTE_EXPIRED = 4, /* into expired_deletions */
};
/* Add everything in the file to the databases, in slices, between loading_begin() and
 * loading_end(). On failure they hold what came before it. *PLACE is
 * set from the aux fields. *USED_BYTES (may be NULL): where the RDB ends in the file (an AOF may
 * follow). */
MUST_CHECK enum err rdb_load_file(struct engine *engine, const char *path, unsigned flags,
                                  struct rdb_place *place, uint64_t *used_bytes, struct why *why);

/* Where a load goes that must not touch what is there until it is whole. */
struct rdb_aside {
    struct db *dbs; /* as many as the engine has; owned */
    struct checkpoints checkpoints;
    struct buf functions; /* libraries, each behind its size (8 bytes) */
};
struct rdb_aside *rdb_aside_new(struct engine *engine) __attribute__((returns_nonnull));
void rdb_aside_free(struct engine *engine, struct rdb_aside *aside); /* with all that it has */
void rdb_aside_add_function(struct rdb_aside *aside, struct slice code);
/* It becomes the data; the old data are gone, and those who look at them were told. ERR_CORRUPT: a
 * library of functions cannot be loaded: all is as it was, but for the functions, which are gone. No
 * snapshot began since ASIDE is there. */
MUST_CHECK enum err rdb_aside_adopt(struct engine *engine, struct rdb_aside *aside,
                                    struct why *why);
/* All keys, functions and checkpoints go, what was told of them to clients and links too. */
void rdb_forget_all(struct engine *engine);

/* The same from SOURCE, whose read() runs turns by itself, by the one reader. ASIDE NULL: into the
 * databases. */
MUST_CHECK enum err rdb_load_stream(struct engine *engine, struct rdb_source *source,
                                    struct rdb_aside *aside, unsigned flags,
                                    struct rdb_place *place, struct why *why);

/* The RDB of the settings, if there is one, and what it says about the stream. */
MUST_CHECK enum err persistence_load_rdb(struct engine *engine, struct why *why);

/* How the stream stands now, for the aux fields of an RDB. */
struct rdb_place persistence_place(const struct engine *engine);
/* A replica is being given an RDB: in Redis that is a BGSAVE, and INFO says so. */
bool replication_sends_rdb(const struct engine *engine);

/* ---- save.c ---- */
void save_open(struct engine *engine);
MUST_CHECK enum err save_now(struct engine *engine, struct why *why);
MUST_CHECK enum err bgsave_start(struct engine *engine, struct why *why);
void bgsave_stop(struct engine *engine); /* harmless when there is none */
/* From its start until the file has its name. */
bool bgsave_is_running(const struct engine *engine);

/* ---- persistence.c ---- */
/* Remove the file PATH (copied), and close FD (-1: none), beside the engine. What goes wrong is in
 * the log. */
void persistence_remove_file(struct engine *engine, const char *path, int fd);

/* ---- others ---- */
void drawbridge_open(struct engine *engine);
void restore_open(struct engine *engine);
void debug_data_open(struct engine *engine);

/* CONFIG SET appendonly, aof-disable-auto-gc and dbfilename. */
MUST_CHECK enum err persistence_apply_appendonly(struct engine *engine, struct why *why);
/* Hooks of CONFIG SET appendonly: see config.h. */
bool persistence_waits_to_open(struct client *c, struct slice value);
bool persistence_answers_later(struct client *c);
MUST_CHECK enum err persistence_apply_auto_gc(struct engine *engine, struct why *why);
MUST_CHECK enum err persistence_apply_dbfilename(struct engine *engine, struct why *why);

#endif
