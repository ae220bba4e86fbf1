/* access.h -- how recently (LRU) or how often (LFU) a key was used, in 24 bits.
 *
 * LRU: seconds modulo 2^24. LFU: minutes in the upper 16 bits, a logarithmic counter in the low 8,
 * as Redis 7.0 evict.c describes them. The bits are written while readers on other threads may
 * look: any value will do for them.
 */
#ifndef SERVER_ACCESS_H
#define SERVER_ACCESS_H

#include "server/entry.h"

struct engine;

void access_start(struct engine *engine, struct entry *e); /* a new entry */
uint32_t access_word(const struct engine *engine); /* what that is now */
void access_touch(struct engine *engine, struct entry *e); /* it was used */
int64_t access_idle_s(const struct engine *engine, const struct entry *e);
int access_frequency(const struct engine *engine, const struct entry *e); /* decayed; 0..255 */
/* RESTORE with IDLETIME or FREQ, and RDB. */
void access_set_idle_s(struct engine *engine, struct entry *e, int64_t idle_s);
void access_set_frequency(struct engine *engine, struct entry *e, int frequency);
static inline bool access_is_lfu(int64_t policy) {
    return policy == 1 || policy == 5;
}

#endif
