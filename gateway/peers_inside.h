/* peers_inside.h -- what the files of peers share; nobody else includes it. */
#ifndef GATEWAY_PEERS_INSIDE_H
#define GATEWAY_PEERS_INSIDE_H

#include "gateway/dual_inside.h"
#include "gateway/holders.h"
#include "gateway/peers.h"

#include "lib/net/listener.h"

#define PEERS_BYTES_MAX (256u << 20) /* of one message */

/* A gateway that we dial: what it is asked, and what it was told to pin. */
struct peer {
    struct list link; /* peers->out */
    struct peers *peers;
    char name[SLOT_TABLE_NAME_BYTES], address[SLOT_TABLE_PEER_BYTES];
    unsigned bit; /* of far_pin.acked */
    uint64_t owns[LANE_SLOTS / 64]; /* by the table that we have */
    struct stream *stream;
    bool greeted;
    struct buf in;
    struct resp_request request;
    struct list asks; /* not answered; those that wait for the connection have no `told` */
    uint64_t carried; /* the number of a parcel that it has not acknowledged; 0: none */
    uint64_t fence;   /* a number that it has not said again; 0: none */
    uint64_t synced;  /* the version that SYNCED named on this connection; 0: it was not said */
    uint64_t redial_at_ms;
};

/* One of ours: keys that are pinned elsewhere for a command of this gateway. */
struct far_pin {
    struct list link; /* peers->pins */
    uint64_t id, epoch;
    struct buf words; /* of PIN, behind the epoch */
    size_t count;
    uint32_t acked; /* bits of peers */
    uint64_t since_us;
    struct ask *ask;
    void (*done)(struct dual *dual, struct ask *ask); /* NULL: it was called */
};

/* A gateway that dialled us. */
struct visitor {
    struct list link; /* peers->visitors */
    struct peers *peers;
    struct stream *stream;
    struct holder *holder; /* NULL before HELLO */
    bool early;            /* its next message is a PIN of a later epoch than ours: it waits */
    struct buf in;
    struct resp_request request;
    struct list asks; /* struct ask.visit: not answered */
};

struct peers {
    struct dual *dual;
    struct listener *listener; /* NULL: nobody can reach us */
    struct list out, visitors, pins, parcels;
    struct holders holders;
    uint32_t bits; /* in use */
    uint64_t next_id;
    uint64_t gained; /* the version with which we last got slots */
    unsigned early;  /* visitors that wait for a release */
    bool unsynced;   /* the lanes were told of a connection that is not known to be gone */
};

/* Appends a message: COUNT words follow. */
static inline void peers_begin(struct buf *out, const char *verb, size_t count) {
    resp_write_array(out, count + 1);
    resp_write_text(out, verb);
}
void peers_number(struct buf *out, uint64_t number);
bool peers_read_number(struct slice text, uint64_t *number);

const struct slot_table *peers_table(const struct peers *peers);
void peers_look(struct peers *peers); /* whether all pins that may be out there are known */

/* peers_carry.c */
bool peers_on_carry(struct visitor *visitor, size_t argc, const struct slice *argv);

/* peers_in.c */
void peers_on_visit(void *self, struct stream *stream);
void visitor_close(struct visitor *visitor);
void visitor_leave(struct visitor *visitor); /* likewise, when the end of what it was told is sent */
void peers_holder_gone(struct peers *peers, struct holder *holder); /* with what it has pinned */
void peers_on_unpinned(void *dual, const struct effect *effect);
extern const struct resp_request_limits peers_limits;

#endif
