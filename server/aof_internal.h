/* aof_internal.h -- the AOF's state, for the files aof*.c only. */
#ifndef SERVER_AOF_INTERNAL_H
#define SERVER_AOF_INTERNAL_H

#include "lib/redis/aof.h"
#include "server/aof.h"
#include "server/disk_thread.h"
#include "server/persistence.h"

#include <stdatomic.h>

enum aof_state { AOF_OFF, AOF_WAITING, AOF_ON };

/* What the thread writes: one at a time. */
struct aof_write {
    struct disk_job job;
    struct aof *aof;
    struct buf bytes;    /* empty: none; else being written, or to be tried again */
    int fd;
    uint64_t at;         /* the file's size before */
    bool syncs;          /* appendfsync always */
    bool must_cut;       /* what an earlier try left behind is cut off first */
    int64_t sleep_us;
    uint64_t stream_end; /* of the replication stream, when the bytes were given */
    enum err err, sync_err; /* of the write, of the sync behind it */
    struct why why;
};

/* What else changes the file that is appended to, on the thread. */
enum aof_change_kind { CHANGE_NONE, CHANGE_NEXT_FILE, CHANGE_EMPTY_FILE };
struct aof_change {
    struct disk_job job;
    struct aof *aof;
    enum aof_change_kind kind; /* NONE: none is wanted or under way */
    bool given;
    size_t bytes_before; /* of the buffer, which go to the file as it is */
    uint64_t stream_end; /* of the replication stream, behind them */
    int fd, next_fd;
    uint64_t size, next_size; /* of these files */
    struct aof_manifest manifest; /* NEXT_FILE: with the next file in it; owned, as the paths */
    char *folder, *path, *manifest_path;
    enum err err, sync_err;
    struct why why, sync_why;
};

/* aof_switch.c: what is left to be done with the file of an AOF that is OFF, on the thread. */
struct aof_stop {
    struct disk_job job;
    struct aof *aof;
    bool is_running;
    bool has_write, has_change; /* the thread has one of these before; it ends with this */
    bool was_whole;             /* it was ON, so what is synced counts */
    bool is_always, must_cut;
    int fd;        /* closed there */
    uint64_t size; /* of whole writes */
    struct buf rest;
    enum err err, sync_err;
    struct why why, sync_why;
};

/* The same: the file of an AOF that is going to be turned on. */
enum aof_opening_state { OPENING_NONE, OPENING_GIVEN, OPENING_DONE };
struct aof_opening {
    struct disk_job job;
    struct aof *aof;
    enum aof_opening_state state;
    bool is_stale;       /* it is in another folder than it would be now */
    bool needs_manifest; /* none was read yet */
    struct aof_manifest manifest;        /* owned, as the paths */
    char *folder, *path, *manifest_path; /* NULL in NONE */
    int fd; /* -1: none, or it was taken */
    enum err err;
    struct why why;
};

struct aof {
    struct engine *engine;
    struct disk_thread *thread;
    enum aof_state state;
    struct aof_manifest manifest;
    int fd;              /* of the incr file that is appended to; -1: OFF */
    uint64_t file_size;  /* of fd, as far as it holds whole writes */
    int64_t selected_db; /* in the file; -1: none yet */
    int64_t stamped_s;   /* aof-timestamp-enabled: the second that was written last */
    bool multi_pending;  /* MULTI was said, and nothing after it yet */
    struct buf buffer;   /* what was not given to the thread yet */
    uint64_t appended, written, synced; /* bytes since the process began */

    /* aof_write.c */
    struct aof_write write;
    struct aof_change change;
    bool job_given;               /* one of the two is with the thread */
    bool must_cut;                /* the file has more than file_size */
    bool is_late, is_choked;      /* see aof.h */
    bool is_last_try;             /* do not wait before the next try */
    int64_t given_ms;             /* monotonic, when the last write was given to the thread */
    int64_t behind_since_ms;      /* monotonic, of the oldest byte that is not written */
    uint64_t stream_free;         /* what replicas may be sent, while something is not written */
    uint64_t noted_seq, noted_size; /* what resume_note() was told last; UINT64_MAX: nothing */
    uint64_t times_late, times_choked;
    uv_timer_t patience;

