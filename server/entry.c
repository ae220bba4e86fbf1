/* entry.c -- the layout of an entry, and making and freeing it. */
#include "server/entry.h"

#include "lib/base/mem.h"
#include "server/args.h"
#include "server/helper.h"

#define HEADER sizeof(struct entry)
#define BLOB_FREE_ON_HELPER (1u << 20) /* bytes: giving these back to the kernel takes its time */

_Static_assert(sizeof(struct entry) == 8, "an entry's header is 8 bytes");

static size_t value_at(const struct entry *e) {
    return HEADER + (e->flags & ENTRY_EXPIRES ? 8 : 0);
}

static size_t key_at(const struct entry *e) {
    return value_at(e) + (e->flags & ENTRY_INLINE ? 0 : 8) + (e->flags & ENTRY_LONG_KEY ? 4 : 0);
}

static const uint8_t *bytes_of(const struct entry *e) {
    return (const uint8_t *)e;
}

struct slice entry_key(const struct entry *e) {
    size_t at = key_at(e);
    if (!(e->flags & ENTRY_LONG_KEY)) return slice_from(bytes_of(e) + at, e->key_size);
    uint32_t size;
    memcpy(&size, bytes_of(e) + at - 4, 4);
    return slice_from(bytes_of(e) + at, size);
}

int64_t entry_expiry(const struct entry *e) {
    if (!(e->flags & ENTRY_EXPIRES)) return -1;
    int64_t expiry_ms;
    memcpy(&expiry_ms, bytes_of(e) + HEADER, 8);
    return expiry_ms;
}

void *entry_ptr(const struct entry *e) {
    ASSERT(!(e->flags & ENTRY_INLINE) && entry_encoding(e) != ENC_INT);
    void *ptr;
    memcpy(&ptr, bytes_of(e) + value_at(e), sizeof ptr);
    return ptr;
}

void entry_set_ptr(struct entry *e, enum encoding encoding, void *ptr) {
    ASSERT(!(e->flags & ENTRY_INLINE));
    e->kind = (uint8_t)(entry_type(e) | encoding << 4);
    memcpy((uint8_t *)e + value_at(e), &ptr, sizeof ptr);
}

int64_t entry_number(const struct entry *e) {
    ASSERT(entry_encoding(e) == ENC_INT);
    int64_t number;
    memcpy(&number, bytes_of(e) + value_at(e), 8);
    return number;
}

struct slice entry_string(const struct entry *e, char scratch[ENTRY_INT_TEXT]) {
    if (e->flags & ENTRY_INLINE) {
        struct slice key = entry_key(e);
        return slice_from(key.data + key.size, e->inline_size);
    }
    if (entry_encoding(e) == ENC_INT)
        return slice_from(scratch, number_write_int(scratch, entry_number(e)));
    const struct blob *blob = entry_ptr(e);
    return slice_from(blob->bytes, blob->size);
}

size_t entry_string_size(const struct entry *e) {
    char scratch[ENTRY_INT_TEXT];
    return entry_string(e, scratch).size;
}

struct value entry_value(const struct entry *e) {
    struct value value = {.type = entry_type(e), .encoding = entry_encoding(e)};
    if (value.type != TYPE_STRING)
        value.ptr = entry_ptr(e);
    else if (value.encoding == ENC_INT)
        value.number = entry_number(e);
    else
        value.bytes = entry_string(e, NULL);
    return value;
}

static bool goes_inline(const struct value *value) {
    return value->type == TYPE_STRING && value->encoding != ENC_INT &&
           value->bytes.size <= ENTRY_INLINE_MAX;
}

/* What stands at value_at(): a number, or a pointer to a container or a new blob. */
static void put_word(struct entry *e, const struct value *value) {
    uint8_t *at = (uint8_t *)e + value_at(e);
    if (value->encoding == ENC_INT) {
        memcpy(at, &value->number, 8);
        return;
    }
    void *ptr = value->ptr;
    if (value->type == TYPE_STRING) {
        struct blob *blob = mem_alloc(sizeof *blob + value->bytes.size);
        blob->size = blob->room = value->bytes.size;
        memcpy(blob->bytes, value->bytes.data, value->bytes.size);
        ptr = blob;
    }
    memcpy(at, &ptr, sizeof ptr);
}

/* The allocator's classes up to 256 bytes (jemalloc) are so far apart. */
static size_t class_step(size_t size) {
    return size > 128 ? 32 : 16;
}

