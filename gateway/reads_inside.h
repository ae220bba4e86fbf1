/* reads_inside.h -- what the files of reads_loop.h share; nobody else includes it. */
#ifndef GATEWAY_READS_INSIDE_H
#define GATEWAY_READS_INSIDE_H

#include "gateway/reads_loop.h"

struct reads_loop {
    struct worker *worker;
    uint32_t dice;
    uint64_t not_before_us; /* no canaries: the other side was slow */
    struct list canaries;   /* struct canary */
    struct list shadows;    /* struct shadow: on their way */
    struct list again;      /* struct shadow: differed, and are read again when they are due */
    size_t open;            /* of both */
};

void reads_stream_tick(struct reads_loop *loop);
void reads_stream_close(struct reads_loop *loop);

#endif
