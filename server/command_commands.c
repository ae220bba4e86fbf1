/* command_commands.c -- COMMAND: the table of commands, of those that are bound here. */
#include "lib/base/mem.h"
#include "server/args.h"
#include "server/command_docs.h"
#include "server/engine.h"
#include "server/groups.h"
#include "server/reply.h"

#include <ctype.h>

bool command_is_there(const struct engine *engine, const struct command *spec) {
    if (engine->renames && command_is_gone(engine, spec)) return false;
    if (engine->uses[spec->index].run) return true;
    for (size_t i = 0; i < command_count; i++)
        if (command_at(i)->parent == spec->index && engine->uses[i].run) return true;
    return spec->parent != spec->index && engine->uses[spec->parent].run;
}

static bool is_top(const struct command *spec) {
    return spec->parent == spec->index;
}

static void reply_names(struct client *c, uint32_t bits, unsigned count,
                        const char *(*name)(unsigned), const char *prefix) {
    size_t mark = reply_later(c), told = 0;
    for (unsigned bit = 0; bit < count; bit++) {
        if (!(bits & 1u << bit)) continue;
        char text[64];
        size_t size = strlen(prefix);
        memcpy(text, prefix, size);
        strncpy(text + size, name(bit), sizeof text - size - 1);
        text[sizeof text - 1] = '\0';
        reply_simple(c, text);
        told++;
    }
    reply_later_set(c, mark, told);
}

/* In upper case, as Redis has it. */
static void reply_keyword(struct client *c, const char *word) {
    char upper[32];
    size_t size = strlen(word);
    ASSERT(size <= sizeof upper);
    for (size_t i = 0; i < size; i++) upper[i] = (char)toupper((unsigned char)word[i]);
    reply_bulk(c, slice_from(upper, size));
}

static void reply_spec(struct client *c, const struct command_key_spec *spec) {
    reply_map(c, 3);
    reply_bulk_text(c, "flags");
    reply_names(c, spec->flags, COMMAND_KEY_FLAGS, command_key_flag_name, "");
    reply_bulk_text(c, "begin_search");
    reply_map(c, 2);
    reply_bulk_text(c, "type");
    reply_bulk_text(c, spec->begin == COMMAND_BEGIN_INDEX  ? "index"
                       : spec->begin == COMMAND_BEGIN_WORD ? "keyword"
                                                           : "unknown");
    reply_bulk_text(c, "spec");
    if (spec->begin == COMMAND_BEGIN_INDEX) {
        reply_map(c, 1);
        reply_bulk_text(c, "index");
        reply_int(c, spec->at);
    } else if (spec->begin == COMMAND_BEGIN_WORD) {
        reply_map(c, 2);
        reply_bulk_text(c, "keyword");
        reply_keyword(c, spec->word);
        reply_bulk_text(c, "startfrom");
        reply_int(c, spec->at);
    } else
        reply_map(c, 0);
    bool range = spec->find == COMMAND_FIND_RANGE, counted = spec->find == COMMAND_FIND_COUNTED;
    reply_bulk_text(c, "find_keys");
    reply_map(c, 2);
    reply_bulk_text(c, "type");
    reply_bulk_text(c, range ? "range" : counted ? "keynum" : "unknown");
    reply_bulk_text(c, "spec");
    reply_map(c, range || counted ? 3 : 0);
    if (!range && !counted) return;
    reply_bulk_text(c, range ? "lastkey" : "keynumidx");
    reply_int(c, spec->a);
    reply_bulk_text(c, range ? "keystep" : "firstkey");
    reply_int(c, spec->b);
    reply_bulk_text(c, range ? "limit" : "keystep");
    reply_int(c, spec->c);
}

/* The old way to say where keys are: first, last, step. A last key that is counted from the end is
 * behind all others. */