/* Ask for all of the class, so that a value may grow into it later (inline_fits). */
static size_t whole_class(size_t size) {
    size_t step = class_step(size);
    return size > 256 ? size : (size + step - 1) / step * step;
}

struct entry *entry_new(struct slice key, const struct value *value, int64_t expiry_ms) {
    bool inlined = goes_inline(value), long_key = key.size > 254, expires = expiry_ms != -1;
    size_t size = HEADER + (expires ? 8 : 0) + (inlined ? value->bytes.size : 8) +
                  (long_key ? 4 : 0) + key.size;
    struct entry *e = mem_alloc(whole_class(size));
    *e = (struct entry){.kind = (uint8_t)(value->type | value->encoding << 4),
                        .flags =
                            (uint8_t)((expires ? ENTRY_EXPIRES : 0) | (inlined ? ENTRY_INLINE : 0) |
                                      (long_key ? ENTRY_LONG_KEY : 0)),
                        .key_size = (uint8_t)(long_key ? 0 : key.size),
                        .inline_size = (uint8_t)(inlined ? value->bytes.size : 0)};
    uint8_t *at = (uint8_t *)e;
    if (expires) memcpy(at + HEADER, &expiry_ms, 8);
    if (!inlined) put_word(e, value);
    uint8_t *key_place = at + key_at(e);
    uint32_t key_size = (uint32_t)key.size;
    if (long_key) memcpy(key_place - 4, &key_size, 4);
    if (key.size) memcpy(key_place, key.data, key.size);
    if (inlined && value->bytes.size)
        memcpy(key_place + key.size, value->bytes.data, value->bytes.size);
    return e;
}

static void free_block(void *block) {
    mem_free(block);
}

static void blob_free(struct blob *blob) {
    if (blob->room >= BLOB_FREE_ON_HELPER)
        helper_run(free_block, blob);
    else
        mem_free(blob);
}

void entry_free(struct entry *e) {
    if (entry_type(e) != TYPE_STRING) {
        struct value value = entry_value(e);
        value_free(&value);
    } else if (!(e->flags & ENTRY_INLINE) && entry_encoding(e) != ENC_INT) {
        blob_free(entry_ptr(e));
    }
    mem_free(e);
}

void entry_free_shell(struct entry *e) {
    mem_free(e);
}

/* ---- changing a string where it is ---- */

enum form { FORM_INLINE, FORM_NUMBER, FORM_BLOB, FORM_CONTAINER };

static enum form form_of(const struct entry *e) {
    if (e->flags & ENTRY_INLINE) return FORM_INLINE;
    if (entry_type(e) != TYPE_STRING) return FORM_CONTAINER;
    return entry_encoding(e) == ENC_INT ? FORM_NUMBER : FORM_BLOB;
}

static bool same_class(size_t a, size_t b) {
    return a <= 256 && b <= 256 && whole_class(a) == whole_class(b);
}

static bool inline_fits(const struct entry *e, size_t size) {
    size_t rest = key_at(e) + entry_key(e).size;
    return size <= ENTRY_INLINE_MAX &&
           (size == e->inline_size || same_class(rest + size, rest + e->inline_size));
}

bool entry_fits(const struct entry *e, const struct value *value, int64_t expiry_ms) {
    if (value->type != TYPE_STRING || entry_expires(e) != (expiry_ms != -1)) return false;
    enum form form = form_of(e);
    if (value->encoding == ENC_INT) return form == FORM_NUMBER;
    if (form == FORM_INLINE) return inline_fits(e, value->bytes.size);
    if (form != FORM_BLOB || value->bytes.size <= ENTRY_INLINE_MAX) return false;
    const struct blob *blob = entry_ptr(e);
    return value->bytes.size <= blob->room && value->bytes.size >= blob->room / 2;
}

void entry_overwrite_expiry(struct entry *e, int64_t expiry_ms) {
    ASSERT(entry_expires(e));
    memcpy((uint8_t *)e + HEADER, &expiry_ms, 8);
}

void entry_overwrite(struct entry *e, const struct value *value, int64_t expiry_ms) {
    enum form form = form_of(e);
    e->kind = (uint8_t)(TYPE_STRING | value->encoding << 4);
    if (expiry_ms != -1) entry_overwrite_expiry(e, expiry_ms);
    if (form == FORM_NUMBER) {
        memcpy((uint8_t *)e + value_at(e), &value->number, 8);
    } else if (form == FORM_INLINE) {
        size_t at = key_at(e) + entry_key(e).size;
        e->inline_size = (uint8_t)value->bytes.size;
        if (value->bytes.size) memmove((uint8_t *)e + at, value->bytes.data, value->bytes.size);
    } else {
        struct blob *blob = entry_ptr(e);
        memmove(blob->bytes, value->bytes.data, value->bytes.size);
        blob->size = value->bytes.size;
    }
}

