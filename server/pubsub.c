/* pubsub.c -- publish and subscribe.
 *
 * Three spaces of names (channels, patterns, shard channels), each a table of topics; a topic has
 * the list of its subscriptions, a client a table of its own per space, so that both directions are
 * found at once.
 */
#include "server/pubsub.h"

#include "lib/base/mem.h"
#include "server/args.h"
#include "server/cluster_bus.h"
#include "server/drawbridge.h"
#include "server/engine.h"
#include "server/output.h"
#include "server/reply.h"

enum space { CHANNELS, PATTERNS, SHARDS, SPACES };

struct topic {
    struct subscription *first, *last;
    size_t count;
    size_t size;
    uint8_t name[];
};

struct subscription {
    struct client *c;
    struct topic *topic;
    struct subscription *next, *prev;
};

struct engine_pubsub {
    struct table topics[SPACES];
};

struct client_pubsub {
    size_t bytes; /* of subscriptions and names */
    struct table subscriptions[SPACES];
};

static struct slice topic_name(const void *item) {
    const struct topic *topic = item;
    return slice_from(topic->name, topic->size);
}

static struct slice subscription_name(const void *item) {
    const struct subscription *s = item;
    return topic_name(s->topic);
}

static const struct table_type topic_type = {topic_name}, subscription_type = {subscription_name};

static struct engine_pubsub *of(struct engine *engine) {
    if (engine->pubsub == NULL) {
        engine->pubsub = NEW(struct engine_pubsub);
        for (int i = 0; i < SPACES; i++) table_init(&engine->pubsub->topics[i], &topic_type);
    }
    return engine->pubsub;
}

static struct client_pubsub *of_client(struct client *c) {
    if (c->pubsub == NULL) {
        c->pubsub = NEW(struct client_pubsub);
        for (int i = 0; i < SPACES; i++)
            table_init(&c->pubsub->subscriptions[i], &subscription_type);
    }
    return c->pubsub;
}

/* ---- subscribing ---- */

static bool subscribe(struct client *c, enum space space, struct slice name) {
    struct table *topics = &of(c->engine)->topics[space];
    struct table *mine = &of_client(c)->subscriptions[space];
    if (table_find(mine, name)) return false;
    struct topic *topic = table_find(topics, name);
    if (topic == NULL) {
        topic = mem_alloc(sizeof *topic + name.size);
        *topic = (struct topic){.size = name.size};
        if (name.size) memcpy(topic->name, name.data, name.size);
        table_add(topics, topic);
    }
    struct subscription *s = NEW(struct subscription);
    *s = (struct subscription){.c = c, .topic = topic, .prev = topic->last};
    if (topic->last)
        topic->last->next = s;
    else
        topic->first = s;
    topic->last = s;
    topic->count++;
    table_add(mine, s);
    c->pubsub->bytes += sizeof *s + name.size + sizeof(void *);
    return true;
}

static void end_subscription(struct engine *engine, enum space space, struct subscription *s) {
    struct topic *topic = s->topic;
    if (s->prev)
        s->prev->next = s->next;
    else
        topic->first = s->next;
    if (s->next)
        s->next->prev = s->prev;
    else
        topic->last = s->prev;
    mem_free(s);
    if (--topic->count > 0) return;
    (void)table_take(&of(engine)->topics[space], topic_name(topic));
    mem_free(topic);
}

static bool unsubscribe(struct client *c, enum space space, struct slice name) {
    if (c->pubsub == NULL) return false;
    struct subscription *s = table_take(&c->pubsub->subscriptions[space], name);
    if (s) c->pubsub->bytes -= sizeof *s + name.size + sizeof(void *);
    if (s) end_subscription(c->engine, space, s);
    return s != NULL;
}

static struct subscription *any_subscription(struct client *c, enum space space) {
    struct table_iter iter;
    table_iter_init(&iter, &c->pubsub->subscriptions[space]);
    return table_iter_next(&iter);
}

void pubsub_unsubscribe_all(struct client *c) {
    for (int i = 0; c->pubsub && i < SPACES; i++)
        for (struct subscription *s; (s = any_subscription(c, (enum space)i)) != NULL;)
            (void)unsubscribe(c, (enum space)i, subscription_name(s));
    c->flags &= ~(uint64_t)CLIENT_PUBSUB;
}

void pubsub_forget(struct client *c) {
    pubsub_unsubscribe_all(c);
    mem_free(c->pubsub);
    c->pubsub = NULL;
}

void pubsub_count(const struct client *c, size_t counts[3]) {
    for (int i = 0; i < SPACES; i++)
        counts[i] = c->pubsub ? table_count(&c->pubsub->subscriptions[i]) : 0;
}

