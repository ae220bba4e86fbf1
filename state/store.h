/* store.h -- the thread that owns the ledger, so that no loop ever waits for a disk.
 *
 *     job->work = ...; job->done = ...; store_submit(store, job);
 *     thread: BEGIN; work(job, ledger); COMMIT (synchronous=FULL)      loop: done(job), err and why
 * set
 *
 * Jobs run one after the other in the order of submission, each in a transaction of its own; when
 * `done` is called with OK, everything it wrote is durable. On any error all of it is undone.
 * The job is the caller's, usually the first member of a struct of its own, and may be freed in
 * `done`. At most STORE_JOBS_MAX wait; beyond that a job fails with ERR_LIMIT, without being run.
 */
#ifndef STATE_STORE_H
#define STATE_STORE_H

#include "lib/net/mailbox.h"
#include "state/ledger.h"

#define STORE_JOBS_MAX 4096

struct loop;
struct store;

struct store_job {
    struct mail mail;
    enum err (*work)(struct store_job *job, struct ledger *ledger, struct why *why); /* thread */
    void (*done)(struct store_job *job);                                             /* loop */
    bool commit_failed; /* err came from COMMIT itself: only a new process can know (C24) */
    bool reads_only;    /* no transaction: a long read is no reason to write */
    enum err err;
    struct why why;
    struct event *events; /* that it added; the store's, valid in `done` */
    size_t event_count;
    uint64_t took_us; /* with the commit */
    struct store *store;
};

/* Opens the ledger at PATH here and now (before the loop runs), then starts the thread.
 * ON_EVENT gets every event once it is durable, in order, on LOOP, before the job's `done`. */
MUST_CHECK enum err store_open(struct store **store, struct loop *loop, const char *path,
                               const struct clock *clock,
                               void (*on_event)(void *self, const struct event *event), void *self,
                               struct why *why);
void store_submit(struct store *store, struct store_job *job);
/* Runs what waits, calls every `done`, ends the thread. NULL is fine. */
void store_close(struct store *store);

/* Before the loop runs: the ledger itself, for loading. */
struct ledger *store_ledger(struct store *store);

struct store_stats {
    uint64_t jobs, failures;
    uint64_t last_us, max_us; /* of one job with its commit */
    bool failed;              /* the last writing job did: the ledger is not durable now */
    size_t waiting;
    char why[256];
};
void store_stats(const struct store *store, struct store_stats *stats); /* loop */

#endif
