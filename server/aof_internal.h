/* aof_internal.h -- the AOF's state, for aof.c, aof_files.c, aof_load.c and aof_rewrite.c only. */
#ifndef SERVER_AOF_INTERNAL_H
#define SERVER_AOF_INTERNAL_H

#include "lib/redis/aof.h"
#include "server/aof.h"
#include "server/persistence.h"

#include <stdatomic.h>

enum aof_state { AOF_OFF, AOF_WAITING, AOF_ON };

struct aof {
    struct engine *engine;
    enum aof_state state;
    struct aof_manifest manifest;
    int fd;              /* of the incr file that is appended to; -1: OFF */
    int old_fd;          /* one that was appended to before and is not synced yet; -1: none */
    uint64_t file_size;  /* of fd, as far as it holds whole writes */
    int64_t selected_db; /* in the file; -1: none yet */
    int64_t stamped_s;   /* aof-timestamp-enabled: the second that was written last */
    bool multi_pending;  /* MULTI was said, and nothing after it yet */
    struct buf buffer;
    uint64_t appended, written, synced; /* bytes since the process began */

    bool sync_running, sync_asked;
    bool is_last_stop;    /* the process ends: the file keeps what it says about the history */
    int64_t last_sync_ms; /* monotonic */
    int64_t last_retry_ms;
    int64_t flush_sleep_us; /* for tests; 0 */
    char fault[512];        /* empty: none. Of writing */
    char sync_fault[512];   /* of syncing */

    struct snapshot *rewrite;      /* NULL: none is being taken */
    struct aof_base_job *base_job; /* NULL: none; after the snapshot, of a base in commands */
    bool rewrites_commands;        /* aof-use-rdb-preamble no when the rewrite began */
    char *rewrite_temp;            /* owned */
    bool rewrite_scheduled, last_rewrite_ok;
    unsigned failures;      /* of rewrites, one after the other */
    unsigned rewrites;      /* begun */
    unsigned doubted_until; /* a sync has failed: the number of the first rewrite that began after
                             * it. 0: none has, or that rewrite is done */
    int64_t rewrite_began_ms, last_rewrite_took_ms, last_rewrite_try_ms;
    uint64_t rewrite_from; /* `appended` when the snapshot was taken */
    uint64_t base_size;
};

/* ---- aof_files.c: the folder. Paths are freed by the caller (mem_free). ---- */
char *aof_path(const struct aof *aof, const char *name);
char *aof_temp_incr_name(const struct aof *aof);
MUST_CHECK enum err aof_make_folder(const struct aof *aof, struct why *why);
/* *FOUND false: there is no manifest. */
MUST_CHECK enum err aof_read_manifest(struct aof *aof, bool *found, struct why *why);
MUST_CHECK enum err aof_write_manifest(const struct aof *aof, const struct aof_manifest *manifest,
                                       struct why *why);
/* An AOF of Redis before 7 in the working folder moves into the AOF's own. *FOUND: there was one.
 */
MUST_CHECK enum err aof_adopt_old_file(struct aof *aof, bool *found, struct why *why);
/* Open the last incr file of the manifest, or a new one, to append to it. */
MUST_CHECK enum err aof_open_incr(struct aof *aof, struct why *why);
/* Remove history files and forget them. */
void aof_remove_history(struct aof *aof);

/* ---- aof_load.c ---- */
MUST_CHECK enum err aof_load_files(struct aof *aof, struct why *why);

/* ---- aof.c ---- */
/* Append to FD from now on; what was appended to before is synced and closed soon. */
void aof_use_file(struct aof *aof, int fd, uint64_t size);
/* A rewrite is whole and on the disk: what it is about need not be doubted any more. */
void aof_is_rewritten(struct aof *aof);
/* Take part in propagation, in STATE. */
void aof_attach(struct aof *aof, enum aof_state state);

static inline bool aof_is_rewriting(const struct aof *aof) {
    return aof->rewrite || aof->base_job;
}

/* ---- aof_base.c ---- */
struct aof_base_want {
    char *rdb_path, *path; /* from, to */
    int64_t stamp_s;       /* it begins with this annotation; 0: with none */
    _Atomic bool is_dropped;
};
/* Write and sync the base in commands; the RDB stays. Blocks. After an error nothing is left. */
MUST_CHECK enum err aof_base_write(const struct aof_base_want *want, struct why *why);
/* The same beside the engine: aof_base_is_ready() follows. The RDB goes then. */
MUST_CHECK enum err aof_base_start(struct aof *aof, const char *rdb_path, struct why *why);
/* No call follows, and no file is left. Harmless when there is none. */
void aof_base_drop(struct aof *aof);
int64_t aof_base_stamp(const struct aof *aof);

/* ---- aof_rewrite.c ---- */
void aof_base_is_ready(struct aof *aof, const char *path, enum err err, const char *words);
void aof_rewrite_tick(struct aof *aof);
void aof_rewrite_abort(struct aof *aof);

#define AOF_FOLLOWS                                                                                \
    "#FOLLOWS:" /* an annotation: how long the file before was when this one began */

#endif
