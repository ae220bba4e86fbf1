/* net_error.c -- errors of sockets. See net_error.h. */
#include "lib/net/net_error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum err net_err(int error) {
    switch (error) {
    case ECONNREFUSED:
    case EACCES:
    case EPERM: return ERR_REFUSED;
    case ETIMEDOUT: return ERR_TIMEOUT;
    case ENOMEM:
    case ENOBUFS: return ERR_NOMEM;
    case EMFILE:
    case ENFILE: return ERR_LIMIT;
    case EADDRINUSE: return ERR_EXISTS;
    case ENOENT: return ERR_REFUSED; /* a Unix socket that is not there */
    default: return ERR_IO;
    }
}

const char *net_reason(int error, char text[NET_REASON_BYTES]) {
    char room[NET_REASON_BYTES];
    (void)snprintf(text, NET_REASON_BYTES, "%s", strerror_r(error, room, sizeof room));
    bool is_word = text[0] >= 'A' && text[0] <= 'Z' && text[1] >= 'a' && text[1] <= 'z';
    if (is_word) text[0] = (char)(text[0] + ('a' - 'A'));
    return text;
}

enum err net_fail(struct why *why, int error, const char *doing, const char *where) {
    char reason[NET_REASON_BYTES];
    return why_set(why, net_err(error), "%s %s: %s", doing, where, net_reason(error, reason));
}
