/* pool.h -- a free list for small objects of one size, for one thread (one per loop).
 *
 * Taken objects are zeroed. What is given back beyond KEEP objects goes back to the allocator.
 * In sanitizer builds nothing is kept, so that use after free is seen.
 */
#ifndef LIB_BASE_POOL_H
#define LIB_BASE_POOL_H

#include "lib/base/mem.h"

#include <string.h>

struct pool {
    size_t size;       /* bytes per object; at least a pointer */
    size_t keep, kept; /* objects */
    size_t taken;      /* objects that are out */
    void *free_list;   /* through the first bytes of each */
};

static inline void pool_init(struct pool *pool, size_t size, size_t keep) {
    if (size < sizeof(void *)) size = sizeof(void *);
    *pool = (struct pool){.size = size, .keep = keep};
}

static inline void *pool_take(struct pool *pool) {
    pool->taken++;
    void *object = pool->free_list;
    if (object == NULL) return mem_zalloc(pool->size);
    memcpy(&pool->free_list, object, sizeof(void *));
    pool->kept--;
    return memset(object, 0, pool->size);
}

static inline void pool_give(struct pool *pool, void *object) {
    if (object == NULL) return;
    ASSERT(pool->taken > 0);
    pool->taken--;
#ifdef __SANITIZE_ADDRESS__
    mem_free(object);
#else
    if (pool->kept == pool->keep) {
        mem_free(object);
        return;
    }
    memcpy(object, &pool->free_list, sizeof(void *));
    pool->free_list = object;
    pool->kept++;
#endif
}

/* Frees what is kept; what is still out is the caller's leak. */
static inline void pool_close(struct pool *pool) {
    while (pool->free_list) {
        void *object = pool->free_list;
        memcpy(&pool->free_list, object, sizeof(void *));
        mem_free(object);
    }
    pool->kept = 0;
}

#endif
