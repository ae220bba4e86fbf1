/* secret.h -- a password that cannot be logged by accident and is wiped when it is done with.
 *
 * Its own type: it fits neither LOG_S() nor printf. It is read by secret_text() where it is sent.
 * Source texts: "file:/path" (first line of the file, at most 4 KB), "env:NAME". The text itself is
 * not accepted in configuration, since files and argument lists get copied around.
 */
#ifndef LIB_BASE_SECRET_H
#define LIB_BASE_SECRET_H

#include "lib/base/slice.h"
#include "lib/base/why.h"

struct secret {
    char *hidden; /* NULL: none; owned */
    size_t size;  /* bytes, without the NUL */
};

/* REFERENCE as above. Errors never quote what was found. An empty secret is an error. */
MUST_CHECK enum err secret_load(struct secret *secret, const char *reference, struct why *why);
void secret_set(struct secret *secret, struct slice value);     /* the old value is wiped */
void secret_copy(struct secret *to, const struct secret *from); /* TO zeroed or set before */
void secret_close(struct secret *secret);                       /* wiped and zeroed */

static inline bool secret_is_set(const struct secret *secret) {
    return secret->hidden != NULL;
}
static inline struct slice secret_slice(const struct secret *secret) {
    return slice_from(secret->hidden, secret->size);
}
/* Takes the same time wherever they differ. An unset secret equals nothing. */
bool secret_equal(const struct secret *secret, struct slice given);

void secret_wipe(void *bytes, size_t size); /* not optimised away */

#endif
