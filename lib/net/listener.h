/* listener.h -- accept connections on a TCP port or a Unix socket, with or without TLS.
 *
 * With share_port several loops listen on one port, each with a listener of its own (SO_REUSEPORT),
 * and the kernel spreads the connections. A stale Unix socket file is removed; one that somebody
 * still answers at is an error. When the process has no file descriptors left, accepting rests for
 * 100 ms and is logged.
 */
#ifndef LIB_NET_LISTENER_H
#define LIB_NET_LISTENER_H

#include "lib/base/why.h"
#include "lib/net/endpoint.h"
#include "lib/net/stream.h"

struct listener;

struct listener_options {
    bool share_port;
    uint32_t backlog;              /* 0: 511 */
    uint32_t socket_mode;          /* of a Unix socket; 0: 0600 */
    struct stream_options streams; /* for accepted streams */
};

/* ON_STREAM gets each accepted stream, whose events are not set yet: call stream_set_owner() before
 * you return, or drop it. Of a TLS stream on_open comes when the handshake is done; a plain one is
 * open. ENDPOINT (with its TLS options: cert and key) is copied; OPTIONS may be NULL.
 * Port 0 picks a free one. An error names the address: "listen on 0.0.0.0:6379: address already
 * in use". */
MUST_CHECK enum err listener_open(struct listener **listener, struct loop *loop,
                                  const struct endpoint *endpoint,
                                  const struct listener_options *options,
                                  void (*on_stream)(void *self, struct stream *stream), void *self,
                                  struct why *why);

/* Read certificate and key again; new connections use them. On failure the old ones stay. */
MUST_CHECK enum err listener_reload_tls(struct listener *listener, struct why *why);

int64_t listener_tls_not_after(const struct listener *listener); /* as tls_not_after() */
uint16_t listener_port(const struct listener *listener); /* the real one, if 0 was asked for */
const struct endpoint *listener_endpoint(const struct listener *listener);
void listener_pause(struct listener *listener, bool paused); /* the backlog fills meanwhile */

/* Streams that were accepted live on. Removes a Unix socket's file. NULL is fine. */
void listener_close(struct listener *listener);

/* A bound and listening socket, non-blocking, without a loop; for http.c and tests. */
MUST_CHECK enum err listener_socket(const struct endpoint *endpoint,
                                    const struct listener_options *options, int *fd,
                                    struct why *why);

#endif
