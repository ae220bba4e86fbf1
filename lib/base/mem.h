/* mem.h -- memory. Small sizes that we chose ourselves abort when memory is gone (mem_*); sizes
 * that come from outside are checked against a named limit first and use the try_ form.
 *
 * Everything from here is freed with mem_free(). The allocator behind it is jemalloc.
 */
#ifndef LIB_BASE_MEM_H
#define LIB_BASE_MEM_H

#include "lib/base/check.h"

#include <stddef.h>

void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull, alloc_size(1)));
void *mem_zalloc(size_t size) __attribute__((malloc, returns_nonnull, alloc_size(1)));
void *mem_realloc(void *old, size_t size) __attribute__((returns_nonnull, alloc_size(2)));
char *mem_strdup(const char *text) __attribute__((malloc, returns_nonnull));
void *mem_dup(const void *data, size_t size) __attribute__((malloc, returns_nonnull));

/* NULL when there is no memory, or when the fault injector says so. */
MUST_CHECK void *mem_try_alloc(size_t size) __attribute__((malloc, alloc_size(1)));
MUST_CHECK void *mem_try_realloc(void *old, size_t size) __attribute__((alloc_size(2)));

void mem_free(void *block);

/* The bytes that the allocator really set aside for BLOCK; 0 for NULL. */
size_t mem_size(const void *block);

#define NEW(type) ((type *)mem_zalloc(sizeof(type)))
#define NEW_ARRAY(type, count) ((type *)mem_zalloc(sizeof(type) * (count)))

#endif
