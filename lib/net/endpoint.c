/* endpoint.c -- addresses as text. See endpoint.h. */
#include "lib/net/endpoint.h"

#include "lib/base/mem.h"
#include "lib/base/slice.h"

#include <arpa/inet.h>
#include <stdio.h>

#define EXPECTED "expected host:port, [address]:port or unix:/path"

static enum err parse_port(const char *digits, const char *whole, uint16_t *port, struct why *why) {
    int64_t number;
    if (!slice_to_int(slice_text(digits), &number) || number < 0 || number > 65535)
        return why_set(why, ERR_CONFIG, "'%.100s': '%.20s' is not a port between 0 and 65535",
                       whole, digits);
    *port = (uint16_t)number;
    return OK;
}

static enum err parse_unix(struct endpoint *endpoint, const char *path, struct why *why) {
    if (*path == '\0')
        return why_set(why, ERR_CONFIG, "'unix:': the path of the socket is missing");
    size_t size = strlen(path);
    if (size >= sizeof endpoint->path)
        return why_set(why, ERR_CONFIG, "'unix:%.60s...': the path is longer than %zu bytes", path,
                       sizeof endpoint->path - 1);
    endpoint->kind = ENDPOINT_UNIX;
    memcpy(endpoint->path, path, size + 1);
    return OK;
}

static bool host_is_plausible(struct slice host) {
    for (size_t i = 0; i < host.size; i++) {
        uint8_t c = host.data[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '.' || c == '-' || c == '_' || c == ':' || c == '%';
        if (!fine) return false;
    }
    return true;
}

/* Split TEXT into host and port; *PORT is NULL when there is none. */
static enum err split(const char *text, struct slice *host, const char **port, struct why *why) {
    *port = NULL;
    if (*text == '[') {
        const char *end = strchr(text, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':'))
            return why_set(why, ERR_CONFIG, "'%.100s': %s", text, EXPECTED);
        *host = slice_from(text + 1, (size_t)(end - text) - 1);
        if (end[1] == ':') *port = end + 2;
        return OK;
    }
    const char *colon = strchr(text, ':');
    if (colon && strchr(colon + 1, ':'))
        return why_set(why, ERR_CONFIG,
                       "'%.100s': an IPv6 address is written in brackets, as [::1]:6379", text);
    *host = slice_from(text, colon ? (size_t)(colon - text) : strlen(text));
    if (colon) *port = colon + 1;
    return OK;
}

enum err endpoint_parse(struct endpoint *endpoint, const char *text, uint16_t default_port,
                        struct why *why) {
    struct endpoint made = {0};
    enum err err;
    if (strncmp(text, "unix:", 5) == 0 || *text == '/') {
        err = parse_unix(&made, *text == '/' ? text : text + 5, why);
        if (err == OK) *endpoint = made;
        return err;
    }
    struct slice host;
    const char *port;
    err = split(text, &host, &port, why);
    if (err) return err;
    if (host.size >= sizeof made.host || !host_is_plausible(host) || (host.size == 0 && !port))
        return why_set(why, ERR_CONFIG, "'%.100s': %s", text, EXPECTED);
    made.kind = ENDPOINT_TCP;
    made.port = default_port;
    if (host.size) memcpy(made.host, host.data, host.size);
    if (port) {
        err = parse_port(port, text, &made.port, why);
        if (err) return err;
    } else if (default_port == 0) {
        return why_set(why, ERR_CONFIG, "'%.100s': the port is missing; %s", text, EXPECTED);
    }
    *endpoint = made;
    return OK;
}

const char *endpoint_format(const struct endpoint *endpoint, char text[ENDPOINT_TEXT]) {
    switch (endpoint->kind) {
    case ENDPOINT_NONE: (void)snprintf(text, ENDPOINT_TEXT, "none"); break;
    case ENDPOINT_UNIX: (void)snprintf(text, ENDPOINT_TEXT, "unix:%s", endpoint->path); break;
    case ENDPOINT_TCP:
        (void)snprintf(text, ENDPOINT_TEXT, strchr(endpoint->host, ':') ? "[%s]:%u" : "%s:%u",
                       endpoint->host, endpoint->port);
        break;
    }
    return text;
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b) {
    if (a->kind != b->kind) return false;
    if (a->kind == ENDPOINT_UNIX) return strcmp(a->path, b->path) == 0;
    return strcmp(a->host, b->host) == 0 && a->port == b->port;
}

static char *copy_text(const char *text) {
    return text ? mem_strdup(text) : NULL;
}

void tls_options_copy(struct tls_options *to, const struct tls_options *from) {
    struct tls_options copy = {
        .on = from->on,
        .insecure = from->insecure,
        .ca = copy_text(from->ca),
        .cert = copy_text(from->cert),
        .key = copy_text(from->key),
        .server_name = copy_text(from->server_name),
    };
    *to = copy;
}

void tls_options_close(struct tls_options *options) {
    mem_free(options->ca);
    mem_free(options->cert);
    mem_free(options->key);
    mem_free(options->server_name);
    *options = (struct tls_options){0};
}

void endpoint_copy(struct endpoint *to, const struct endpoint *from) {
    *to = *from;
    tls_options_copy(&to->tls, &from->tls);
}

void endpoint_close(struct endpoint *endpoint) {
    tls_options_close(&endpoint->tls);
    *endpoint = (struct endpoint){0};
}
