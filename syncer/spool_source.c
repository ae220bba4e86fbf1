/* spool_source.c -- the RDB in the spool as a source of bytes, waited for as it arrives. See copy.h. */
#include "lib/base/mem.h"
#include "lib/redis/rdb_read.h"
#include "syncer/copy.h"

#include <unistd.h>

struct spool_source {
    struct rdb_source source; /* first */
    struct link *link;
    uint64_t generation, position;
    int fd;
};

static enum err read_more(struct rdb_source *source, void *into, size_t size, size_t *got, struct why *why) {
    struct spool_source *s = (struct spool_source *)source;
    for (;;) {
        bool complete = false;
        struct link_orders orders;
        link_get_orders(s->link, &orders);
        if (orders.stop || orders.begin_again || orders.role != LINK_ACTIVE) return why_set(why, ERR_STOPPED, "the link stops");
        enum err err = spool_read_rdb(s->link->spool, s->generation, &s->fd, s->position, into, size, got, &complete, why);
        if (err != OK) return err;
        s->position += *got;
        if (*got > 0 || complete) return OK;
        link_sleep(s->link, 100);
    }
}

struct rdb_source *spool_source_open(struct link *link, uint64_t generation, uint64_t position) {
    struct spool_source *s = NEW(struct spool_source);
    *s = (struct spool_source){.source = {.read = read_more}, .link = link, .generation = generation, .position = position, .fd = -1};
    return &s->source;
}

void spool_source_close(struct rdb_source *source) {
    struct spool_source *s = (struct spool_source *)source;
    if (s->fd >= 0) close(s->fd);
    mem_free(s);
}
