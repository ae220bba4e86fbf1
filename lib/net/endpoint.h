/* endpoint.h -- where to connect or listen: "host:port", "[::1]:port", ":port", "unix:/path"
 * or "/path".
 *
 * A host name stays a name: it is resolved anew at each dial, because clouds move addresses.
 * Zeroed is "none". The TLS strings are owned; endpoint_close() frees them.
 */
#ifndef LIB_NET_ENDPOINT_H
#define LIB_NET_ENDPOINT_H

#include "lib/base/why.h"

#include <stdbool.h>
#include <stdint.h>

enum endpoint_kind { ENDPOINT_NONE, ENDPOINT_TCP, ENDPOINT_UNIX };

struct tls_options {
    bool on;
    bool insecure;     /* accept any certificate of the peer; verified by default */
    bool asks_only;    /* a server: a client may come without a certificate */
    char *ca;          /* file or folder of certificates to trust; NULL: the system's */
    char *cert, *key;  /* PEM files: ours; NULL: none. KEY NULL: the key is in the CERT file */
    char *server_name; /* the name to verify and to send (SNI); NULL: the endpoint's host */
    const char *key_password; /* NULL: none; the caller's, not kept by copies */
};

struct endpoint {
    enum endpoint_kind kind;
    char host[256]; /* name or address, without brackets; empty: any (for listeners) */
    uint16_t port;
    char path[108]; /* ENDPOINT_UNIX */
    struct tls_options tls;
};

#define ENDPOINT_TEXT 272 /* enough for endpoint_format() with its NUL */

/* TEXT is untrusted. A port is required for TCP: DEFAULT_PORT 0 says so, else it is what is meant
 * when none is given. Leaves the TLS part zeroed. */
MUST_CHECK enum err endpoint_parse(struct endpoint *endpoint, const char *text,
                                   uint16_t default_port, struct why *why);
void endpoint_copy(struct endpoint *to, const struct endpoint *from); /* TO was zeroed or closed */
void endpoint_close(struct endpoint *endpoint);                       /* zeroed again */
/* Address and kind; TLS options do not count. */
bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);

/* As endpoint_parse() reads it. Returns TEXT. */
const char *endpoint_format(const struct endpoint *endpoint, char text[ENDPOINT_TEXT]);

void tls_options_copy(struct tls_options *to, const struct tls_options *from);
void tls_options_close(struct tls_options *options);

#endif
