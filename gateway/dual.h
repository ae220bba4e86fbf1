/* dual.h -- dual write: carries out what the lanes decide, for the clients of one loop (C10-C21).
 *
 *   client --request--> effect_new() --lanes_send()--> a lane's connection to P --answer--> client
 *                                                                     |
 *                                                                   lane --> its connection to F
 *
 * Every lane has one backend to the primary side and one to the other. A client's commands, reads
 * and writes, go down the lane of their keys (C11), except: commands between WATCH and EXEC, which
 * run on the client's own connection with their keys pinned (C10a); and what reads the whole server
 * (KEYS, SCAN, DBSIZE, RANDOMKEY, XREAD BLOCK, MONITOR, SUBSCRIBE), which goes as without lanes.
 * A blocking command is tried in its lane without blocking, again when something may have woken it,
 * and once a second (C17).
 *
 * The journal is run_dir/NAME.journal (lanes_journal.h). Old connections are graves, as elsewhere:
 * nothing is copied before they are known to be gone (C21).
 *
 * With state, the route opens it (worker_take_role()), LANES OPEN and CLOSE say whether the other
 * side is followed, and a barrier makes the two sides change roles (dual_roles.c).
 *
 * A primary side that is a Cluster looks like one server (shards/shards.h). What is not done is
 * refused with a sentence: CLIENT TRACKING, SELECT inside MULTI, a Cluster as the target.
 *
 * All lanes are in loop 0, and their journal. Clients of other loops ask there: far.h.
 */
#ifndef GATEWAY_DUAL_H
#define GATEWAY_DUAL_H

#include "gateway/client.h"

struct ask;
struct dual;
struct grave;

/* Figures of a loop's lanes, for other threads to read: worker->counters.lanes. */
#define DUAL_FIGURE_LIST(X)                                                                        \
    X(LEVEL, "level")                                                                              \
    X(PRIMARY_UP, "primary_up")                                                                    \
    X(FOLLOWER_UP, "follower_up")                                                                  \
    X(DIRTY_KEYS, "dirty_keys")                                                                    \
    X(DIRTY_SLOTS, "dirty_slots")                                                                  \
    X(FUNCTIONS_DIRTY, "functions_dirty")                                                          \
    X(FUNCTIONS_REFUSED, "functions_refused")                                                      \
    X(PINNED_KEYS, "pinned_keys")                                                                  \
    X(QUEUE_ITEMS, "queue_items")                                                                  \
    X(QUEUE_BYTES, "queue_bytes")                                                                  \
    X(UNCONFIRMED, "unconfirmed")                                                                  \
    X(BURIED, "buried")                                                                            \
    X(COMMANDS, "commands_total")                                                                  \
    X(SIMPLE, "simple_total")                                                                      \
    X(EFFECTS, "effects_total")                                                                    \
    X(COPIES, "copies_total")                                                                      \
    X(FUNCTIONS_FAILED, "functions_failed_total")                                                  \
    X(COPIES_FAILED, "copies_failed_total")                                                        \
    X(REFUSED, "refused_total")                                                                    \
    X(DROPPED, "dropped_total")                                                                    \
    X(LOST, "lost_total")                                                                          \
    X(PASSES, "passes_total")                                                                      \
    X(PASS_NAMES, "pass_names")                                                                    \
    X(PASS_ITEMS, "pass_items")                                                                    \
    X(BASELINE_AFTER, "baseline_wants_file_after_s")                                               \
    X(WAITING, "waiting_clients")                                                                  \
    X(COPY_BYTES, "copy_bytes_total")                                                              \
    X(COPY_US, "copy_us")                                                                          \
    X(COPY_US_MAX, "copy_us_max")                                                                  \
    X(LAG_MS, "lag_ms")                                                                            \
    X(FAILED_KEYS, "failed_keys")                                                                  \
    X(QUEUE_LIMIT, "queue_limit_bytes")                                                            \
    X(BIG_KEYS, "big_keys")                                                                        \
    X(BIG_BYTES, "big_bytes")                                                                      \
    X(BIG_MS, "big_copy_ms")                                                                       \
    X(BIG_COPIES, "big_copies_total")                                                              \
    X(BIG_GIVEN_UP, "big_copies_given_up_total")                                                   \
    X(OWNED, "owned_slots")                                                                        \
    X(FORWARDED, "forwarded_total")                                                                \
    X(PINS_ELSEWHERE, "pins_elsewhere_total")                                                      \
    X(REDIRECTED, "redirected_total")                                                              \
    X(DISPLACED, "displaced_total")                                                                \
    X(WITNESS, "witness")                                                                          \
    X(WITNESS_MS, "witness_ms")                                                                    \
    X(WITNESS_NAMES, "witness_names_total")                                                        \
    X(WITNESS_EXPLAINED, "witness_explained_total")                                                \
    X(WITNESS_DIRTIED, "witness_dirtied_total")                                                    \
    X(WITNESS_GAPS, "witness_gaps_total")                                                          \
    X(WITNESS_EVERYTHING, "witness_everything_total")                                              \
    X(WITNESS_FENCES, "witness_fences_total")                                                      \
    X(JOURNAL_BYTES, "journal_bytes")                                                              \
    X(JOURNAL_LIMIT, "journal_limit_bytes")                                                        \
    X(JOURNAL_RECORDS, "journal_records")                                                          \
    X(JOURNAL_MOVED, "journal_moved_total")                                                        \
    X(JOURNAL_SPILLED, "journal_spilled_slots")

