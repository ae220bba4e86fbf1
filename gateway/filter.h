/* filter.h -- take our own keys out of replies that list keys (C5a), without I/O.
 *
 * The keys that begin with `drawbridge:checkpoint` or `drawbridge:marker`, in database 0, are ours.
 */
#ifndef GATEWAY_FILTER_H
#define GATEWAY_FILTER_H

#include "lib/base/buf.h"
#include "lib/base/slice.h"

#include <stdint.h>

bool filter_is_hidden(struct slice key);

/* REPLY is one whole reply: of KEYS (an array of keys) or of SCAN (cursor and an array of keys).
 * OUT gets it without the hidden keys; anything that does not look so is copied as it is. */
void filter_keys(struct slice reply, struct buf *out);
void filter_scan(struct slice reply, struct buf *out);

/* The replies of DBSIZE and of EXISTS with the names of all hidden keys, one behind the other: OUT
 * gets the difference, or the first as it is when one is not a number. */
void filter_dbsize(struct slice replies, struct buf *out);

/* Whether the one reply of RANDOMKEY is a hidden key: ask again. */
bool filter_is_hidden_reply(struct slice reply);

/* The names that EXISTS is asked for, as a whole request. */
struct slice filter_exists_request(void);

/* ---- the same inside a transaction ----
 * EXEC's reply has an element for each command of the block. A rule says what the element number AT
 * is, counted in commands as they were sent. DBSIZE was sent with an EXISTS behind it, RANDOMKEY
 * FILTER_RANDOMKEY_TRIES times, because nothing can be asked again in there: the client gets one
 * element for them. Only elements that were executed in database 0 are changed, so SELECT is
 * followed too, as far as it succeeded. */
#define FILTER_RANDOMKEY_TRIES 16u

enum filter_kind { FILTER_KEYS, FILTER_SCAN, FILTER_DBSIZE, FILTER_RANDOMKEY, FILTER_SELECT };

struct filter_rule {
    uint32_t at; /* ascending */
    enum filter_kind kind;
    int32_t db; /* FILTER_SELECT */
};

/* How many elements of the reply the rule stands for. */
uint32_t filter_rule_elements(enum filter_kind kind);

/* REPLY is EXEC's, whole; *DB the database before the block, and after it. When it is no array
 * (nil, EXECABORT) or not of the shape that the rules say, it is copied as it is, and *DB stays. */
void filter_exec(struct slice reply, const struct filter_rule *rules, size_t count, unsigned proto,
                 int32_t *db, struct buf *out);

#endif
