/* scripts.h -- the bodies of the Lua scripts that clients sent, by SHA-1 (C27).
 *
 * One store for all loops, behind a lock that is held for a copy at most. Bounded: 10,000 scripts
 * and 64 MB; when it is full the one that was added first goes. Hashes that clients used without
 * their body ever passing here are remembered too (up to 10,000): each is a script that the other
 * side may miss, which is a gate.
 */
#ifndef GATEWAY_SCRIPTS_H
#define GATEWAY_SCRIPTS_H

#include "lib/base/buf.h"
#include "lib/base/slice.h"

struct scripts;

struct scripts *scripts_open(void);
void scripts_close(struct scripts *scripts); /* NULL is fine */

/* Remember BODY. Cheap when it is known already. */
void scripts_add(struct scripts *scripts, struct slice body);

/* Append the body of the script SHA (40 hexadecimal digits in any case) to OUT. False, and SHA is
 * noted as missing, when it is not known. OUT NULL: only ask. */
bool scripts_find(struct scripts *scripts, struct slice sha, struct buf *out);

void scripts_clear(struct scripts *scripts); /* SCRIPT FLUSH */

size_t scripts_count(struct scripts *scripts);
size_t scripts_missing(struct scripts *scripts);

/* Append a SCRIPT LOAD request for each to OUT; returns how many. */
size_t scripts_write_loads(struct scripts *scripts, struct buf *out);

#endif
