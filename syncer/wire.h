/* wire.h -- a raw connection for threads that may block: TCP, Unix socket or TLS.
 *
 * For the receiver and for audits, which read a replication stream and not replies. Reading waits
 * in short pieces, so that the caller can look at the clock and at its orders in between.
 * The address is resolved anew at each opening (clouds fail over by DNS).
 */
#ifndef SYNCER_WIRE_H
#define SYNCER_WIRE_H

#include "lib/base/slice.h"
#include "lib/base/why.h"
#include "lib/net/endpoint.h"

struct wire;

/* Connect, and shake hands if the endpoint wants TLS, within TIMEOUT_MS. */
MUST_CHECK enum err wire_open(struct wire **wire, const struct endpoint *endpoint, int timeout_ms, struct why *why);
void wire_close(struct wire *wire); /* NULL is fine */

/* All of BYTES; ERR_TIMEOUT when the peer takes nothing for 30 s. */
MUST_CHECK enum err wire_write(struct wire *wire, struct slice bytes, struct why *why);

/* What is there, up to SIZE bytes. OK with *GOT 0: nothing came in TIMEOUT_MS. ERR_CLOSED: the end. */
MUST_CHECK enum err wire_read(struct wire *wire, void *data, size_t size, int timeout_ms, size_t *got, struct why *why);

#endif
