/* limits.h -- the sizes at which small encodings of values give way to big ones.
 *
 * The values of CONFIG with the same names (hash-max-listpack-entries and so on), live. Whoever
 * changes a value of a container passes the limits of this moment; containers keep none of them.
 * Defaults and meaning follow Redis 7.0 (redis.conf).
 */
#ifndef SERVER_LIMITS_H
#define SERVER_LIMITS_H

#include <stdint.h>

struct type_limits {
    int64_t hash_max_listpack_entries; /* pairs */
    int64_t hash_max_listpack_value;   /* bytes of a field or value */
    int64_t set_max_intset_entries;    /* members */
    int64_t zset_max_listpack_entries; /* members; 0: never a listpack */
    int64_t zset_max_listpack_value;   /* bytes of a member */
    int64_t list_max_listpack_size;    /* elements a node if positive; -1..-5: 4..64 KB a node */
    int64_t stream_node_max_bytes;     /* of a node; 0: no bound but a listpack's own */
    int64_t stream_node_max_entries;   /* in a node; 0: no bound */
    int64_t list_packed_threshold;     /* bytes; an element of this size gets a node of its own */
};

#define TYPE_LIMITS_DEFAULT                                                                        \
    {                                                                                              \
        .hash_max_listpack_entries = 512, .hash_max_listpack_value = 64,                           \
        .set_max_intset_entries = 512, .zset_max_listpack_entries = 128,                           \
        .zset_max_listpack_value = 64, .list_max_listpack_size = -2,                               \
        .stream_node_max_bytes = 4096, .stream_node_max_entries = 100,                             \
        .list_packed_threshold = 1 << 30                                                           \
    }

#endif
