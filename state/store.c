/* store.c -- the thread that owns the ledger. */
#include "state/store.h"

#include "lib/base/mem.h"
#include "lib/net/loop.h"

#include <pthread.h>
#include <stdio.h>

struct store {
    struct ledger *ledger;
    struct loop *loop;
    const struct clock *clock;
    struct inbox *inbox;     /* loop -> thread */
    struct mailbox *mailbox; /* thread -> loop */
    pthread_t thread;
    void (*on_event)(void *self, const struct event *event);
    void *self;
    struct store_stats stats; /* the loop's */
    size_t under_way;         /* submitted and not done; the loop's */
    struct store_job *now;    /* the thread's: whose events are being gathered */
};

static void gather(void *self, const struct event *event) {
    struct store *store = self;
    struct store_job *job = store->now;
    if (!job) return;
    job->events = mem_realloc(job->events, (job->event_count + 1) * sizeof *job->events);
    job->events[job->event_count++] = *event;
}

static void run_job(struct store *store, struct store_job *job) {
    uint64_t began_us = clock_mono_us(store->clock);
    store->now = job;
    if (job->reads_only) {
        job->err = job->work(job, store->ledger, &job->why);
    } else {
        job->err = ledger_begin(store->ledger, &job->why);
        if (!job->err) {
            job->err = job->work(job, store->ledger, &job->why);
            if (job->err)
                ledger_rollback(store->ledger);
            else if ((job->err = ledger_commit(store->ledger, &job->why)))
                job->commit_failed = true;
        }
    }
    store->now = NULL;
    job->took_us = clock_mono_us(store->clock) - began_us;
    if (job->err) job->event_count = 0; /* they never happened */
}

static void *thread_main(void *self) {
    struct store *store = self;
    struct mail *mail;
    while ((mail = inbox_wait(store->inbox, -1))) {
        run_job(store, (struct store_job *)mail);
        /* The mailbox is as large as the inbox and the loop counts what is under way: it fits. */
        ASSERT(mailbox_post(store->mailbox, mail));
    }
    return NULL;
}

static void finish_job(struct store *store, struct store_job *job) {
    store->stats.jobs++;
    if (job->err) store->stats.failures++;
    if (!job->reads_only) {
        store->stats.last_us = job->took_us;
        if (job->took_us > store->stats.max_us) store->stats.max_us = job->took_us;
        store->stats.failed = job->err != OK;
        snprintf(store->stats.why, sizeof store->stats.why, "%.255s",
                 job->err ? job->why.text : "");
    }
    for (size_t i = 0; i < job->event_count; i++) store->on_event(store->self, &job->events[i]);
    struct event *events = job->events;
    job->done(job); /* JOB is gone now */
    mem_free(events);
}

static void on_mail(void *self, struct mail *mail) {
    struct store *store = self;
    struct store_job *job = (struct store_job *)mail;
    store->under_way--;
    finish_job(store, job);
}

void store_submit(struct store *store, struct store_job *job) {
    job->store = store;
    job->events = NULL;
    job->event_count = 0;
    job->commit_failed = false;
    job->err = OK;
    if (store->under_way < STORE_JOBS_MAX && inbox_post(store->inbox, &job->mail)) {
        store->under_way++;
        return;
    }
    job->err = why_set(&job->why, ERR_LIMIT, "ledger: %d jobs wait already", STORE_JOBS_MAX);
    store->under_way++;
    /* Never from inside the caller: it may still be in the middle of something. */
    ASSERT(mailbox_post(store->mailbox, &job->mail));
}

enum err store_open(struct store **out, struct loop *loop, const char *path,
                    const struct clock *clock,
                    void (*on_event)(void *self, const struct event *event), void *self,
                    struct why *why) {
    struct store *store = NEW(struct store);
    store->loop = loop;
    store->clock = clock;
    store->on_event = on_event;
    store->self = self;
    enum err err = ledger_open(&store->ledger, path, clock, why);
    if (!err) err = mailbox_open(&store->mailbox, loop, 2 * STORE_JOBS_MAX, on_mail, store, why);
    if (err) {
        ledger_close(store->ledger);
        mem_free(store);
        return err;
    }
    ledger_set_listener(store->ledger, gather, store);
    store->inbox = inbox_open(STORE_JOBS_MAX);
    ASSERT(pthread_create(&store->thread, NULL, thread_main, store) == 0);
    *out = store;
    return OK;
}

static void on_leftover(void *self, struct mail *mail) {
    finish_job(self, (struct store_job *)mail);
}

void store_close(struct store *store) {
    if (!store) return;
    inbox_shut(store->inbox);
    pthread_join(store->thread, NULL);
    mailbox_close(store->mailbox, on_leftover);
    inbox_close(store->inbox);
    ledger_close(store->ledger);
    mem_free(store);
}

struct ledger *store_ledger(struct store *store) {
    return store->ledger;
}

void store_stats(const struct store *store, struct store_stats *stats) {
    *stats = store->stats;
    stats->waiting = store->under_way;
}
