/* subs.h -- clients that subscribe: each has a connection of its own, which is doubled for a
 * barrier (C27).
 *
 *   PREPARE: a shadow connection to the other side subscribes to the same; what comes is dropped.
 *   RELEASE: a PING on the old connection; what comes before its answer is still relayed, so
 *            nothing that was published before the barrier is lost. Then the shadow takes its
 * place.
 *
 * In RESP2 a subscribed client may say little else, and everything that comes over its connection
 * is relayed; in RESP3 messages are pushes between ordinary replies.
 */
#ifndef GATEWAY_SUBS_H
#define GATEWAY_SUBS_H

#include "gateway/client.h"

#define SUBS_KEPT_BYTES (16u << 20)
#define SUBS_MAX 100000u /* channels and patterns of one client */

enum subs_kind { SUBS_CHANNEL, SUBS_PATTERN, SUBS_SHARD, SUBS_KINDS };

struct subs {
    struct slice *names[SUBS_KINDS]; /* owned copies, in no order */
    size_t count[SUBS_KINDS], cap[SUBS_KINDS];
    size_t awaited;         /* answers to come that are no messages, RESP2 */
    struct backend *shadow; /* the connection to the other side, while a barrier is prepared */
    bool draining;          /* PING was sent on the old one; no request is taken meanwhile */
    struct buf kept;        /* what the shadow told while the old one drained */
};

enum take subs_request(struct client *client, const struct command *command);
size_t subs_count(const struct client *client); /* channels, patterns and shard channels */
size_t subs_count_of(const struct client *client, enum subs_kind kind);
void subs_free(struct client *client);

/* RESP2: COMMAND (NULL: unknown to us) must wait for answers that come among the messages, or until the
 * connection is an ordinary one again. */
bool subs_must_wait(const struct client *client, const struct command *command);
/* It is no matter of subscriptions, but the server answers it on a subscribed connection: PING, and what we do not know. */
bool subs_goes_along(const struct command *command);
/* RESP2, and there are subscriptions: the request in hand, whose answer comes among the messages, in its place. */
enum take subs_forward(struct client *client);

/* RESP2: bytes that came over the connection of a subscribed client, or of its shadow. Sets *USED;
 * false: nothing more for now. */
bool subs_on_bytes(struct backend *backend, struct slice bytes, size_t *used);

/* A message that came over a shadow; as subs_on_bytes(). Dropped before the release, kept while the
 * old connection drains (up to SUBS_KEPT_BYTES, then the client is closed). */
bool subs_on_shadow(struct backend *backend, struct slice bytes, size_t *used);

/* Barrier. subs_prepare() returns whether there is something to wait for. */
bool subs_prepare(struct client *client, enum side side);
void subs_on_shadow_ready(struct backend *shadow);
void subs_switch(struct client *client); /* after a release to the other side */
void subs_forget_shadow(struct client *client);
void subs_stay(struct client *client); /* after a release to the same side */
void subs_lost_shadow(struct client *client);

#endif
