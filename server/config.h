/* config.h -- options: redis.conf, the command line, CONFIG GET/SET/REWRITE.
 *
 * Modules register tables of options whose values live in struct settings (settings.h). `apply`, if
 * given, is called after a value was changed by CONFIG SET (not at start); if it fails, the old
 * value is put back and the error is the client's.
 */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include "lib/base/buf.h"
#include "lib/base/slice.h"
#include "lib/base/why.h"
#include "server/settings.h"

struct engine;

enum config_kind {
    CONFIG_BOOL,   /* bool: yes, no */
    CONFIG_INT,    /* int64_t within min..max */
    CONFIG_OCTAL,  /* int64_t, written in base 8 */
    CONFIG_MEMORY, /* int64_t bytes: 100, 1k, 1mb, 1gb within min..max */
    CONFIG_TEXT,   /* char * */
    CONFIG_ENUM,   /* int64_t: an index into `names` (NULL at the end) */
    CONFIG_CUSTOM, /* read and write functions */
};

enum config_flag {
    CONFIG_FIXED = 1,     /* not by CONFIG SET */
    CONFIG_SECRET = 2,    /* not in logs */
    CONFIG_PROTECTED = 4, /* by CONFIG SET only with enable-protected-configs */
    CONFIG_MULTI = 8,     /* takes several words (save, client-output-buffer-limit, bind) */
    CONFIG_HIDDEN = 16,   /* not matched by patterns */
    CONFIG_SETTLED = 32,  /* not to be changed while data is being loaded */
};

struct config_option {
    const char *name, *alias; /* alias: NULL or the old name */
    enum config_kind kind;
    unsigned flags;
    size_t offset; /* in struct settings */
    int64_t min, max;
    const char *const *names;
    const char *fallback; /* the default, as it would be written in the file */
    enum err (*apply)(struct engine *engine, struct why *why);
    enum err (*read)(struct engine *engine, int argc, const struct slice *argv, struct why *why);
    void (*write)(struct engine *engine, struct buf *out);
    /* Before CONFIG SET touches anything: something is to be waited for first. True: C is blocked, and
     * whoever ends that calls config_set_now() by block_run(). NULL: never. */
    bool (*prepare)(struct client *c, struct slice value);
    /* After CONFIG SET: true: C is blocked, and is answered +OK by whoever ends that. NULL: never. */
    bool (*settle)(struct client *c);
};

/* Execute the client's CONFIG SET, without what options would wait for first. */
void config_set_now(struct client *c);

/* Another part wants to know when CONFIG SET changed the option NAME (at start nobody is told). If
 * it fails, the old value is put back and the error is the client's. */
typedef enum err config_changed(struct engine *engine, struct why *why);
void config_watch(struct engine *engine, const char *name, config_changed *fn);

void config_register(struct engine *engine, const struct config_option *options, size_t count);
/* Set by name, as a line of a file would. */
MUST_CHECK enum err config_set(struct engine *engine, struct slice name, int argc,
                               const struct slice *argv, struct why *why);

#endif
