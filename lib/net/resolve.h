/* resolve.h -- look a host's name up within a bound of time, for threads that may block.
 *
 * getaddrinfo() has no timeout of ours: a name server that is silent holds it for half a minute. So
 * it runs in a thread of its own, which is left behind when it takes too long and ends by itself.
 * At most RESOLVE_HANGING_MAX are left behind; while there are as many, names are not looked up
 * (addresses are: they need no thread).
 */
#ifndef LIB_NET_RESOLVE_H
#define LIB_NET_RESOLVE_H

#include "lib/base/why.h"

#include <stdint.h>

#define RESOLVE_HANGING_MAX 16

struct addrinfo;

/* *FOUND, with one address at least, is freed by freeaddrinfo(). ERR_IO: there is no such name;
 * ERR_TIMEOUT. */
MUST_CHECK enum err resolve_name(const char *host, uint16_t port, uint32_t timeout_ms,
                                 struct addrinfo **found, struct why *why);

/* Tests put a slow getaddrinfo() here. */
typedef int resolve_lookup(const char *host, const char *port, const struct addrinfo *hints,
                           struct addrinfo **found);
extern resolve_lookup *resolve_by;

#endif
