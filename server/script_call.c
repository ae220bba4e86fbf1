/* script_call.c -- redis.call(): may the command run in a script, and its execution.
 *
 * The order of the checks is that of scriptCall in Redis 7.0 script.c. */
#include "server/script.h"

#include "server/acl.h"
#include "server/cluster.h"
#include "server/errors.h"
#include "server/execute.h"
#include "server/gates.h"

#include <stdio.h>

/* The row of the table that runs, or that says why it may not: known commands that this server does
 * not have are unknown, unless no script could call them anyway. */
static const struct command *resolve(struct engine *engine, int argc, const struct slice *argv) {
    const struct command *spec = command_lookup_here(engine, (size_t)argc, argv);
    if (spec == NULL && argc > 1)
        spec = command_lookup_here(engine, 1, argv); /* bound as a whole, it may know more */
    if (spec == NULL || engine->uses[spec->index].run) return spec;
    if ((argc == 1 && command_is_container(spec)) || spec->flags & COMMAND_NOSCRIPT) return spec;
    const struct command *whole = command_at(spec->parent);
    return engine->uses[whole->index].run ? whole : NULL;
}

/* State that may refuse a write, as long as the script wrote nothing. The gates reply themselves.
 */
static const char *check_write(struct script_run *run, const struct command *spec, bool *replied) {
    struct engine *engine = run->vm->engine;
    *replied = false;
    if (run->readonly && spec->flags & (COMMAND_WRITE | COMMAND_MAY_REPLICATE))
        return "ERR Write commands are not allowed from read-only scripts.";
    if (!(spec->flags & COMMAND_WRITE) || run->wrote || script_is_obeyed(run)) return NULL;
    if (engine->role == ROLE_REPLICA && engine->settings.replica_read_only)
        return "READONLY You can't write against a read only replica.";
    *replied = !gates_admit(run->vm->client, spec);
    return NULL;
}

static bool memory_refuses(const struct script_run *run, const struct command *spec) {
    const struct engine *engine = run->vm->engine;
    return !run->allow_oom && engine->settings.maxmemory && !script_is_obeyed(run) && !run->wrote &&
           engine->over_memory && spec->flags & COMMAND_DENYOOM;
}

/* The access rules of the caller's user. */
static const char *check_access(struct script_run *run, const struct command *spec) {
    struct client *c = run->vm->client;
    if (acl_admits_all(c)) return NULL;
    enum acl_denied denied = acl_admit(c, spec, c->argc, c->argv, ACL_IN_SCRIPT);
    if (denied == ACL_OK) return NULL;
    (void)snprintf(run->error, sizeof run->error, "ERR The user executing the script %s",
                   acl_reason(denied));
    return run->error;
}

static const char *refusal(struct script_run *run, const struct command *spec, int argc,
                           bool *replied) {
    struct engine *engine = run->vm->engine;
    *replied = false;
    if (spec == NULL) return "ERR Unknown Redis command called from script";
    if (!command_arity_fits(spec, (size_t)argc))
        return "ERR Wrong number of args calling Redis command from script";
    /* DEBUG may allow them, but not what would run a script in a script. */
    bool may = engine->scripts->deny_nothing && spec->group != COMMAND_GROUP_SCRIPTING &&
               engine->uses[spec->index].run;
    if (spec->flags & COMMAND_NOSCRIPT && !may)
        return "ERR This Redis command is not allowed from script";
    if (engine_is_stale(engine) && !(spec->flags & COMMAND_STALE))
        return "ERR Can not execute the command on a stale replica";
    const char *error = check_access(run, spec);
    if (error == NULL) error = check_write(run, spec, replied);
    if (error == NULL && !*replied && memory_refuses(run, spec))
        error = "OOM command not allowed when used memory > 'maxmemory'.";
    return error;
}

/* In cluster mode: are the keys here, and all of one slot if the script says so? */
static const char *check_slots(struct script_run *run, const struct command *spec) {
    struct client *caller = run->caller;
    int slot;
    if (run->vm->engine->cluster == NULL || script_is_obeyed(run)) return NULL;
    const char *error = cluster_refuses_call(run->vm->client, caller, spec, &slot);
    if (error || slot < 0 || run->cross_slot) return error;
    if (caller->slot < 0) caller->slot = slot;
    if (caller->slot == slot) return NULL;
    return "ERR Script attempted to access keys that do not hash to the same slot";
}

const char *script_call(struct script_run *run, int argc, struct slice *argv) {
    struct client *c = run->vm->client;
    struct engine *engine = run->vm->engine;
    buf_clear(&c->out);
    c->argc = argc;
    c->argv = argv;
    c->hashed_key = slice_from(NULL, 0);
    const struct command *spec = c->command = c->last_command = resolve(engine, argc, argv);
    bool replied;
    const char *error = refusal(run, spec, argc, &replied);
    if (error) {
        if (spec) engine->uses[spec->index].rejected++;
        errors_count(c, slice_text(error));
        return error;
    }
    if (replied) return NULL;
    if (spec->flags & COMMAND_WRITE) run->wrote = true;
    if ((error = check_slots(run, spec))) {
        engine->uses[spec->index].rejected++;
        errors_count(c, slice_text(error));
        return error;
    }
    unsigned before = propagate_aim(engine, run->targets);
    run->vm->in_command = true;
    execute_call(c);
    run->vm->in_command = false;
    if (script_is_replayed(run)) script_order_reply(spec, &c->out);
    (void)propagate_aim(engine, before);
    return NULL;
}
