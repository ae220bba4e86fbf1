/* tls.h -- certificates and keys, loaded once and shared: what OpenSSL calls a context.
 *
 * TLS 1.2 or later. A client verifies the peer's chain and name unless told otherwise. A server
 * asks for client certificates when it is given a CA.
 * References are counted atomically, so a context may be shared by loops and threads.
 */
#ifndef LIB_NET_TLS_H
#define LIB_NET_TLS_H

#include "lib/net/endpoint.h"

#include <stdint.h>

struct ssl_st; /* OpenSSL's SSL */
struct tls;

/* For dialling. Contexts are cached by OPTIONS, since reading a CA bundle takes milliseconds; a
 * changed file (time or size) is read again. Errors name the file and what is wrong with it. */
MUST_CHECK enum err tls_client_open(struct tls **tls, const struct tls_options *options,
                                    struct why *why);

/* For listening: CERT is required, KEY NULL means that it is in CERT. Not cached. */
MUST_CHECK enum err tls_server_open(struct tls **tls, const struct tls_options *options,
                                    struct why *why);
/* What else may be said of a context, as the options tls-* of Redis have it; NULL: OpenSSL's own.
 */
struct tls_rules {
    const char
        *protocols; /* of TLSv1 TLSv1.1 TLSv1.2 TLSv1.3, with spaces between; NULL: the last two */
    const char *ciphers, *ciphersuites; /* up to TLS 1.2; of TLS 1.3 */
    const char *dh_params;              /* a file */
    bool own_order;                     /* a server's order of ciphers counts, not the client's */
    bool forgets;                       /* a server keeps no sessions */
    int64_t kept_sessions, kept_seconds;
};

/* ERR_CONFIG: WHY names the option. */
MUST_CHECK enum err tls_apply(struct tls *tls, const struct tls_rules *rules, struct why *why);
struct tls *tls_hold(struct tls *tls);
void tls_close(struct tls *tls); /* gives one reference back; NULL is fine */

/* When our own certificate ends, in seconds since 1970; 0: we have none. For metrics. */
int64_t tls_not_after(const struct tls *tls);

/* A connection object. HOST (a client's) is verified and sent as SNI unless it is an address. */
MUST_CHECK enum err tls_new_session(struct tls *tls, const char *host, bool client,
                                    struct ssl_st **session, struct why *why);

/* Say why a handshake or a read failed, from OpenSSL's error queue and SESSION; clears the queue.
 */
enum err tls_why(struct ssl_st *session, enum err err, const char *doing, struct why *why);

#endif
