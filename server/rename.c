/* rename.c -- rename-command: commands that go by another name here, or by none. */
#include "server/command.h"

#include "lib/base/mem.h"
#include "server/engine.h"

struct rename {
    struct rename *next;
    const struct command *command;
    size_t size; /* of the new name; 0: it has none */
    uint8_t name[];
};

/* What a command goes by here; NULL: by its own name. */
static struct rename *rename_of(const struct engine *engine, const struct command *top) {
    struct rename *r = engine->renames;
    while (r && r->command != top) r = r->next;
    return r;
}

/* The command that a first word calls. */
static const struct command *find_here(const struct engine *engine, struct slice name) {
    for (const struct rename *r = engine->renames; r; r = r->next)
        if (r->size && slice_equal_nocase(name, slice_from(r->name, r->size))) return r->command;
    const struct command *own = command_find(name);
    return own && rename_of(engine, own) ? NULL : own;
}

enum err command_rename(struct engine *engine, struct slice from, struct slice to,
                        struct why *why) {
    const struct command *command = find_here(engine, from);
    if (command == NULL) return why_set(why, ERR_CONFIG, "No such command in rename-command");
    if (to.size > 0 && find_here(engine, to))
        return why_set(why, ERR_CONFIG, "Target command name already exists");
    struct rename *r = mem_alloc(sizeof *r + to.size), *old = rename_of(engine, command);
    *r = (struct rename){.next = engine->renames, .command = command, .size = to.size};
    if (to.size) memcpy(r->name, to.data, to.size);
    engine->renames = r;
    if (old) {
        struct rename **at = &r->next;
        while (*at != old) at = &(*at)->next;
        *at = old->next;
        mem_free(old);
    }
    return OK;
}

bool command_is_gone(const struct engine *engine, const struct command *command) {
    const struct rename *r = rename_of(engine, command_at(command->parent));
    return r && r->size == 0;
}

const struct command *command_lookup_named(const struct engine *engine, size_t argc,
                                           const struct slice *argv) {
    const struct command *top = find_here(engine, argv[0]);
    if (top == NULL) return NULL;
    struct slice words[2] = {slice_text(top->name), argc > 1 ? argv[1] : SLICE("")};
    return command_lookup(argc > 2 ? 2 : argc, words);
}

const struct command *command_of_path(const struct engine *engine, struct slice path) {
    const uint8_t *bar = path.size ? memchr(path.data, '|', path.size) : NULL;
    if (bar == NULL) return find_here(engine, path);
    size_t size = (size_t)(bar - path.data);
    const struct command *container = find_here(engine, slice_take(path, size));
    return container ? command_find_sub(container, slice_drop(path, size + 1)) : NULL;
}
