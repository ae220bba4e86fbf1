/* certs.h -- certificates for tests, made with OpenSSL in a folder. */
#ifndef TESTS_SUPPORT_CERTS_H
#define TESTS_SUPPORT_CERTS_H

/* Writes into DIR (made if missing): ca.pem; server.pem and server.key for localhost, 127.0.0.1 and
 * ::1, signed by it; other.pem and other.key, for "other.example", signed by it; stranger-ca.pem,
 * another authority. Aborts when it cannot. */
void certs_make(const char *dir);

/* A folder of this test run's own under $TMPDIR or /tmp, removed at exit. */
const char *certs_scratch(void);

#endif