#define DUAL_FIGURE_ENUM(name, text) DUAL_##name,
enum dual_figure { DUAL_FIGURE_LIST(DUAL_FIGURE_ENUM) DUAL_FIGURES };
#undef DUAL_FIGURE_ENUM

/* The figures of W's lanes are put, in its loop, and read, in any thread, as they stand together at
 * one moment. Read one by one, the first could be of before a pass and the last of after it: no dirty
 * key then, and no dirty slot now. */
void dual_put_figures(struct worker *w, const uint64_t figures[DUAL_FIGURES]);
void dual_read_figures(struct worker *w, uint64_t figures[DUAL_FIGURES]);

/* In the loop's own thread, before anything is connected. Reads the journal of the process before.
 */
MUST_CHECK enum err dual_open(struct dual **dual, struct worker *worker, struct why *why);
void dual_close(struct dual *dual); /* NULL is fine; its backends are closed already */

void dual_turn(struct dual *dual); /* at the end of every callback */
void dual_tick(struct dual *dual); /* from the worker's timer */

/* ---- clients ---- */

/* Whether the request goes by the lanes. */
bool dual_takes(const struct client *client, const struct command *command);
/* RAW: the bytes of the request in hand. */
enum take dual_request(struct client *client, const struct command *command, struct slice raw);
/* Whether the primary side SPEAKS RESP3; TAKE_WAIT while it was never reached. */
/* In any loop. */
enum take dual_hello3(struct client *client, bool *speaks);
/* BLOCK: the requests between MULTI and EXEC, COUNT of them. */
enum take dual_exec(struct client *client, struct slice block, size_t count);
/* Why COMMAND cannot stand in a block; NULL: it can. */
const char *dual_unfit(const struct command *command);
/* State has said which slots are whose. TABLE lives for ever. */
struct slot_table;
void dual_take_table(struct dual *dual, const struct slot_table *table);
/* For a hand-over of slots by this NUMBER, while it is held: stop, tell those who get slots of ours in
 * TABLE (taken) what is known of them, and report when all is answered and confirmed. / Go on. */
void dual_rest(struct dual *dual, uint64_t number, struct slot_table *table);
void dual_rest_over(struct dual *dual);
/* From another loop; takes it. */
void dual_ask(struct dual *dual, struct ask *ask);
/* CLIENT UNBLOCK of a client that waits in the gateway (C17); false: it does not. It has its answer
 * when its command is not being tried just now, or was and found nothing. */
bool dual_unblock(struct client *client, bool with_error);
/* It waits in the gateway, and its command is at the primary side just now. */
bool dual_is_tried(const struct client *client);
/* The client is freed. */
void dual_forget(struct client *client);

/* ---- connections ---- */
/* From the answer to INFO server: why lanes cannot use it; NULL: they can. */
const char *dual_unfit_server(struct backend *backend, struct slice info);
void dual_on_ready(struct backend *backend);
/* A connection of this process has ID there; any loop. */
void dual_note_id(struct worker *worker, enum side side, int64_t id);
/* Of a Cluster: a connection to one of its nodes is about to write, or was closed in order. */
struct shards_end;
void dual_note_branch(struct backend *backend, struct shards_end *end);
void dual_branch_gone(struct backend *backend, const struct shards_end *end);
void dual_on_lost(struct backend *backend, bool was_ready); /* any backend; its queue is empty */
void dual_on_gone(struct worker *worker, struct grave *grave);
void dual_drop_grave(struct grave *grave); /* at the end of the process: frees it */

/* ---- roles (dual_roles.c) ---- */
/* Whether effects and copies go to the other side; not: its connections are closed, and all is dirty.
 * At first they do in a standalone gateway only. */
void dual_follow(struct dual *dual, bool follow);
/* New connections of other gateways get the new certificate (peers.h). */
void dual_reload_tls(struct dual *dual);
/* Whether a client's command is unanswered on this connection of a lane. */
bool dual_owes_clients(const struct backend *backend);
/* A FLUSHALL or its like is about to leave, or not answered. */
bool dual_stands_still(const struct dual *dual);
/* Both sides are equal, and nothing is under way to either. */
bool dual_is_drained(const struct dual *dual);
/* And what other gateways have answered to what blocks here has come (peers_fence()). */
bool dual_may_be_released(const struct dual *dual);
/* The lanes have done all that can be done before the process ends (drain.h). */
bool dual_has_settled(const struct dual *dual);
/* While it is held: every gateway's commands are answered, so what the witness has not judged by now
 * is to be (C22) / that was said to be drained, and stays so whatever P only expires / go on. */
void dual_drain(struct dual *dual);
void dual_drained(struct dual *dual);
void dual_released(struct dual *dual);
/* What is dirty or queued would be gone within a few round trips. */
bool dual_is_nearly_drained(const struct dual *dual);
/* The other side is about to become worker->side. */
void dual_swap(struct dual *dual);

/* The capture is `stream` from now on (C1): ends and frees it; its clients stay. */
void dual_retire(struct dual *dual);
/* In every loop: the capture is about to be another one. */
void dual_recapture(struct worker *worker, bool lanes);

/* As JSON, summed over the loops; from any thread. */
void dual_write_json(struct gateway *gw, struct buf *out);

#endif
