/* address.c -- socket addresses as text. */
#include "lib/net/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static void format_unix(const struct sockaddr_un *address, char text[ENDPOINT_TEXT]) {
    /* A client's socket has no path, and an abstract one begins with NUL. */
    (void)snprintf(text, ENDPOINT_TEXT, "unix:%.*s", (int)sizeof address->sun_path,
                   address->sun_path);
}

const char *address_of_socket(int fd, bool peer, char text[ENDPOINT_TEXT]) {
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
        struct sockaddr_un local;
        struct sockaddr_storage room;
    } address;
    memset(&address, 0, sizeof address);
    socklen_t size = sizeof address;
    int code = peer ? getpeername(fd, &address.any, &size) : getsockname(fd, &address.any, &size);
    char host[INET6_ADDRSTRLEN] = "";
    (void)snprintf(text, ENDPOINT_TEXT, "unknown");
    if (code != 0) return text;
    if (address.any.sa_family == AF_INET &&
        inet_ntop(AF_INET, &address.four.sin_addr, host, sizeof host))
        (void)snprintf(text, ENDPOINT_TEXT, "%s:%u", host, ntohs(address.four.sin_port));
    if (address.any.sa_family == AF_INET6 &&
        inet_ntop(AF_INET6, &address.six.sin6_addr, host, sizeof host))
        (void)snprintf(text, ENDPOINT_TEXT, "[%s]:%u", host, ntohs(address.six.sin6_port));
    if (address.any.sa_family == AF_UNIX) format_unix(&address.local, text);
    return text;
}