struct entry *entry_with_expiry(const struct entry *e, int64_t expiry_ms) {
    struct slice key = entry_key(e);
    size_t old_at = value_at(e),
           rest = key_at(e) - old_at + key.size + (e->flags & ENTRY_INLINE ? e->inline_size : 0);
    size_t new_at = HEADER + (expiry_ms != -1 ? 8 : 0);
    struct entry *moved = mem_alloc(whole_class(new_at + rest));
    *moved = *e;
    moved->flags = (uint8_t)((e->flags & ~ENTRY_EXPIRES) | (expiry_ms != -1 ? ENTRY_EXPIRES : 0));
    if (expiry_ms != -1) entry_overwrite_expiry(moved, expiry_ms);
    memcpy((uint8_t *)moved + new_at, bytes_of(e) + old_at, rest);
    return moved;
}

/* A blob of SIZE bytes with room to grow into, the new part zero. */
static struct blob *blob_resize(struct blob *blob, size_t size) {
    if (size > blob->room) {
        size_t room = size < (1u << 20) ? size * 2 : size + (1u << 20);
        blob = mem_realloc(blob, sizeof *blob + room);
        blob->room = room;
    }
    if (size > blob->size) memset(blob->bytes + blob->size, 0, size - blob->size);
    blob->size = size;
    return blob;
}

static struct entry *string_to_blob(const struct entry *e, struct slice text, size_t new_size,
                                    uint8_t **bytes) {
    struct value empty = {.type = TYPE_STRING, .encoding = ENC_INT};
    struct entry *moved = entry_new(entry_key(e), &empty, entry_expiry(e));
    size_t room = text.size > 0 ? new_size * 2 : new_size; /* one that grows will grow again */
    struct blob *blob = mem_alloc(sizeof *blob + room);
    blob->room = room;
    blob->size = text.size < new_size ? text.size : new_size;
    if (blob->size) memcpy(blob->bytes, text.data, blob->size);
    blob = blob_resize(blob, new_size);
    entry_set_ptr(moved, ENC_RAW, blob);
    moved->colours = e->colours;
    memcpy(moved->access, e->access, sizeof moved->access);
    *bytes = blob->bytes;
    return moved;
}

/* Short strings: a new entry unless the room of the old one will do. */
static struct entry *string_stay_inline(struct entry *e, struct slice text, size_t new_size,
                                        uint8_t **bytes) {
    uint8_t scratch[ENTRY_INLINE_MAX] = {0};
    size_t kept = text.size < new_size ? text.size : new_size;
    if (kept) memcpy(scratch, text.data, kept);
    struct value value = {
        .type = TYPE_STRING, .encoding = ENC_RAW, .bytes = slice_from(scratch, new_size)};
    if (form_of(e) == FORM_INLINE && inline_fits(e, new_size)) {
        entry_overwrite(e, &value, entry_expiry(e));
    } else {
        struct entry *moved = entry_new(entry_key(e), &value, entry_expiry(e));
        moved->colours = e->colours;
        memcpy(moved->access, e->access, sizeof moved->access);
        e = moved;
    }
    *bytes = (uint8_t *)e + key_at(e) + entry_key(e).size;
    return e;
}

struct entry *entry_string_resize(struct entry *e, size_t new_size, uint8_t **bytes) {
    if (form_of(e) == FORM_BLOB) {
        struct blob *blob = blob_resize(entry_ptr(e), new_size);
        entry_set_ptr(e, ENC_RAW, blob);
        *bytes = blob->bytes;
        return e;
    }
    char scratch[ENTRY_INT_TEXT];
    struct slice text = entry_string(e, scratch);
    if (new_size <= ENTRY_INLINE_MAX) return string_stay_inline(e, text, new_size, bytes);
    return string_to_blob(e, text, new_size, bytes);
}

size_t entry_memory(const struct entry *e, size_t samples) {
    size_t bytes = mem_size(e);
    if (entry_type(e) != TYPE_STRING)
        return bytes + value_ops(entry_type(e))->memory(entry_encoding(e), entry_ptr(e), samples);
    bool blob = !(e->flags & ENTRY_INLINE) && entry_encoding(e) != ENC_INT;
    return bytes + (blob ? mem_size(entry_ptr(e)) : 0);
}