static void reply_positions(struct client *c, const struct command *spec) {
    const struct command_key_spec *key = &spec->specs[0];
    bool plain = key->flags && key->begin == COMMAND_BEGIN_INDEX && key->find == COMMAND_FIND_RANGE;
    int last = 0;
    for (size_t i = 0; plain && last >= 0 && i < COMMAND_SPECS_MAX; i++) {
        const struct command_key_spec *more = &spec->specs[i];
        if (!more->flags || more->begin != COMMAND_BEGIN_INDEX || more->find != COMMAND_FIND_RANGE)
            continue;
        int end = more->a < 0 ? more->a : more->at + more->a;
        if (end < 0 || end > last) last = end;
    }
    reply_int(c, plain ? key->at : 0);
    reply_int(c, plain ? last : 0);
    reply_int(c, plain ? key->b : 0);
}

static void reply_tips(struct client *c, const char *tips) {
    size_t mark = reply_later(c), count = 0;
    for (; *tips; count++) {
        size_t size = strcspn(tips, " ");
        reply_bulk(c, slice_from(tips, size));
        tips += size + (tips[size] == ' ');
    }
    reply_later_set(c, mark, count);
}

static void reply_command(struct client *c, const struct command *spec) {
    reply_array(c, 10);
    reply_bulk_text(c, spec->name);
    reply_int(c, spec->arity);
    reply_names(c, spec->flags & (COMMAND_PROTECTED - 1) & ~(uint32_t)COMMAND_MAY_REPLICATE,
                COMMAND_FLAGS, command_flag_name, "");
    reply_positions(c, spec);
    reply_names(c, spec->acl, COMMAND_ACLS, command_acl_name, "@");
    reply_tips(c, command_tips(spec));
    size_t specs = 0;
    while (specs < COMMAND_SPECS_MAX && spec->specs[specs].flags) specs++;
    reply_set(c, specs);
    for (size_t i = 0; i < specs; i++) reply_spec(c, &spec->specs[i]);
    size_t mark = reply_later(c), subs = 0;
    for (size_t i = 0; i < command_count; i++) {
        if (command_at(i)->parent != spec->index || i == spec->index ||
            !command_is_there(c->engine, command_at(i)))
            continue;
        reply_command(c, command_at(i));
        subs++;
    }
    reply_later_array(c, mark, subs);
}

static const struct command *named(const struct client *c, struct slice name) {
    const struct command *spec = command_of_path(c->engine, name);
    return spec && command_is_there(c->engine, spec) ? spec : NULL;
}

static void run_command(struct client *c) {
    size_t mark = reply_later(c), count = 0;
    for (size_t i = 0; i < command_count; i++) {
        if (!is_top(command_at(i)) || !command_is_there(c->engine, command_at(i))) continue;
        reply_command(c, command_at(i));
        count++;
    }
    reply_later_array(c, mark, count);
}

static void run_info(struct client *c) {
    if (c->argc == 2) {
        run_command(c);
        return;
    }
    reply_array(c, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++) {
        const struct command *spec = named(c, c->argv[i]);
        if (spec)
            reply_command(c, spec);
        else
            reply_null_array(c);
    }
}

static void run_count(struct client *c) {
    int64_t count = 0;
    for (size_t i = 0; i < command_count; i++)
        count += is_top(command_at(i)) && command_is_there(c->engine, command_at(i));
    reply_int(c, count);
}

static bool in_category(const struct command *spec, struct slice category) {
    for (unsigned bit = 0; bit < COMMAND_ACLS; bit++)
        if (arg_is(category, command_acl_name(bit))) return spec->acl & 1u << bit;
    return false;
}

