/* shards.h -- a Redis Cluster behind one side, as a loop of the gateway knows it (C22b).
 *
 *            backend.h (lanes, clients' own connections: all see one server)
 *                |  requests in order                      ^  answers in order
 *                v                                         |
 *            shards_conn: route.h says where, order.h what may leave
 *              |          |          |
 *          branch     branch     branch        to the nodes that own slots
 *
 * `struct shards` keeps the map of slots (lib/redis/shards_map.h): it looks again once a second, when a redirection
 * or a broken connection says that it is old, and when somebody wants to be sure. For that it has a
 * connection of its own to each master, which never writes data. `struct shards_conn` is one
 * connection to all of the Cluster; it looks like a stream to a standalone server with one
 * database. What it cannot do is refused with a sentence (route.c).
 *
 * What the lanes are told: `changed` names slots that have another owner than before, or whose
 * owner is another process or has other data (its replication id changed): they are dirty. LOST:
 * the owner before was replaced because it failed, so that it may have confirmed what is lost; then
 * every connection is opened anew, too (C22a).
 *
 * A listing by SCAN can miss a key that moves from a node that was not listed yet to one that was.
 * So whoever lists takes a stamp and looks first (shards_look, shards_looked), lists, looks again,
 * and asks which slots were `restless` since the stamp: of those nothing was learned.
 *
 * Old connections (C21): a grave is closed when the node with its run id says so, or when no node
 * that owns slots is that process any more: what it executes then is nobody's data.
 *
 * Each branch is named, and state is asked whether the epoch holds, before it is used (C25). When one
 * breaks the whole connection breaks.
 *
 * Bounded: SHARDS_NODES_MAX nodes in the life of the process; a request that finds no node within
 * cutover.max_blackout is answered with an error, and was not sent.
 */
#ifndef GATEWAY_SHARDS_SHARDS_H
#define GATEWAY_SHARDS_SHARDS_H

#include "lib/redis/shards_map.h"

#include "gateway/worker.h"
#include "lib/net/stream.h"

struct backend;
struct grave;
struct shards;
struct shards_conn;

/* In the loop's own thread. */
struct shards *shards_open(struct worker *worker, enum side side);
void shards_close(struct shards *shards); /* its connections are aborted already; NULL is fine */
void shards_tick(struct shards *shards);  /* from the worker's timer */

/* Who wants to know; at most one. SLOTS are bits. Never from inside a function of this header. */
void shards_watch(struct shards *shards,
                  void (*changed)(void *self, enum side side,
                                  const uint64_t slots[SHARDS_SLOTS / 64], bool lost),
                  void *self);

/* All masters are asked anew; the ticket is for shards_looked(). */
uint64_t shards_look(struct shards *shards);
bool shards_looked(const struct shards *shards, uint64_t ticket);
uint64_t shards_stamp(const struct shards *shards);
bool shards_restless(const struct shards *shards, uint64_t since, uint64_t slots[SHARDS_SLOTS / 64]);

/* Takes from SLOTS those that were restless in the last seconds: another gateway's map may be older
 * than ours by a look, and it has not called them dirty. */
void shards_drop_recent(const struct shards *shards, uint64_t slots[SHARDS_SLOTS / 64]);

/* None of the nodes that own slots has a connection of an earlier gateway (others.h). Asks them; so
 * ask again. / What they said is not true any more. */
bool shards_has_no_others(struct shards *shards);
void shards_forget_others(struct shards *shards);

/* Ask about an old connection; grave_told() or grave_close() follows when it is known. */
void shards_dig(struct shards *shards, struct grave *grave);

uint64_t shards_redirected(const struct shards *shards); /* requests that were asked again */

/* ---- a connection to all of it; BACKEND's ---- */

/* EVENTS as of a stream, with BACKEND: on_open when the map is known, on_closed once, at the end of
 * a turn. */
struct shards_conn *shards_conn_open(struct shards *shards, const struct stream_events *events,
                                     struct backend *backend);
void shards_conn_write(struct shards_conn *conn, struct slice bytes);
void shards_conn_abort(struct shards_conn *conn);
size_t shards_conn_queued_bytes(struct shards_conn *conn);
const char *shards_conn_peer(const struct shards_conn *conn);
/* State's answer to the question about the epoch, for branches that were opened since. */
void shards_conn_on_epoch(struct shards_conn *conn, bool fine);
/* Something of what was answered since the last call was displaced (order.h). */
bool shards_conn_displaced(struct shards_conn *conn);
/* It has subscriptions at one node, and is of no use for anything else. */
bool shards_conn_is_raw(const struct shards_conn *conn);

/* For each branch that has a number at its node: ACT with whether something is unanswered there. */
struct shards_end {
    int64_t server_id;
    const char *run_id;
    bool unanswered;
    bool *journaled; /* whoever keeps a journal notes here that it is in there */
};
void shards_conn_each(struct shards_conn *conn, void (*act)(void *self, struct shards_end *end),
                      void *self);
/* The branch over which WATCH went. False: there is none. */
bool shards_conn_watching(struct shards_conn *conn, struct shards_end *end);

#endif