bool pubsub_all_pass(struct client *c, bool (*pass)(void *ctx, struct slice channel, bool pattern),
                     void *ctx) {
    for (int i = 0; c->pubsub && i < SPACES; i++) {
        struct table_iter iter;
        table_iter_init(&iter, &c->pubsub->subscriptions[i]);
        for (struct subscription *s; (s = table_iter_next(&iter)) != NULL;)
            if (!pass(ctx, subscription_name(s), i == PATTERNS)) return false;
    }
    return true;
}

size_t pubsub_memory(const struct client *c) {
    return c->pubsub ? sizeof *c->pubsub + c->pubsub->bytes : 0;
}

void pubsub_totals(const struct engine *engine, size_t totals[3]) {
    for (int i = 0; i < SPACES; i++)
        totals[i] = engine->pubsub ? table_count(&engine->pubsub->topics[i]) : 0;
}

bool pubsub_is_heard(const struct engine *engine) {
    return engine->pubsub && table_count(&engine->pubsub->topics[CHANNELS]) +
                                     table_count(&engine->pubsub->topics[PATTERNS]) >
                                 0;
}

/* ---- publishing ---- */

static void send_message(struct client *c, const char *kind, const struct slice *pattern,
                         struct slice channel, struct slice message) {
    uint64_t muted =
        c->flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP); /* what is pushed is no reply */
    c->flags &= ~muted;
    reply_push(c, pattern ? 4 : 3);
    reply_bulk_text(c, kind);
    if (pattern) reply_bulk(c, *pattern);
    reply_bulk(c, channel);
    reply_bulk(c, message);
    c->flags |= muted;
    output_check_limit(c);
}

int64_t pubsub_publish(struct engine *engine, struct slice channel, struct slice message,
                       bool sharded) {
    if (engine->pubsub == NULL) return 0;
    int64_t receivers = 0;
    struct topic *topic = table_find(&engine->pubsub->topics[sharded ? SHARDS : CHANNELS], channel);
    for (struct subscription *s = topic ? topic->first : NULL; s; s = s->next, receivers++)
        send_message(s->c, sharded ? "smessage" : "message", NULL, channel, message);
    if (sharded || table_count(&engine->pubsub->topics[PATTERNS]) == 0) return receivers;
    struct table_iter iter;
    table_iter_init(&iter, &engine->pubsub->topics[PATTERNS]);
    while ((topic = table_iter_next(&iter)) != NULL) {
        struct slice pattern = topic_name(topic);
        if (!pattern_matches(pattern, channel, false)) continue;
        for (struct subscription *s = topic->first; s; s = s->next, receivers++)
            send_message(s->c, "pmessage", &pattern, channel, message);
    }
    return receivers;
}

/* ---- commands ---- */

static int64_t subscriptions(const struct client *c, enum space space) {
    size_t counts[3];
    pubsub_count(c, counts);
    return space == SHARDS ? (int64_t)counts[SHARDS]
                           : (int64_t)(counts[CHANNELS] + counts[PATTERNS]);
}

static void confirm(struct client *c, const char *kind, enum space space,
                    const struct slice *name) {
    uint64_t muted = c->flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP);
    c->flags &= ~muted;
    reply_push(c, 3);
    reply_bulk_text(c, kind);
    if (name)
        reply_bulk(c, *name);
    else
        reply_null(c);
    reply_int(c, subscriptions(c, space));
    c->flags |= muted;
}

static void note_state(struct client *c) {
    if (subscriptions(c, CHANNELS) + subscriptions(c, SHARDS) > 0)
        c->flags |= CLIENT_PUBSUB;
    else
        c->flags &= ~(uint64_t)CLIENT_PUBSUB;
}

static void subscribe_all(struct client *c, const char *kind, enum space space) {
    if (c->flags & CLIENT_EXECUTING && c->resp == 2 && c->flags & CLIENT_SCRIPT) {
        reply_error(c, "ERR %s is not allowed here", c->command->name);
        return;
    }
    for (int i = 1; i < c->argc; i++) {
        (void)subscribe(c, space, c->argv[i]);
        confirm(c, kind, space, &c->argv[i]);
    }
    note_state(c);
}

static void unsubscribe_some(struct client *c, const char *kind, enum space space) {
    for (int i = 1; i < c->argc; i++) {
        (void)unsubscribe(c, space, c->argv[i]);
        confirm(c, kind, space, &c->argv[i]);
    }
    if (c->argc == 1) {
        struct subscription *s = c->pubsub ? any_subscription(c, space) : NULL;
        if (s == NULL) confirm(c, kind, space, NULL);
        for (; s; s = any_subscription(c, space)) {
            struct slice name = subscription_name(s);
            void *copy = mem_dup(name.data, name.size);
            name = slice_from(copy, name.size);
            (void)unsubscribe(c, space, name);
            confirm(c, kind, space, &name);
            mem_free(copy);
        }
    }
    note_state(c);
}

