/* backlog_store.h -- the thread that packs blocks of the replication stream, puts them into a file,
 * and brings them back.
 *
 *     engine: give(job) --> [queue; what is fetched goes first] --> thread --> [done] --> engine: take()
 *
 * The file has no name: it is made in `dir` when it is first needed, and goes with the process,
 * however that ends. A job's bytes belong to the thread until the job was taken back. Jobs that are
 * not fetches are done in the order in which they came.
 */
#ifndef SERVER_BACKLOG_STORE_H
#define SERVER_BACKLOG_STORE_H

#include "lib/base/slice.h"
#include "lib/base/why.h"

enum backlog_job_kind {
    BACKLOG_PACK,  /* `in` to `out`, compressed */
    BACKLOG_SPILL, /* `in` to the file, at `file_at` */
    BACKLOG_FETCH, /* `in`, or if it is empty `file_size` bytes at `file_at`, to `out`, unpacked */
    BACKLOG_PUNCH, /* the file's disk space from `file_at` on, `file_size` bytes, is free again */
    BACKLOG_EMPTY, /* nothing in the file is needed */
};

struct backlog_job {
    struct backlog_job *next;
    enum backlog_job_kind kind;
    void *owner; /* the giver's */
    struct slice in;
    uint64_t file_at;
    size_t file_size;
    uint8_t *out;    /* whoever takes the job owns it; mem_free */
    size_t out_size; /* FETCH: as the giver knows it */
    enum err err;    /* the file: full, or broken; what was kept is not what was put in */
    struct why why;
};

struct backlog_store;

/* NEWS is called on the thread whenever a job is done. The thread starts with the first job. */
struct backlog_store *backlog_store_open(void (*news)(void *owner), void *owner);
/* Waits for the job that is being done; the others are given back undone by nobody: call it when
 * no job matters any more. NULL is fine. */
void backlog_store_close(struct backlog_store *store);

void backlog_store_give(struct backlog_store *store, struct backlog_job *job);
struct backlog_job *backlog_store_take(struct backlog_store *store); /* NULL: none is done */
void backlog_store_wait(struct backlog_store *store); /* until all that were given are done */

/* Disk space that is never taken, so that what must be written (the AOF) still can be. */
#define BACKLOG_DISK_RESERVE ((uint64_t)64 << 20)

#endif
