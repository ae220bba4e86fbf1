/* ledger.h -- the SQLite database that says what was decided, and proves that nobody rewrote it.
 *
 *     ledger_open(&ledger, path, clock, &why)
 *     ledger_begin() ... ledger_add_event(), tables of ledger_tables.h ... ledger_commit()
 *
 * Every change of a table comes with an event in the same transaction. Events are numbered without
 * gaps, and each carries the SHA-256 of itself and of the hash before it: a row that was changed,
 * removed or put in later breaks the chain, and ledger_verify() says where. A step is acted on
 * only after the commit that records it (C24). All of it blocks: it runs in the store's thread
 * (store.h), or in a test.
 */
#ifndef STATE_LEDGER_H
#define STATE_LEDGER_H

#include "lib/base/clock.h"
#include "lib/base/why.h"

#include <stdint.h>

struct db;
struct ledger;

struct event {
    int64_t seq, at_ms;
    int64_t migration; /* 0: none */
    char kind[32];     /* "phase.moved" */
    char who[64];      /* "state", "cli:root" */
    char text[512];    /* a sentence */
    char data[2048];   /* JSON object; "" none. Fixed, so that events can be queued by value */
    char hash[65];     /* of this event and the hash before it */
};

/* ERR_EXISTS: another state holds it. ERR_CORRUPT: not a ledger, or made by a newer program. */
MUST_CHECK enum err ledger_open(struct ledger **ledger, const char *path, const struct clock *clock,
                                struct why *why);
void ledger_close(struct ledger *ledger); /* NULL is fine */

MUST_CHECK enum err ledger_begin(struct ledger *ledger, struct why *why);
MUST_CHECK enum err ledger_commit(struct ledger *ledger, struct why *why);
void ledger_rollback(struct ledger *ledger);

/* seq, at_ms and hash are filled in. */
MUST_CHECK enum err ledger_add_event(struct ledger *ledger, struct event *event, struct why *why);
/* Called by ledger_add_event() for each; for the feed. */
void ledger_set_listener(struct ledger *ledger, void (*on_event)(void *, const struct event *),
                         void *self);

typedef enum err ledger_on_event(void *self, const struct event *event, struct why *why);
/* Events with seq > AFTER, in order, at most LIMIT. */
MUST_CHECK enum err ledger_each_event(struct ledger *ledger, int64_t after, int64_t limit,
                                      ledger_on_event *on_event, void *self, struct why *why);

struct ledger_verdict {
    int64_t events;     /* that were checked and are good */
    int64_t broken_seq; /* the first that is not; 0: none */
    char head[65];      /* hash of the last event */
    char text[256];     /* a sentence for a person */
};
/* OK with verdict->broken_seq set is a verdict; an error means that it could not be read. */
MUST_CHECK enum err ledger_verify(struct ledger *ledger, struct ledger_verdict *verdict,
                                  struct why *why);

int64_t ledger_head(const struct ledger *ledger); /* seq of the last event; 0: none */
struct db *ledger_db(struct ledger *ledger);      /* for ledger_*.c and tests */
int64_t ledger_now(const struct ledger *ledger);  /* wall clock, ms */

#endif