static void run_subscribe(struct client *c) {
    subscribe_all(c, "subscribe", CHANNELS);
}
static void run_psubscribe(struct client *c) {
    subscribe_all(c, "psubscribe", PATTERNS);
}
static void run_ssubscribe(struct client *c) {
    subscribe_all(c, "ssubscribe", SHARDS);
}
static void run_unsubscribe(struct client *c) {
    unsubscribe_some(c, "unsubscribe", CHANNELS);
}
static void run_punsubscribe(struct client *c) {
    unsubscribe_some(c, "punsubscribe", PATTERNS);
}
static void run_sunsubscribe(struct client *c) {
    unsubscribe_some(c, "sunsubscribe", SHARDS);
}

/* To replicas by the stream; in cluster mode to all nodes by connections of ours, as in Redis. What
 * a master says there (a checkpoint) goes on to our own replicas. */
static void publish(struct client *c, bool sharded) {
    int64_t receivers = pubsub_publish(c->engine, c->argv[1], c->argv[2], sharded);
    c->engine->stats.pubsub_messages += (uint64_t)receivers;
    if (c->engine->cluster && !(c->flags & (CLIENT_MASTER | CLIENT_LOADING)))
        cluster_bus_publish(c->engine, c->argv[1], c->argv[2], sharded);
    else
        c->flags |= CLIENT_FORCE_REPL;
    reply_int(c, receivers);
}

static void run_publish(struct client *c) {
    (void)drawbridge_take_publish(c);
    publish(c, false);
}

static void run_spublish(struct client *c) {
    publish(c, true);
}

static void list_topics(struct client *c, enum space space) {
    size_t mark = reply_later(c), count = 0;
    struct table_iter iter;
    table_iter_init(&iter, &of(c->engine)->topics[space]);
    for (struct topic *topic; (topic = table_iter_next(&iter)) != NULL;) {
        if (c->argc == 3 && !pattern_matches(c->argv[2], topic_name(topic), false)) continue;
        reply_bulk(c, topic_name(topic));
        count++;
    }
    reply_later_array(c, mark, count);
}

static void count_subscribers(struct client *c, enum space space) {
    reply_array(c, (size_t)(c->argc - 2) * 2);
    for (int i = 2; i < c->argc; i++) {
        struct topic *topic = table_find(&of(c->engine)->topics[space], c->argv[i]);
        reply_bulk(c, c->argv[i]);
        reply_int(c, topic ? (int64_t)topic->count : 0);
    }
}

static void run_pubsub(struct client *c) {
    static const char *const help[] = {"CHANNELS [<pattern>]",
                                       "    Channels that have subscribers.",
                                       "NUMPAT",
                                       "    How many patterns have subscribers.",
                                       "NUMSUB [<channel> ...]",
                                       "    Subscribers of each channel, without patterns.",
                                       "SHARDCHANNELS [<pattern>]",
                                       "    Shard channels that have subscribers.",
                                       "SHARDNUMSUB [<shardchannel> ...]",
                                       "    Subscribers of each shard channel.",
                                       NULL};
    struct slice sub = c->argv[1];
    if (arg_is(sub, "help") && c->argc == 2)
        reply_help(c, help);
    else if (arg_is(sub, "channels") && c->argc <= 3)
        list_topics(c, CHANNELS);
    else if (arg_is(sub, "shardchannels") && c->argc <= 3)
        list_topics(c, SHARDS);
    else if (arg_is(sub, "numsub"))
        count_subscribers(c, CHANNELS);
    else if (arg_is(sub, "shardnumsub"))
        count_subscribers(c, SHARDS);
    else if (arg_is(sub, "numpat") && c->argc == 2)
        reply_int(c, (int64_t)table_count(&of(c->engine)->topics[PATTERNS]));
    else
        reply_unknown_subcommand(c);
}

void pubsub_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"subscribe", run_subscribe},       {"psubscribe", run_psubscribe},
        {"ssubscribe", run_ssubscribe},     {"unsubscribe", run_unsubscribe},
        {"punsubscribe", run_punsubscribe}, {"sunsubscribe", run_sunsubscribe},
        {"publish", run_publish},           {"spublish", run_spublish},
        {"pubsub|channels", run_pubsub},    {"pubsub|numpat", run_pubsub},
        {"pubsub|numsub", run_pubsub},      {"pubsub|shardchannels", run_pubsub},
        {"pubsub|shardnumsub", run_pubsub}, {"pubsub|help", run_pubsub}};
    command_bind(engine, bindings, COUNT(bindings));
}
