/* history.h -- which data this is: replication ids, offset, and who may continue from where.
 *
 * Two servers with the same id and offset have the same data. A server that stops being a replica
 * gets an id of its own and remembers the old one, valid up to the offset that it had reached, so
 * that its former siblings can continue with it. Pure; no I/O.
 * Source: replication.c of Redis 7.0 (masterTryPartialResynchronization, shiftReplicationId).
 */
#ifndef SERVER_HISTORY_H
#define SERVER_HISTORY_H

#include "server/backlog.h"

struct history {
    char id[41];     /* 40 hexadecimal characters */
    char id2[41];    /* the id before, or 40 times '0' */
    int64_t id2_end; /* PSYNC with id2 may ask for offsets up to this one; -1: none */
    int64_t offset;  /* of the last byte of the stream */
};

void history_init(struct history *history);     /* a fresh id, offset 0, no id before */
void history_new_id(struct history *history);   /* a fresh id; no id before: nobody can continue */
void history_shift_id(struct history *history); /* a fresh id; the present one becomes id2 */

/* Take over the id of a master that went from ours to another name (+CONTINUE <id>). */
void history_rename(struct history *history, const char id[41]);

enum psync_verdict {
    PSYNC_CONTINUE,
    PSYNC_OTHER_HISTORY,
    PSYNC_BEYOND_SECOND_ID,
    PSYNC_NO_BACKLOG,
    PSYNC_OUT_OF_BACKLOG
};

/* May who has the history ID, and wants the byte at offset WANTED next, continue? */
enum psync_verdict history_judge(const struct history *history, const struct backlog *backlog,
                                 struct slice id, int64_t wanted);

/* Whether TEXT looks like a replication id. */
bool history_is_id(struct slice text);

#endif
