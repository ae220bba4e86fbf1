/* quote.h -- bytes in double quotes with escapes, as redis-cli can read them back. */
#ifndef SERVER_QUOTE_H
#define SERVER_QUOTE_H

#include "lib/base/buf.h"

void quote_add(struct buf *out, struct slice bytes);

#endif
