/* value_rdb.h -- values of the keyspace to and from the bytes of an RDB.
 *
 * Reading: a builder is a handler for lib/redis/rdb_read.h or dump.h that makes struct values, in
 * the encoding that they would have if commands had made them, and gives each to `emit`. What the
 * reader checked is adopted byte for byte (intsets, listpacks, nodes of streams). It touches no
 * engine, so it may run on a helper thread. Functions are refused.
 */
#ifndef SERVER_VALUE_RDB_H
#define SERVER_VALUE_RDB_H

#include "lib/redis/rdb_read.h"
#include "lib/redis/rdb_write.h"
#include "server/limits.h"
#include "server/value.h"

struct list_node;
struct xstream;

struct value_builder {
    struct rdb_handler
        handler; /* give this to the reader; aux, end and others may be set by the owner */
    struct type_limits limits;
    struct value value;          /* under construction; ptr NULL: none */
    struct xstream_group *group; /* of a stream: the last one */
    struct xstream_consumer *consumer;
    void *self;
    /* The value is complete. Containers are the callee's from here on, also when it fails; a
     * string's bytes die when it returns. */
    enum err (*emit)(void *self, const struct rdb_key *key, const struct value *value,
                     struct why *why);
    struct rdb_key key; /* the one under construction */
};

/* HANDLER's `self` is the builder; SELF is for EMIT. */
void value_builder_init(struct value_builder *builder, const struct type_limits *limits, void *self,
                        enum err (*emit)(void *self, const struct rdb_key *key,
                                         const struct value *value, struct why *why));
/* Frees what was left unfinished by an error. */
void value_builder_close(struct value_builder *builder);

/* The RDB type that value_put() writes for VALUE: one that Redis 7.0 reads. */
uint8_t value_rdb_type(const struct value *value);
/* Append the serialised value. */
void value_put(struct buf *out, const struct value *value, enum rdb_pack pack);
/* The type for readers of RDB up to VERSION, 6 at least: what is a listpack here is a ziplist for
 * them, and a list of several nodes is written item by item for those that know no quicklists.
 * RDB_NO_TYPE: they have none for it. */
#define RDB_NO_TYPE 255
uint8_t value_rdb_type_for(const struct value *value, unsigned version);
/* RDB_TYPE is what value_rdb_type_for() said. */
void value_put_as(struct buf *out, const struct value *value, uint8_t rdb_type, enum rdb_pack pack);
/* A part of a value so written: a node of a list. For RDB_LIST that is its items. */
void value_put_list_node(struct buf *out, const struct list_node *node, uint8_t rdb_type,
                         enum rdb_pack pack);
/* What stands behind the nodes of a stream: what it knows of itself, and its groups. */
void value_put_stream_tail(struct buf *out, const struct xstream *stream, uint8_t rdb_type);

#endif
