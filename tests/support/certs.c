/* certs.c -- certificates for tests. */
#include "tests/support/certs.h"

#include "lib/base/check.h"
#include "lib/net/openssl.h"

#include <ftw.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void add_extension(X509 *cert, X509 *issuer, int what, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, what, value);
    ASSERT(extension != NULL);
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
}

/* A certificate of NAME for KEY; ISSUER NULL: an authority that signs itself. */
static X509 *make(const char *name, const char *alternatives, EVP_PKEY *key, X509 *issuer,
                  EVP_PKEY *issuer_key, long serial) {
    X509 *cert = X509_new();
    ASSERT(cert != NULL);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 24 * 3600);
    X509_NAME *subject = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject);
    X509_set_pubkey(cert, key);
    add_extension(cert, issuer ? issuer : cert, NID_basic_constraints,
                  issuer ? "CA:FALSE" : "critical,CA:TRUE");
    if (alternatives) add_extension(cert, issuer, NID_subject_alt_name, alternatives);
    ASSERT(X509_sign(cert, issuer ? issuer_key : key, EVP_sha256()) > 0);
    return cert;
}

static void save(const char *dir, const char *name, X509 *cert, EVP_PKEY *key) {
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    ASSERT(file != NULL);
    if (cert) ASSERT(PEM_write_X509(file, cert) == 1);
    if (key) ASSERT(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1);
    fclose(file);
}

void certs_make(const char *dir) {
    mkdir(dir, 0700);
    EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256"),
             *stranger_key = EVP_EC_gen("P-256");
    X509 *ca = make("test authority", NULL, ca_key, NULL, NULL, 1);
    X509 *stranger = make("stranger", NULL, stranger_key, NULL, NULL, 1);
    X509 *server = make("localhost", "DNS:localhost,IP:127.0.0.1,IP:::1", key, ca, ca_key, 2);
    X509 *other = make("other.example", "DNS:other.example", key, ca, ca_key, 3);
    save(dir, "ca.pem", ca, NULL);
    save(dir, "stranger-ca.pem", stranger, NULL);
    save(dir, "server.pem", server, NULL);
    save(dir, "server.key", NULL, key);
    save(dir, "other.pem", other, NULL);
    save(dir, "other.key", NULL, key);
    save(dir, "wrong.key", NULL, ca_key);
    X509_free(ca);
    X509_free(stranger);
    X509_free(server);
    X509_free(other);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    EVP_PKEY_free(stranger_key);
}

static char scratch[256];

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at) {
    (void)info;
    (void)kind;
    (void)at;
    return remove(path);
}

static void remove_scratch(void) {
    nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *certs_scratch(void) {
    if (*scratch) return scratch;
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(scratch, sizeof scratch, "%s/drawbridge-test-XXXXXX", tmp ? tmp : "/tmp");
    ASSERT(mkdtemp(scratch) != NULL);
    atexit(remove_scratch);
    return scratch;
}