static void run_list(struct client *c) {
    enum { ALL, PATTERN, CATEGORY, MODULE } filter = ALL;
    if (c->argc != 2) {
        bool good = c->argc == 5 && arg_is(c->argv[2], "filterby");
        if (good && arg_is(c->argv[3], "pattern"))
            filter = PATTERN;
        else if (good && arg_is(c->argv[3], "aclcat"))
            filter = CATEGORY;
        else if (good && arg_is(c->argv[3], "module"))
            filter = MODULE;
        else {
            reply_syntax_error(c);
            return;
        }
    }
    size_t mark = reply_later(c), count = 0;
    for (size_t i = 0; i < command_count; i++) {
        const struct command *spec = command_at(i);
        if (!command_is_there(c->engine, spec) || filter == MODULE) continue;
        if (filter == PATTERN && !pattern_matches(c->argv[4], slice_text(spec->name), true))
            continue;
        if (filter == CATEGORY && !in_category(spec, c->argv[4])) continue;
        reply_bulk_text(c, spec->name);
        count++;
    }
    reply_later_array(c, mark, count);
}

static void get_keys(struct client *c, bool with_flags) {
    const struct slice *argv = c->argv + 2;
    size_t argc = (size_t)c->argc - 2, count = 0;
    const struct command *spec = command_lookup_here(c->engine, argc, argv);
    struct why why;
    if (spec == NULL || !command_is_there(c->engine, spec)) {
        reply_error(c, "ERR Invalid command specified");
        return;
    }
    if (!command_has_keys(spec)) {
        reply_error(c, "ERR The command has no key arguments");
        return;
    }
    if (!command_arity_fits(spec, argc)) {
        reply_error(c, "ERR Invalid number of arguments specified for command");
        return;
    }
    struct command_key *keys = NEW_ARRAY(struct command_key, argc);
    if (command_keys(spec, argc, argv, keys, argc, &count, &why) != OK)
        reply_error(c, "ERR Invalid arguments specified for command");
    else if (count == 0 && !(spec->flags & COMMAND_NO_MANDATORY_KEYS))
        reply_error(c, "ERR Invalid arguments specified for command");
    else {
        reply_array(c, count);
        for (size_t i = 0; i < count; i++) {
            if (with_flags) reply_array(c, 2);
            reply_bulk(c, argv[keys[i].at]);
            if (with_flags)
                reply_names(c, keys[i].flags, COMMAND_KEY_FLAGS, command_key_flag_name, "");
        }
    }
    mem_free(keys);
}

static void run_getkeys(struct client *c) {
    get_keys(c, false);
}
static void run_getkeysandflags(struct client *c) {
    get_keys(c, true);
}

static void run_docs(struct client *c) {
    size_t mark = reply_later(c), count = 0;
    for (int i = 2; i < c->argc; i++) {
        const struct command *spec = named(c, c->argv[i]);
        if (spec) command_reply_doc(c, spec), count++;
    }
    for (size_t i = 0; c->argc == 2 && i < command_count; i++)
        if (is_top(command_at(i)) && command_is_there(c->engine, command_at(i)))
            command_reply_doc(c, command_at(i)), count++;
    reply_later_map(c, mark, count);
}

static void run_help(struct client *c) {
    static const char *const help[] = {"(no subcommand)",
                                       "    All commands.",
                                       "COUNT",
                                       "    How many there are.",
                                       "LIST [FILTERBY (MODULE|ACLCAT|PATTERN) <arg>]",
                                       "    Their names.",
                                       "INFO [<command-name> ...]",
                                       "    Arity, flags and keys.",
                                       "DOCS [<command-name> ...]",
                                       "    Group and version.",
                                       "GETKEYS <full-command>",
                                       "    The keys of a request.",
                                       "GETKEYSANDFLAGS <full-command>",
                                       "    The same, and how they are used.",
                                       NULL};
    reply_help(c, help);
}

void command_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"command", run_command},         {"command|info", run_info},
        {"command|count", run_count},     {"command|list", run_list},
        {"command|getkeys", run_getkeys}, {"command|getkeysandflags", run_getkeysandflags},
        {"command|docs", run_docs},       {"command|help", run_help}};
    command_bind(engine, bindings, COUNT(bindings));
}
