/* rblock_io.h -- the blocking client's transport: a socket with or without TLS, with timeouts. */
#ifndef LIB_CONTROL_RBLOCK_IO_H
#define LIB_CONTROL_RBLOCK_IO_H

#include "lib/base/buf.h"
#include "lib/base/why.h"
#include "lib/net/endpoint.h"

#include <stdatomic.h>
#include <stdint.h>

struct ssl_st;
struct tls;

struct rblock_io {
    int fd;   /* -1: not connected */
    int wake; /* an eventfd: becomes readable when interrupted */
    _Atomic bool interrupted;
    struct tls *tls;
    struct ssl_st *session; /* NULL: plain */
    char peer[ENDPOINT_TEXT];
};

/* Connect to one address of ENDPOINT after the other. On failure IO is closed. */
MUST_CHECK enum err rblock_io_open(struct rblock_io *io, const struct endpoint *endpoint,
                                   uint32_t timeout_ms, struct why *why);
void rblock_io_close(struct rblock_io *io);

/* What could be done at once: *SIZE bytes (0: nothing now). *WAITS_FOR gets POLLIN or POLLOUT when
 * it must wait. ERR_CLOSED when the peer is gone in order. */
MUST_CHECK enum err rblock_io_send(struct rblock_io *io, struct slice bytes, size_t *size,
                                   short *waits_for, struct why *why);
MUST_CHECK enum err rblock_io_recv(struct rblock_io *io, uint8_t *bytes, size_t room, size_t *size,
                                   short *waits_for, struct why *why);

/* Sleep until one of EVENTS, at most TIMEOUT_MS. ERR_TIMEOUT, ERR_STOPPED. */
MUST_CHECK enum err rblock_io_wait(struct rblock_io *io, short events, uint32_t timeout_ms,
                                   struct why *why);
void rblock_io_interrupt(struct rblock_io *io);

#endif
