/* pubsub.h -- channels, patterns, shard channels: who listens, and publishing to them. */
#ifndef SERVER_PUBSUB_H
#define SERVER_PUBSUB_H

#include "lib/base/slice.h"

struct client;
struct engine;

void pubsub_commands_bind(struct engine *engine);
/* To all who listen; how many got it. */
int64_t pubsub_publish(struct engine *engine, struct slice channel, struct slice message,
                       bool sharded);
bool pubsub_is_heard(
    const struct engine *engine); /* does anyone listen to channels or patterns at all? */
void pubsub_forget(struct client *c);
/* RESET: all subscriptions end, without replies. */
void pubsub_unsubscribe_all(struct client *c);
/* Whether PASS says yes to every channel, pattern and shard channel that the client listens to. */
bool pubsub_all_pass(struct client *c, bool (*pass)(void *ctx, struct slice channel, bool pattern),
                     void *ctx);
/* For CLIENT LIST: channels, patterns, shard channels. */
void pubsub_count(const struct client *c, size_t counts[3]);
size_t pubsub_memory(const struct client *c); /* bytes */
void pubsub_totals(const struct engine *engine, size_t totals[3]);

#endif
