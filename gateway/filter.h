/* filter.h -- take our own keys out of replies that list keys (C5a), without I/O.
 *
 * The keys that begin with `drawbridge:checkpoint` or `drawbridge:marker`, in database 0, are ours.
 */
#ifndef GATEWAY_FILTER_H
#define GATEWAY_FILTER_H

#include "lib/base/buf.h"
#include "lib/base/slice.h"

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

#endif
