/* config_inside.h -- the machinery of options, shared by config*.c. */
#ifndef SERVER_CONFIG_INSIDE_H
#define SERVER_CONFIG_INSIDE_H

#include "server/engine.h"

#define CONFIG_TABLES_MAX 8
#define CONFIG_WATCHERS_MAX 32

struct engine_config {
    struct {
        const struct config_option *options;
        size_t count;
    } tables[CONFIG_TABLES_MAX];
    size_t table_count;
    struct {
        const char *name;
        config_changed *fn;
    } watchers[CONFIG_WATCHERS_MAX];
    size_t watcher_count;
    char **kept; /* values of the options that are only remembered, by their place in config_kept */
};

/* Options that Redis has, that mean nothing here, and that files and tools set nevertheless. */
struct config_kept {
    const char *name, *fallback, *alias; /* alias: NULL or the old name */
};
extern const struct config_kept config_kept[];
extern const size_t config_kept_count;
void config_core_register(struct engine *engine);

const struct config_option *config_find(struct engine *engine, struct slice name);
/* Index into config_kept, or -1. */
int config_find_kept(struct slice name);
/* Read a value and put it into the settings; WHY says only what is wrong with the value. */
MUST_CHECK enum err config_read_value(struct engine *engine, const struct config_option *option,
                                      int argc, const struct slice *argv, struct why *why);
/* The value as CONFIG GET shows it. */
void config_write_value(struct engine *engine, const struct config_option *option, struct buf *out);
/* Split a value that was given as one argument into words (CONFIG_MULTI and quoting); at most MAX.
 */
int config_split(struct slice text, struct buf *room, struct slice *words, int max);
bool config_read_memory(struct slice text, int64_t *bytes); /* 100, 1k, 1mb */
void config_commands_bind(struct engine *engine);
MUST_CHECK enum err config_rewrite(struct engine *engine, bool all, struct why *why);

#endif
