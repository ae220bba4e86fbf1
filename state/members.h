/* members.h -- the control listener: gateways and syncers that dial in, and whoever asks.
 *
 *   ask connection    a command, an answer; from redis-cli, too
 *   task connection   after DRAWBRIDGE HELLO the other way round: we command, the member answers in
 *                     order and reports by push (docs/CONTROL.md)
 *
 * A member is lost when its task connection ends, or after MEMBER_SILENCE_MS without a byte; each
 * second of silence it is asked PING. A member's commands wait in order of sending; each ends in
 * exactly one callback. At most MEMBER_PENDING_MAX wait: a member that answers none of them is cut
 * off. Everything a member says is checked; what is not understood is counted and dropped.
 */
#ifndef STATE_MEMBERS_H
#define STATE_MEMBERS_H

#include "lib/net/endpoint.h"
#include "lib/redis/reply.h"
#include "state/ledger_tables.h"

#include <jansson.h>

#define MEMBERS_MAX 128       /* task connections */
#define CONTROL_CONNS_MAX 512 /* of both kinds */
#define MEMBER_SILENCE_MS 3000
#define MEMBER_PENDING_MAX 256

struct loop;
struct member;
struct members;

enum member_role { MEMBER_GATEWAY, MEMBER_SYNCER, MEMBER_ROLES };

struct members_events {
    /* May TASK begin? False with WHY ("STALE ...", "ERR ...") refuses the HELLO. */
    bool (*may_join)(void *self, const struct member_row *row, struct why *why);
    /* Appends the name and value pairs of HELLO's answer. */
    void (*greet)(void *self, struct buf *out);
    void (*on_joined)(void *self, struct member *member);
    void (*on_lost)(void *self, struct member *member, const char *why); /* dead when you return */
    /* COUNT texts, then the JSON object (NULL when there was none). */
    void (*on_report)(void *self, struct member *member, const struct slice *words, size_t count,
                      const json_t *json);
    /* A command of an ask connection; append exactly one reply. */
    void (*on_ask)(void *self, size_t argc, const struct slice *argv, struct buf *out);
};

MUST_CHECK enum err members_open(struct members **members, struct loop *loop,
                                 const struct endpoint *listen, const struct members_events *events,
                                 void *self, struct why *why);
/* Read the control port's certificate and key again; new connections meet them. On failure the old ones stay. */
MUST_CHECK enum err members_reload_tls(struct members *members, struct why *why);

void members_close(struct members *members);

/* ---- a member; alive from on_joined until on_lost returns ---- */
enum member_role member_role(const struct member *member);
const struct member_row *member_row(const struct member *member);
uint64_t member_silence_ms(const struct member *member);
int64_t member_joined_ms(const struct member *member); /* wall clock */
json_t *member_stats(const struct member *member);     /* borrowed; the last STATS, or NULL */
void member_keep_stats(struct member *member, const json_t *stats);
void member_set_epoch(struct member *member, uint64_t epoch);

/* OK is true for an answer that is not an error; TEXT is the answer's, or why there is none. */
typedef void member_on_answer(void *self, struct member *member, bool ok, struct slice text);
/* Send a command. ON_ANSWER may be NULL. Its SELF must outlive the member or be the core. */
void member_send(struct member *member, member_on_answer *on_answer, void *self, size_t argc,
                 const struct slice *argv);
/* The same, formatted: words are separated by single spaces, and have none in them. */
void member_sendf(struct member *member, member_on_answer *on_answer, void *self, const char *fmt,
                  ...) PRINTF(4, 5);

/* MEMBERS may be NULL: there are none. All of a role, in no order: for (m = members_first(ms,
 * role); m; m = members_next(m)). */
struct member *members_first(const struct members *members, enum member_role role);
struct member *members_next(const struct member *member);
struct member *members_find(const struct members *members, enum member_role role, const char *name);

#endif
