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

enum err command_rename(struct engine *engine, struct slice from, struct slice to,
                        struct why *why) {
    const struct command *command = command_find(from);
    if (command == NULL) return why_set(why, ERR_CONFIG, "No such command in rename-command");
    if (to.size > 0 && command_find(to))
        return why_set(why, ERR_CONFIG, "Target command name already exists");
    struct rename *r = mem_alloc(sizeof *r + to.size);
    *r = (struct rename){.next = engine->renames, .command = command, .size = to.size};
    if (to.size) memcpy(r->name, to.data, to.size);
    engine->renames = r;
    return OK;
}

const struct command *command_lookup_named(const struct engine *engine, size_t argc,
                                           const struct slice *argv) {
    const struct command *found = command_lookup(argc, argv);
    const struct command *top = found ? command_at(found->parent) : command_find(argv[0]);
    for (const struct rename *r = engine->renames; r; r = r->next) {
        if (top == r->command) return NULL;
        if (top != NULL || !slice_equal_nocase(argv[0], slice_from(r->name, r->size))) continue;
        struct slice words[2] = {slice_text(r->command->name), argc > 1 ? argv[1] : SLICE("")};
        return command_lookup(argc > 2 ? 2 : argc, words);
    }
    return found;
}
