/* output.c -- limits of what may wait to be sent to a client. */
#include "server/output.h"

#include "server/client_memory.h"

static const struct output_limit *limit_of(const struct client *c) {
    enum output_class class = c->flags & CLIENT_REPLICA  ? OUTPUT_REPLICA
                              : c->flags & CLIENT_PUBSUB ? OUTPUT_PUBSUB
                                                         : OUTPUT_NORMAL;
    return &c->engine->settings.output_limits[class];
}

void output_check_limit(struct client *c) {
    const struct output_limit *limit = limit_of(c);
    uint64_t size = buf_size(&c->out), now_ms = c->engine->now_us / 1000;
    client_memory_note(c);
    if (size == 0 || c->flags & (CLIENT_FAKE | CLIENT_CLOSE_NOW)) {
        c->soft_limit_since_ms = 0;
        return;
    }
    bool over = limit->hard_bytes && size > (uint64_t)limit->hard_bytes;
    if (limit->soft_bytes && size > (uint64_t)limit->soft_bytes) {
        if (c->soft_limit_since_ms == 0)
            c->soft_limit_since_ms = now_ms ? now_ms : 1;
        else if (now_ms - c->soft_limit_since_ms > (uint64_t)limit->soft_seconds * 1000)
            over = true;
    } else
        c->soft_limit_since_ms = 0;
    if (!over) return;
    engine_log(c->engine, '#',
               "Client id=%llu addr=%s closed for overcoming of output buffer limits.",
               (unsigned long long)c->id, c->peer);
    client_close_later(c);
}
