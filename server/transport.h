/* transport.h -- the bytes of a connection, with TLS or without.
 *
 * Reading and writing are those of read(2) and send(2): -1 with EAGAIN means wait, 0 from reading
 * that the peer has ended. TLS adds that reading may have to write first, and the other way round;
 * ask transport_wants_write() what to poll for, and on any event try both.
 * Handshakes happen inside the first calls. Hostile input is OpenSSL's affair; an error there is
 * -1 with EPROTO, and transport_fault() has its words.
 */
#ifndef SERVER_TRANSPORT_H
#define SERVER_TRANSPORT_H

#include "lib/base/why.h"
#include "lib/net/endpoint.h"

#include <sys/types.h>

struct ssl_st;
struct engine;

struct transport { /* all-zero: plain */
    struct ssl_st *tls;
    bool read_wants_write, write_wants_read;
};

/* Speak TLS on FD from here on, as the server that `tls-*` describe, or as a client of HOST. */
MUST_CHECK enum err transport_accept(struct engine *engine, struct transport *transport, int fd,
                                     struct why *why);
MUST_CHECK enum err transport_dial(struct engine *engine, struct transport *transport, int fd,
                                   const char *host, struct why *why);
/* The same without a word: another process goes on with the connection. */
void transport_abandon(struct transport *transport);
/* As which client we dial others; borrowed from the settings. */
struct tls_options transport_client_options(const struct engine *engine);
void transport_close(struct transport *transport); /* says goodbye if it can; plain is fine */

ssize_t transport_read(struct transport *transport, int fd, void *bytes, size_t size);
ssize_t transport_write(struct transport *transport, int fd, const void *bytes, size_t size);
/* Bytes that were read from the socket and wait inside: no event will tell of them. */
bool transport_has_more(const struct transport *transport);
/* What the last EPROTO was about. */
const char *transport_fault(void);

/* The engine's TLS settings were read, or changed (certificates are read again): make what they
 * say usable. OK when there is no TLS. On failure what was in use stays. */
MUST_CHECK enum err transport_configure(struct engine *engine, struct why *why);

#endif
