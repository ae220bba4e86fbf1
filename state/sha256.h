/* sha256.h -- the hash that chains the ledger's events. */
#ifndef STATE_SHA256_H
#define STATE_SHA256_H

#include "lib/base/slice.h"

/* 64 lower-case hexadecimal characters and a NUL. */
void sha256_hex(struct slice bytes, char hex[65]);

#endif
