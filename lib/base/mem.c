/* mem.c -- memory, by jemalloc (by the C library in sanitizer builds). */
#include "lib/base/mem.h"

#include "lib/base/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <malloc.h>
#include <stdint.h>

static _Noreturn void out_of_memory(size_t size) {
    fprintf(stderr, "out of memory: %zu bytes\n", size);
    abort();
}

void *mem_alloc(size_t size) {
    void *block = malloc(size ? size : 1);
    if (block == NULL) out_of_memory(size);
    return block;
}

void *mem_zalloc(size_t size) {
    void *block = calloc(1, size ? size : 1);
    if (block == NULL) out_of_memory(size);
    return block;
}

void *mem_realloc(void *old, size_t size) {
    void *block = realloc(old, size ? size : 1);
    if (block == NULL) out_of_memory(size);
    return block;
}

char *mem_strdup(const char *text) {
    return mem_dup(text, strlen(text) + 1);
}

void *mem_dup(const void *data, size_t size) {
    void *copy = mem_alloc(size);
    if (size) memcpy(copy, data, size);
    return copy;
}

void *mem_try_alloc(size_t size) {
    if (fault_now(FAULT_MEMORY)) return NULL;
    return malloc(size ? size : 1);
}

void *mem_try_realloc(void *old, size_t size) {
    if (fault_now(FAULT_MEMORY)) return NULL;
    return realloc(old, size ? size : 1);
}

void mem_free(void *block) {
    free(block);
}

size_t mem_size(const void *block) {
    return block ? malloc_usable_size((void *)(uintptr_t)block) : 0;
}
