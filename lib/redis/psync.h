/* psync.h -- the replica's side of PSYNC, from the first PING to the first byte of the stream:
 * what to send and what came, without I/O.
 *
 *                       PONG          OK             any answer      any answer      +FULLRESYNC
 *    psync_start --> PING -----> AUTH -----> PORT ----------> ... ----------> PSYNC ------------+
 *                       |         (if asked)   ADDRESS, CAPA, VERSION,          |               |
 *                       |                      RDB_ONLY, FILTER (if asked)      | +CONTINUE     v
 *                       |                                                       v             HEAD
 *                       +--> REFUSED or LATER, from any state               STREAM <--+         |
 *                                                                                     | end  $n |
 * $EOF:mark
 *                                                                                     +------- RDB
 *
 * The caller owns the socket: it sends what psync_start() and psync_feed() put into OUT, shows
 * psync_feed() what it received, and obeys the event. Nothing here keeps a copy of what was shown.
 *
 * Hostile input: lines are bounded, ids are checked, a length is a number in range.
 * Source: replication.c of Redis 7.0; design page protocol-facts.md (PSYNC2 replica side).
 */
#ifndef LIB_REDIS_PSYNC_H
#define LIB_REDIS_PSYNC_H

#include "lib/base/buf.h"
#include "lib/base/sm.h"
#include "lib/base/why.h"

#define PSYNC_ID_BYTES 40

struct psync_config {
    const char *psync_command; /* NULL: "PSYNC"; a cloud's renamed one */
    struct slice user;         /* empty: AUTH with the password alone */
    struct slice password;     /* empty: no AUTH */
    uint16_t listening_port;   /* told to the master as it is */
    const char *address;       /* NULL: not told */
    const char *version;       /* NULL: not told; "8.1.0" makes Valkey 9 send what Redis can read */
    bool rdb_only;             /* REPLCONF rdb-only 1: the RDB, and the master hangs up */
    const char *rdb_filter;    /* NULL: whole RDB; "": an RDB without keys and functions */
    bool failover;             /* the one asked is to become the master: PSYNC id offset FAILOVER */
    bool need_filter;          /* refuse a master that does not know what was asked of the RDB */
    /* Where to go on; replid "?" or empty: from nothing. */
    char replid[PSYNC_ID_BYTES + 1];
    int64_t next_offset; /* the first byte that is wanted: one behind the last that we have */
};

enum psync_state {
    PSYNC_PING,
    PSYNC_AUTH,
    PSYNC_PORT,
    PSYNC_ADDRESS,
    PSYNC_CAPA,
    PSYNC_VERSION,
    PSYNC_RDB_ONLY,
    PSYNC_FILTER,
    PSYNC_ASK,    /* PSYNC was sent */
    PSYNC_HEAD,   /* full copy: waiting for $... */
    PSYNC_RDB,    /* RDB bytes */
    PSYNC_STREAM, /* done: what follows is the stream */
    PSYNC_DEAD,   /* REFUSED or LATER was said: hang up */
    PSYNC_STATES
};

enum psync_event {
    PSYNC_EV_MORE,     /* read more; show the bytes that were not used again */
    PSYNC_EV_SEND,     /* send what OUT has (it may have nothing), and come again with the rest */
    PSYNC_EV_FULL,     /* a full copy begins; replid and offset are set: the stream behind the RDB
                        * starts at offset + 1 */
    PSYNC_EV_CONTINUE, /* the stream goes on at next_offset; replid may be a new one */
    PSYNC_EV_BYTES,    /* psync->rdb is the next piece of the RDB; it lies in the bytes shown */
    PSYNC_EV_RDB_END,  /* the RDB is whole; send the first REPLCONF ACK, or the stream may not start
                        */
    PSYNC_EV_LATER,   /* the master cannot now (loading, no link to its own master); WHY; hang up */
    PSYNC_EV_REFUSED, /* it never will with this configuration; WHY says what to do; hang up */
};

struct psync {
    struct sm sm;               /* enum psync_state */
    struct psync_config config; /* slices in it are the caller's, and must outlive the handshake */
    char replid[PSYNC_ID_BYTES + 1]; /* valid after FULL and CONTINUE */
    int64_t offset;    /* FULL: as the master said; CONTINUE: config.next_offset - 1 */
    struct slice rdb;  /* valid at PSYNC_EV_BYTES until the next call */
    uint64_t rdb_left; /* bytes to come of an RDB with a length */
    uint64_t rdb_size; /* announced; 0 with a mark */
    bool rdb_marked;   /* ended by a mark (diskless) */
    bool id_changed;   /* CONTINUE came with another id than was asked for */
    uint8_t mark[PSYNC_ID_BYTES];
};

/* Begin; OUT gets the first bytes to send. CONFIG is copied. */
void psync_start(struct psync *psync, const struct psync_config *config, struct buf *out);

/* Look at received BYTES. *used_bytes (set always, may be 0 with any event) are done with. Call
 * again with the rest until it says MORE. In PSYNC_STREAM it uses nothing and says MORE. WHY is
 * set with LATER and REFUSED. */
MUST_CHECK enum psync_event psync_feed(struct psync *psync, struct slice bytes, size_t *used_bytes,
                                       struct buf *out, struct why *why);

/* REPLCONF ACK OFFSET. */
void psync_write_ack(struct buf *out, int64_t offset);

#endif