    /* aof_sync.c */
    bool sync_running;
    uint64_t sync_wanted; /* `synced` is to come so far soon */
    bool is_last_stop;    /* the process ends: the file keeps what it says about the history */
    int64_t last_sync_ms; /* monotonic */
    int64_t last_retry_ms;
    int64_t flush_sleep_us; /* for tests; 0 */
    char fault[512];        /* empty: none. Of writing */
    char sync_fault[512];   /* of syncing */
    unsigned doubted_until; /* a sync has failed: the number of the first rewrite that began after
                             * it. 0: none has, or that rewrite is done */

    /* aof_switch.c */
    struct aof_stop stop;
    struct aof_opening opening;
    uv_async_t opened;

    /* aof_rewrite.c */
    bool installing; /* names and manifest are with the thread; it is rewriting, too */
    bool rewriting;                /* from the start to the manifest that has the new base */
    struct snapshot *rewrite;      /* NULL: none is being taken */
    struct aof_base_job *base_job; /* NULL: none; after the snapshot, of a base in commands */
    bool rewrites_commands;        /* aof-use-rdb-preamble no when the rewrite began */
    char *rewrite_temp, *ready;    /* owned; the latter: the base that is whole, NULL: none is yet */
    bool rewrite_scheduled, last_rewrite_ok;
    unsigned failures; /* of rewrites, one after the other */
    unsigned rewrites; /* begun */
    int64_t rewrite_began_ms, last_rewrite_took_ms, last_rewrite_try_ms;
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
char *aof_manifest_path(const struct aof *aof);
/* On the disk's thread, too: */
MUST_CHECK enum err aof_put_manifest(const char *path, const struct aof_manifest *manifest,
                                     struct why *why);

/* ---- aof_load.c ---- */
MUST_CHECK enum err aof_load_files(struct aof *aof, struct why *why);

/* ---- aof.c ---- */
/* Append to FD, of SIZE bytes, from now on. Nothing is with the thread. */
void aof_use_file(struct aof *aof, int fd, uint64_t size);
/* Take part in propagation, in STATE. */
void aof_attach(struct aof *aof, enum aof_state state);
static inline int64_t aof_now_ms(const struct aof *aof) {
    return (int64_t)(aof->engine->now_us / 1000);
}

/* ---- aof_write.c ---- */
void aof_write_open(struct aof *aof);
/* Give the thread what is to be done next, if it has nothing. */
void aof_go_on(struct aof *aof);
/* What came to the buffer from now on goes to another file, or to an emptied one. */
void aof_change_file(struct aof *aof, enum aof_change_kind kind);
void aof_change_cancel(struct aof *aof);
/* At the end of a turn: whose replies have to wait. */
void aof_hold_replies(struct aof *aof);
void aof_write_tick(struct aof *aof);
/* Nobody waits for what was appended so far. */
void aof_let_go(struct aof *aof);
void aof_end_choke(struct aof *aof);
size_t aof_unwritten(const struct aof *aof); /* bytes */
/* The write, or the change, that the thread had before it was told to stop is done. */
void aof_end_given(struct aof *aof, bool write, bool change);
/* What was left when it was to stop could not be written. */
void aof_last_write_failed(struct aof *aof, bool is_always, const struct why *why);

/* ---- aof_switch.c ---- */
void aof_switch_open(struct aof *aof);
/* The file was opened already, or could not be. False: neither. */
bool aof_take_opened(struct aof *aof, enum err *err, struct why *why);
void aof_drop_unwritten(struct aof *aof); /* in aof.c */

/* ---- aof_sync.c ---- */
void aof_sync_tick(struct aof *aof);
void aof_sync_go_on(struct aof *aof); /* more was written */
void aof_note_synced(struct aof *aof, uint64_t upto);
void aof_sync_failed(struct aof *aof, const struct why *why);
/* A rewrite is whole and on the disk: what it is about need not be doubted any more. */
void aof_is_rewritten(struct aof *aof);
/* ---- the mark of a failed sync ---- */
char *aof_doubt_path(const struct aof *aof);
/* From any thread. */
void aof_doubt_mark(const char *path);
/* Whether the files, as this machine sees them, may not be what is on the disk. */
bool aof_doubt_found(const struct aof *aof);

static inline bool aof_is_rewriting(const struct aof *aof) {
    return aof->rewriting;
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
/* The change that a rewrite began with is done, or has failed. */
void aof_rewrite_changed(struct aof *aof, enum err err, const struct why *why);
/* Drop it; what has begun to change files ends by itself. */
void aof_rewrite_drop(struct aof *aof);
void aof_rewrite_abort(struct aof *aof); /* and wait for that */

#define AOF_FOLLOWS                                                                                \
    "#FOLLOWS:" /* an annotation: how long the file before was when this one began */

#endif
