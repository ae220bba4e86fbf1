/* secret.c -- passwords. See secret.h. */
#include "lib/base/secret.h"

#include "lib/base/fs.h"
#include "lib/base/mem.h"

#include <stdlib.h>
#include <strings.h>

#define SECRET_BYTES_MAX 4096

void secret_wipe(void *bytes, size_t size) {
    if (size) explicit_bzero(bytes, size);
}

void secret_close(struct secret *secret) {
    if (secret->hidden) secret_wipe(secret->hidden, secret->size);
    mem_free(secret->hidden);
    *secret = (struct secret){0};
}

void secret_set(struct secret *secret, struct slice value) {
    char *copy = mem_alloc(value.size + 1);
    if (value.size) memcpy(copy, value.data, value.size);
    copy[value.size] = '\0';
    secret_close(secret);
    *secret = (struct secret){copy, value.size};
}

void secret_copy(struct secret *to, const struct secret *from) {
    if (secret_is_set(from))
        secret_set(to, secret_slice(from));
    else
        secret_close(to);
}

static enum err take_line(struct secret *secret, struct slice text, const char *where,
                          struct why *why) {
    const uint8_t *end = text.size ? memchr(text.data, '\n', text.size) : NULL;
    if (end) text = slice_take(text, (size_t)(end - text.data));
    if (text.size && text.data[text.size - 1] == '\r') text = slice_take(text, text.size - 1);
    if (text.size == 0) return why_set(why, ERR_CONFIG, "%s holds an empty secret", where);
    if (memchr(text.data, '\0', text.size))
        return why_set(why, ERR_CONFIG, "%s holds a NUL byte", where);
    secret_set(secret, text);
    return OK;
}

enum err secret_load(struct secret *secret, const char *reference, struct why *why) {
    if (strncmp(reference, "env:", 4) == 0) {
        const char *value = getenv(reference + 4);
        if (value == NULL)
            return why_set(why, ERR_CONFIG, "the environment has no variable %s", reference + 4);
        return take_line(secret, slice_text(value), reference, why);
    }
    if (strncmp(reference, "file:", 5) == 0) {
        struct buf text = {0};
        enum err err = fs_read_file(reference + 5, SECRET_BYTES_MAX, &text, why);
        if (err == OK) err = take_line(secret, buf_slice(&text), reference, why);
        secret_wipe(text.data, text.cap);
        buf_close(&text);
        return err;
    }
    return why_set(why, ERR_CONFIG,
                   "a secret is given as file:/path or env:NAME, not as itself (what was found is "
                   "not repeated here)");
}

bool secret_equal(const struct secret *secret, struct slice given) {
    if (!secret_is_set(secret)) return false;
    unsigned differ = secret->size != given.size;
    for (size_t i = 0; i < given.size; i++)
        differ |= (unsigned)(given.data[i] ^ (uint8_t)secret->hidden[i % (secret->size + 1)]);
    return differ == 0;
}
