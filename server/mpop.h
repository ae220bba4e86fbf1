/* mpop.h -- what LMPOP, ZMPOP and their blocking forms have in common: numkeys key [key ...] END
 * [COUNT count], the first key that is there, and how the popping leaves for replicas (as a plain
 * pop of the number that was really popped).
 *
 * Each blocking command reads its arguments again when it is served. Behaviour and texts follow
 * Redis 7.0 (t_list.c, t_zset.c, blocked.c).
 */
#ifndef SERVER_MPOP_H
#define SERVER_MPOP_H

#include "server/block.h"
#include "server/typed.h"

struct mpop_kind {
    enum type type;
    const char *ends[2]; /* LEFT and RIGHT, MIN and MAX */
    const char *pops[2]; /* the commands that replicas get, by end */
    /* Reply the array of COUNT elements (0 < COUNT <= length), remove them, note what changed. */
    void (*give)(struct client *c, struct slice key, struct typed *t, int end, size_t count);
};

void mpop_run(struct client *c, const struct mpop_kind *kind);
void mpop_run_blocking(struct client *c, const struct mpop_kind *kind, const struct block_how *how);
/* For block_how.serve of the blocking form. */
bool mpop_serve(struct client *c, struct slice key, struct entry *e, const struct mpop_kind *kind);

#endif
