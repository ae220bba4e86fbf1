/* bit_args.h -- what the commands on bits share. Texts follow Redis 7.0 (bitops.c). */
#ifndef SERVER_BIT_ARGS_H
#define SERVER_BIT_ARGS_H

#include "server/args.h"
#include "server/command.h"
#include "server/engine.h"
#include "server/reply.h"

/* The place of a bit in a string that may exist; WIDTH not 0: "#n" is n times that. */
MUST_CHECK bool arg_bit_offset(struct client *c, struct slice arg, unsigned width,
                               uint64_t *offset);

/* The string of the client's first key with bit LAST in it, writable from bit FIRST to LAST: its
 * bytes, or NULL with the error replied. *GREW: it is new or longer than before. */
uint8_t *bits_write(struct client *c, uint64_t first, uint64_t last, size_t *size, bool *grew);

#endif
