/* tls.c -- OpenSSL contexts for clients and servers. See tls.h. */
#include "lib/net/tls.h"

#include "lib/base/mem.h"
#include "lib/base/slice.h"
#include "lib/net/openssl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#define CACHE_PLACES 16

struct tls {
    SSL_CTX *context;
    _Atomic unsigned references;
};

/* A client's context in the cache, and the files that it was made from. */
struct cached {
    struct tls_options options;
    struct timespec changed[3]; /* of ca, cert, key */
    struct tls *tls;            /* NULL: a free place */
};

static struct {
    pthread_mutex_t lock;
    struct cached places[CACHE_PLACES];
    unsigned next; /* the place that is given up when none is free */
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct tls *tls_hold(struct tls *tls) {
    atomic_fetch_add(&tls->references, 1);
    return tls;
}

void tls_close(struct tls *tls) {
    if (tls == NULL || atomic_fetch_sub(&tls->references, 1) != 1) return;
    SSL_CTX_free(tls->context);
    mem_free(tls);
}

/* The newest message of OpenSSL; the queue is empty afterwards. */
static const char *last_error(void) {
    unsigned long code = ERR_peek_last_error();
    if (ERR_GET_LIB(code) == ERR_LIB_SYS) {
        ERR_clear_error();
        return strerror(ERR_GET_REASON(code));
    }
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return reason ? reason : "unknown reason";
}

static enum err load_trust(SSL_CTX *context, const char *ca, struct why *why) {
    if (ca == NULL) {
        if (SSL_CTX_set_default_verify_paths(context) == 1) return OK;
        return why_set(why, ERR_CONFIG, "the system's certificates: %s", last_error());
    }
    struct stat info;
    if (stat(ca, &info) != 0) return why_set(why, ERR_CONFIG, "CA %s: %s", ca, strerror(errno));
    int loaded = S_ISDIR(info.st_mode) ? SSL_CTX_load_verify_dir(context, ca)
                                       : SSL_CTX_load_verify_file(context, ca);
    if (loaded == 1) return OK;
    return why_set(why, ERR_CONFIG, "CA %s: %s", ca, last_error());
}

/* Without one OpenSSL would ask at the terminal. */
static int tell_password(char *out, int room, int writing, void *password) {
    (void)writing;
    size_t size = password ? strlen(password) : 0;
    if (size > (size_t)room) return -1;
    if (size) memcpy(out, password, size);
    return (int)size;
}

static enum err load_own(SSL_CTX *context, const struct tls_options *options, struct why *why) {
    const char *key = options->key ? options->key : options->cert;
    if (SSL_CTX_use_certificate_chain_file(context, options->cert) != 1)
        return why_set(why, ERR_CONFIG, "certificate %s: %s", options->cert, last_error());
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
        return why_set(why, ERR_CONFIG, "key %s: %s", key, last_error());
    if (SSL_CTX_check_private_key(context) != 1)
        return why_set(why, ERR_CONFIG, "key %s does not belong to certificate %s: %s", key,
                       options->cert, last_error());
    return OK;
}

static enum err new_context(struct tls **tls, const struct tls_options *options, bool client,
                            struct why *why) {
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(client ? TLS_client_method() : TLS_server_method());
    if (context == NULL) return why_set(why, ERR_NOMEM, "TLS: %s", last_error());
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    enum err err = OK;
    bool verify = client ? !options->insecure : options->ca != NULL;
    int must_have = options->asks_only ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(context, verify ? SSL_VERIFY_PEER | must_have : SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_default_passwd_cb(context, tell_password);
    SSL_CTX_set_default_passwd_cb_userdata(context, (void *)(uintptr_t)options->key_password);
    if (verify) err = load_trust(context, options->ca, why);
    if (err == OK && options->cert) err = load_own(context, options, why);
    SSL_CTX_set_default_passwd_cb_userdata(context, NULL); /* it is the caller's */
    if (err) {
        SSL_CTX_free(context);
        return err;
    }
    if (!client) SSL_CTX_set_session_id_context(context, (const unsigned char *)"drawbridge", 10);
    *tls = NEW(struct tls);
    (*tls)->context = context;
    atomic_store(&(*tls)->references, 1);
    return OK;
}

enum err tls_server_open(struct tls **tls, const struct tls_options *options, struct why *why) {
    if (options->cert == NULL)
        return why_set(why, ERR_CONFIG, "TLS: a server needs a certificate (cert)");
    return new_context(tls, options, false, why);
}

static bool same_text(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_files(const struct tls_options *a, const struct tls_options *b) {
    return a->insecure == b->insecure && same_text(a->ca, b->ca) && same_text(a->cert, b->cert) &&
           same_text(a->key, b->key);
}

/* When each of the files changed last; zero where there is none. */
static void look_at_files(const struct tls_options *options, struct timespec changed[3]) {
    const char *files[3] = {options->ca, options->cert, options->key};
    for (size_t i = 0; i < 3; i++) {
        struct stat info;
        bool there = files[i] && stat(files[i], &info) == 0;
        changed[i] = there ? info.st_mtim : (struct timespec){0};
    }
}

/* The place for OPTIONS: theirs, a free one, or the next that must give way. Lock held. */
static struct cached *find_place(const struct tls_options *options) {
    struct cached *free_place = NULL;
    for (size_t i = 0; i < CACHE_PLACES; i++) {
        struct cached *place = &cache.places[i];
        if (place->tls == NULL)
            free_place = place;
        else if (same_files(&place->options, options))
            return place;
    }
    return free_place ? free_place : &cache.places[cache.next++ % CACHE_PLACES];
}

enum err tls_client_open(struct tls **tls, const struct tls_options *options, struct why *why) {
    struct timespec changed[3];
    look_at_files(options, changed);
    enum err err = OK;
    pthread_mutex_lock(&cache.lock);
    struct cached *place = find_place(options);
    if (place->tls == NULL || !same_files(&place->options, options) ||
        memcmp(place->changed, changed, sizeof changed) != 0) {
        struct tls *made;
        err = new_context(&made, options, true, why);
        if (err == OK) {
            tls_close(place->tls);
            tls_options_close(&place->options);
            tls_options_copy(&place->options, options);
            memcpy(place->changed, changed, sizeof changed);
            place->tls = made;
        }
    }
    if (err == OK) *tls = tls_hold(place->tls);
    pthread_mutex_unlock(&cache.lock);
    return err;
}

/* ---- rules ---- */

#define PROTOCOLS                                                                                  \
    (SSL_OP_NO_SSLv3 | SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1 | SSL_OP_NO_TLSv1_2 | SSL_OP_NO_TLSv1_3)

/* The options that leave only these versions; 0: not such a list. */
static uint64_t only_protocols(const char *text) {
    static const struct {
        const char *name;
        uint64_t without;
    } versions[] = {{"tlsv1", SSL_OP_NO_TLSv1},
                    {"tlsv1.1", SSL_OP_NO_TLSv1_1},
                    {"tlsv1.2", SSL_OP_NO_TLSv1_2},
                    {"tlsv1.3", SSL_OP_NO_TLSv1_3}};
    struct slice rest = slice_text(text);
    uint64_t allowed = 0;
    while (rest.size) {
        const uint8_t *space = memchr(rest.data, ' ', rest.size);
        struct slice word = slice_take(rest, space ? (size_t)(space - rest.data) : rest.size);
        rest = slice_drop(rest, word.size + (space != NULL));
        uint64_t found = 0;
        for (size_t i = 0; i < sizeof versions / sizeof *versions; i++)
            if (slice_equal_nocase(word, slice_text(versions[i].name))) found = versions[i].without;
        if (found == 0 && word.size) return 0;
        allowed |= found;
    }
    return allowed ? PROTOCOLS & ~allowed : 0;
}

static enum err apply_protocols(SSL_CTX *context, const char *protocols, struct why *why) {
    uint64_t without = only_protocols(protocols ? protocols : "TLSv1.2 TLSv1.3");
    if (without == 0)
        return why_set(why, ERR_CONFIG,
                       "Invalid tls-protocols specified. Use a combination of 'TLSv1', 'TLSv1.1', "
                       "'TLSv1.2' and 'TLSv1.3'.");
    SSL_CTX_set_min_proto_version(context, 0);
    SSL_CTX_clear_options(context, PROTOCOLS);
    SSL_CTX_set_options(context, without);
    return OK;
}

static enum err apply_dh_params(SSL_CTX *context, const char *path, struct why *why) {
    SSL_CTX_set_dh_auto(context, path == NULL);
    if (path == NULL) return OK;
    BIO *file = BIO_new_file(path, "r");
    EVP_PKEY *key = file ? PEM_read_bio_Parameters(file, NULL) : NULL;
    BIO_free(file);
    if (key && SSL_CTX_set0_tmp_dh_pkey(context, key) == 1) return OK; /* it is the context's */
    EVP_PKEY_free(key);
    return why_set(why, ERR_CONFIG, "tls-dh-params-file %s: %s", path, last_error());
}

static void apply_cache(SSL_CTX *context, const struct tls_rules *rules) {
    SSL_CTX_set_session_cache_mode(context,
                                   rules->forgets ? SSL_SESS_CACHE_OFF : SSL_SESS_CACHE_SERVER);
    if (rules->forgets) {
        SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
        return;
    }
    SSL_CTX_clear_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_sess_set_cache_size(context, rules->kept_sessions);
    SSL_CTX_set_timeout(context, rules->kept_seconds);
}

enum err tls_apply(struct tls *tls, const struct tls_rules *rules, struct why *why) {
    SSL_CTX *context = tls->context;
    ERR_clear_error();
    if (rules->ciphers && SSL_CTX_set_cipher_list(context, rules->ciphers) != 1)
        return why_set(why, ERR_CONFIG, "tls-ciphers: %s", last_error());
    if (rules->ciphersuites && SSL_CTX_set_ciphersuites(context, rules->ciphersuites) != 1)
        return why_set(why, ERR_CONFIG, "tls-ciphersuites: %s", last_error());
    if (!rules->own_order) SSL_CTX_clear_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
    enum err err = apply_protocols(context, rules->protocols, why);
    if (err == OK) err = apply_dh_params(context, rules->dh_params, why);
    if (err == OK) apply_cache(context, rules);
    return err;
}

int64_t tls_not_after(const struct tls *tls) {
    X509 *own = SSL_CTX_get0_certificate(tls->context);
    struct tm tm;
    if (own == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(own), &tm) != 1) return 0;
    return (int64_t)timegm(&tm);
}

/* Verify HOST: an address by the certificate's addresses, else a name, which is sent as SNI too. */
static bool expect_host(SSL *session, const char *host) {
    uint8_t address[16];
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), host) == 1;
    SSL_set_hostflags(session, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(session, (char *)(uintptr_t)host) == 1 &&
           SSL_set1_host(session, host) == 1;
}

enum err tls_new_session(struct tls *tls, const char *host, bool client, SSL **session,
                         struct why *why) {
    ERR_clear_error();
    SSL *made = SSL_new(tls->context);
    if (made == NULL) return why_set(why, ERR_NOMEM, "TLS: %s", last_error());
    if (client && host && *host && !expect_host(made, host)) {
        SSL_free(made);
        return why_set(why, ERR_CONFIG, "TLS: '%.100s' cannot be a server's name: %s", host,
                       last_error());
    }
    if (client)
        SSL_set_connect_state(made);
    else
        SSL_set_accept_state(made);
    *session = made;
    return OK;
}

enum err tls_why(SSL *session, enum err err, const char *doing, struct why *why) {
    long verdict = SSL_get_verify_result(session);
    if (verdict != X509_V_OK && SSL_get_verify_mode(session) != SSL_VERIFY_NONE) {
        ERR_clear_error();
        return why_set(why, ERR_REFUSED, "%s: the peer's certificate is not accepted: %s", doing,
                       X509_verify_cert_error_string(verdict));
    }
    unsigned long code = ERR_peek_last_error();
    int reason = ERR_GET_REASON(code);
    const char *text = last_error();
    if (code && ERR_GET_LIB(code) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET)
        return why_set(why, ERR_REFUSED, "%s: the peer refused: %s", doing, text);
    if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST)
        return why_set(why, ERR_PROTO, "%s: the peer does not speak TLS here (%s)", doing, text);
    return why_set(why, err, "%s: %s", doing, text);
}
