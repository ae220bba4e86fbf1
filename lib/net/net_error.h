/* net_error.h -- the system's errors of sockets as our codes and words. */
#ifndef LIB_NET_NET_ERROR_H
#define LIB_NET_NET_ERROR_H

#include "lib/base/why.h"

/* ERROR is an errno value. */
enum err net_err(int error);

/* "connection refused": as strerror(), but in lower case, into TEXT, which is returned. */
#define NET_REASON_BYTES 96
const char *net_reason(int error, char text[NET_REASON_BYTES]);

/* DOING: "reason", and the code for it. */
enum err net_fail(struct why *why, int error, const char *doing, const char *where);

#endif
