/* sorter.c -- the keys of one side of an audit, sorted on disk. See sorter.h.
 *
 * On disk a record is struct fixed and the key's bytes. A run is read by fread() in order.
 */
#include "syncer/sorter.h"

#include "lib/base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wcast-qual"
#include <xxhash.h>
#pragma GCC diagnostic pop

struct fixed {
    uint64_t high, low;
    struct digest digest;
    int64_t expire_ms;
    uint32_t db, type, key_size, unused;
};

struct run {
    FILE *file; /* NULL: read to its end */
    struct fixed head;
    struct buf key;
};

struct sorter {
    char *path;
    size_t memory_bytes;
    struct buf data;  /* records, one after the other */
    size_t *at;       /* where they begin in `data` */
    size_t count, cap;
    uint64_t total;
    struct run *runs;
    size_t run_count;
    struct run *current; /* whose record was told last */
};

struct sorter *sorter_new(const char *path, size_t memory_bytes) {
    struct sorter *s = NEW(struct sorter);
    s->path = mem_strdup(path);
    s->memory_bytes = memory_bytes;
    return s;
}

static void run_path(const struct sorter *s, size_t run, char path[4400]) { snprintf(path, 4400, "%s.%zu", s->path, run); }

void sorter_free(struct sorter *s) {
    if (!s) return;
    for (size_t i = 0; i < s->run_count; i++) {
        char path[4400];
        if (s->runs[i].file) fclose(s->runs[i].file);
        buf_close(&s->runs[i].key);
        run_path(s, i, path);
        remove(path);
    }
    mem_free(s->runs);
    mem_free(s->at);
    buf_close(&s->data);
    mem_free(s->path);
    mem_free(s);
}

static int compare_fixed(const struct fixed *a, const struct fixed *b) {
    if (a->high != b->high) return a->high < b->high ? -1 : 1;
    return a->low < b->low ? -1 : a->low > b->low;
}

static int by_hash(const void *a, const void *b, void *data) {
    struct fixed x, y;
    memcpy(&x, (const uint8_t *)data + *(const size_t *)a, sizeof x);
    memcpy(&y, (const uint8_t *)data + *(const size_t *)b, sizeof y);
    return compare_fixed(&x, &y);
}

static enum err spill(struct sorter *s, struct why *why) {
    char path[4400];
    if (s->count == 0) return OK;
    qsort_r(s->at, s->count, sizeof *s->at, by_hash, s->data.data);
    s->runs = mem_realloc(s->runs, (s->run_count + 1) * sizeof *s->runs);
    struct run *run = &s->runs[s->run_count];
    *run = (struct run){0};
    run_path(s, s->run_count++, path);
    run->file = fopen(path, "w+be");
    if (!run->file) return why_set(why, ERR_IO, "open %s: %s", path, strerror(errno));
    bool fine = true;
    for (size_t i = 0; i < s->count && fine; i++) {
        struct fixed f;
        memcpy(&f, s->data.data + s->at[i], sizeof f);
        fine = fwrite(s->data.data + s->at[i], sizeof f + f.key_size, 1, run->file) == 1;
    }
    if (!fine || fflush(run->file) != 0)
        return why_set(why, errno == ENOSPC ? ERR_DISK_FULL : ERR_IO, "write %s: %s", path, strerror(errno));
    s->count = 0;
    buf_clear(&s->data);
    return OK;
}

enum err sorter_add(struct sorter *s, const struct digest_key *key, struct why *why) {
    struct slice name = key->key->key;
    XXH128_hash_t h = XXH3_128bits_withSeed(name.size ? name.data : (const uint8_t *)"", name.size, key->key->db);
    struct fixed f = {.high = h.high64, .low = h.low64, .digest = key->digest, .expire_ms = key->key->expire_at_ms,
                      .db = key->key->db, .type = (uint32_t)key->key->type, .key_size = (uint32_t)name.size};
    if (s->count == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 1024;
        s->at = mem_realloc(s->at, s->cap * sizeof *s->at);
    }
    s->at[s->count++] = buf_size(&s->data);
    buf_append(&s->data, &f, sizeof f);
    buf_add(&s->data, name);
    s->total++;
    return buf_size(&s->data) + s->count * sizeof *s->at > s->memory_bytes ? spill(s, why) : OK;
}

static enum err load(struct run *run, struct why *why) {
    if (fread(&run->head, sizeof run->head, 1, run->file) != 1) {
        bool bad = ferror(run->file) != 0;
        fclose(run->file);
        run->file = NULL;
        return bad ? why_set(why, ERR_IO, "read a file of the audit") : OK;
    }
    buf_clear(&run->key);
    size_t size = run->head.key_size;
    if (size > 0 && fread(buf_room(&run->key, size), size, 1, run->file) != 1) return why_set(why, ERR_IO, "a file of the audit is cut");
    buf_filled(&run->key, size);
    return OK;
}

enum err sorter_finish(struct sorter *s, struct why *why) {
    enum err err = spill(s, why);
    buf_close(&s->data);
    for (size_t i = 0; i < s->run_count && err == OK; i++) {
        rewind(s->runs[i].file);
        err = load(&s->runs[i], why);
    }
    return err;
}

enum err sorter_next(struct sorter *s, struct sorter_record *record, bool *end, struct why *why) {
    if (s->current) {
        enum err err = load(s->current, why);
        if (err != OK) return err;
    }
    struct run *least = NULL;
    for (size_t i = 0; i < s->run_count; i++)
        if (s->runs[i].file && (!least || compare_fixed(&s->runs[i].head, &least->head) < 0)) least = &s->runs[i];
    s->current = least;
    *end = least == NULL;
    if (!least) return OK;
    const struct fixed *f = &least->head;
    *record = (struct sorter_record){.hash_high = f->high, .hash_low = f->low, .digest = f->digest, .expire_ms = f->expire_ms,
                                     .db = f->db, .type = f->type, .key = buf_slice(&least->key)};
    return OK;
}

uint64_t sorter_count(const struct sorter *s) { return s->total; }
