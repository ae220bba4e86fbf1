/* address.h -- socket addresses as text. */
#ifndef LIB_NET_ADDRESS_H
#define LIB_NET_ADDRESS_H

#include "lib/net/endpoint.h"

#include <stdbool.h>

/* The socket's own address, or its peer's, as endpoint_format() writes it; "unknown" when the
 * system does not say. Returns TEXT. */
const char *address_of_socket(int fd, bool peer, char text[ENDPOINT_TEXT]);

#endif
