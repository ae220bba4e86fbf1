/* transport.c -- the bytes of a connection, with TLS or without. See transport.h. */
#include "server/transport.h"

#include "lib/base/mem.h"
#include "lib/net/openssl.h"
#include "lib/net/tls.h"
#include "server/engine.h"

#include <errno.h>

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define CALL_BYTES_MAX ((size_t)1 << 30) /* OpenSSL counts in int */

static char fault[200]; /* the engine's thread only */

const char *transport_fault(void) {
    return fault[0] ? fault : strerror(EPROTO);
}

static char *text_or_null(const char *text) {
    return text[0] ? (char *)(uintptr_t)text : NULL;
}

/* Borrowed from the settings. */
static struct tls_options server_options(const struct engine *engine) {
    const struct settings *s = &engine->settings;
    const char *ca = s->tls_ca_cert_file[0] ? s->tls_ca_cert_file : s->tls_ca_cert_dir;
    return (struct tls_options){.on = true,
                                .ca = s->tls_auth_clients ? text_or_null(ca) : NULL,
                                .asks_only = s->tls_auth_clients == TLS_CLIENTS_OPTIONAL,
                                .cert = text_or_null(s->tls_cert_file),
                                .key = text_or_null(s->tls_key_file),
                                .key_password = text_or_null(s->tls_key_file_pass)};
}

struct tls_options transport_client_options(const struct engine *engine) {
    const struct settings *s = &engine->settings;
    const char *ca = s->tls_ca_cert_file[0] ? s->tls_ca_cert_file : s->tls_ca_cert_dir;
    bool own = s->tls_client_cert_file[0] != '\0';
    return (struct tls_options){
        .on = true,
        .ca = text_or_null(ca),
        .cert = text_or_null(own ? s->tls_client_cert_file : s->tls_cert_file),
        .key = text_or_null(own ? s->tls_client_key_file : s->tls_key_file),
        .key_password = text_or_null(own ? s->tls_client_key_file_pass : s->tls_key_file_pass)};
}

static struct tls_rules rules_of(const struct engine *engine) {
    const struct settings *s = &engine->settings;
    return (struct tls_rules){.protocols = text_or_null(s->tls_protocols),
                              .ciphers = text_or_null(s->tls_ciphers),
                              .ciphersuites = text_or_null(s->tls_ciphersuites),
                              .dh_params = text_or_null(s->tls_dh_params_file),
                              .own_order = s->tls_prefer_server_ciphers,
                              .forgets = !s->tls_session_caching,
                              .kept_sessions = s->tls_session_cache_size,
                              .kept_seconds = s->tls_session_cache_timeout};
}

enum err transport_configure(struct engine *engine, struct why *why) {
    if (engine->settings.tls_port == 0) return OK;
    struct tls_options options = server_options(engine);
    if (engine->settings.tls_auth_clients && options.ca == NULL)
        return why_set(why, ERR_CONFIG,
                       "tls-auth-clients needs tls-ca-cert-file or tls-ca-cert-dir, to know whose "
                       "certificates are good");
    struct tls *tls;
    struct tls_rules rules = rules_of(engine);
    enum err err = tls_server_open(&tls, &options, why);
    if (err) return err;
    err = tls_apply(tls, &rules, why);
    if (err) {
        tls_close(tls);
        return err;
    }
    tls_close(engine->tls);
    engine->tls = tls;
    return OK;
}

static enum err use(struct transport *transport, struct ssl_st *session, int fd, struct why *why) {
    if (SSL_set_fd(session, fd) != 1) {
        SSL_free(session);
        return why_set(why, ERR_NOMEM, "TLS: no memory");
    }
    *transport = (struct transport){.tls = session};
    return OK;
}

enum err transport_accept(struct engine *engine, struct transport *transport, int fd,
                          struct why *why) {
    struct ssl_st *session;
    enum err err = tls_new_session(engine->tls, NULL, false, &session, why);
    return err ? err : use(transport, session, fd, why);
}

/* As Redis: the chain is verified and the name is not, since masters are named by addresses. */
enum err transport_dial(struct engine *engine, struct transport *transport, int fd,
                        const char *host, struct why *why) {
    struct tls_options options = transport_client_options(engine);
    struct tls *tls;
    struct ssl_st *session;
    (void)host;
    enum err err = tls_client_open(&tls, &options, why);
    if (err) return err;
    struct tls_rules rules = rules_of(engine);
    err = tls_apply(tls, &rules, why); /* nobody else in this process dials with the context */
    if (err == OK) err = tls_new_session(tls, NULL, true, &session, why);
    tls_close(tls); /* the session holds what it needs */
    return err ? err : use(transport, session, fd, why);
}

void transport_close(struct transport *transport) {
    if (transport->tls == NULL) return;
    if (SSL_is_init_finished(transport->tls)) (void)SSL_shutdown(transport->tls);
    ERR_clear_error();
    SSL_free(transport->tls);
    *transport = (struct transport){0};
}

void transport_abandon(struct transport *transport) {
    if (transport->tls) SSL_free(transport->tls);
    *transport = (struct transport){0};
}

/* The result of an OpenSSL call that did not succeed, as one of read(2). */
static ssize_t no_success(struct transport *transport, int result, bool reading) {
    switch (SSL_get_error(transport->tls, result)) {
    case SSL_ERROR_WANT_READ:
        transport->write_wants_read = !reading;
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_WANT_WRITE:
        transport->read_wants_write = reading;
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_SYSCALL:
        if (ERR_peek_error() == 0) {
            if (errno == 0) return 0;
            return -1;
        }
        break;
    default: break;
    }
    struct why why;
    (void)tls_why(transport->tls, ERR_PROTO, "TLS", &why);
    (void)snprintf(fault, sizeof fault, "%.199s", why.text);
    errno = EPROTO;
    return -1;
}

ssize_t transport_read(struct transport *transport, int fd, void *bytes, size_t size) {
    if (transport->tls == NULL) return read(fd, bytes, size);
    ERR_clear_error();
    errno = 0;
    transport->read_wants_write = false;
    int got = SSL_read(transport->tls, bytes, (int)(size < CALL_BYTES_MAX ? size : CALL_BYTES_MAX));
    return got > 0 ? got : no_success(transport, got, true);
}

ssize_t transport_write(struct transport *transport, int fd, const void *bytes, size_t size) {
    if (transport->tls == NULL) return send(fd, bytes, size, MSG_NOSIGNAL);
    ERR_clear_error();
    errno = 0;
    transport->write_wants_read = false;
    int put =
        SSL_write(transport->tls, bytes, (int)(size < CALL_BYTES_MAX ? size : CALL_BYTES_MAX));
    if (put > 0) return put;
    ssize_t result = no_success(transport, put, false);
    if (result == 0) errno = EPIPE;
    return -1;
}

bool transport_has_more(const struct transport *transport) {
    return transport->tls && SSL_pending(transport->tls) > 0;
}
