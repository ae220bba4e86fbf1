/* greet.h -- the first words on a raw connection that will become a replica's: AUTH, CLIENT SETNAME. */
#ifndef SYNCER_GREET_H
#define SYNCER_GREET_H

#include "lib/base/buf.h"
#include "lib/control/config.h"

struct wire;

/* IN is used for what the server sends, and keeps what came beyond the answers. ERR_REFUSED: the password. */
MUST_CHECK enum err wire_greet(struct wire *wire, const struct config_side *side, const char *name, struct buf *in,
                               struct why *why);

#endif
