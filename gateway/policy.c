/* policy.c -- what the gateway does with each command. See policy.h. */
#include "gateway/policy.h"

#include "lib/base/mem.h"

#define ONE_SIDE "it would change one side only; connect to that server itself"
#define BELONGS "replication belongs to drawbridge here; connect to the server itself"
#define STOPS "it would stop or disturb one side; connect to that server itself"
#define CLUSTER "This instance has cluster support disabled"

static const struct {
    const char *name; /* "client|*": all subcommands */
    enum policy policy;
    const char *why;
} table[] = {
    {"ping", POLICY_LOCAL, NULL},
    {"echo", POLICY_LOCAL, NULL},
    {"auth", POLICY_LOCAL, NULL},
    {"hello", POLICY_LOCAL, NULL},
    {"select", POLICY_LOCAL, NULL},
    {"quit", POLICY_LOCAL, NULL},
    {"reset", POLICY_LOCAL, NULL},
    {"client", POLICY_CLIENT, NULL},
    {"client|*", POLICY_CLIENT, NULL},
    {"client|tracking", POLICY_TRACKING, NULL},
    {"client|trackinginfo", POLICY_TRACKING, NULL},
    {"client|caching", POLICY_TRACKING, NULL},
    {"client|getredir", POLICY_TRACKING, NULL},
    {"multi", POLICY_MULTI, NULL},
    {"exec", POLICY_MULTI, NULL},
    {"discard", POLICY_MULTI, NULL},
    {"watch", POLICY_WATCH, NULL},
    {"unwatch", POLICY_WATCH, NULL},
    {"wait", POLICY_WAIT, NULL},
    {"waitaof", POLICY_WAIT, NULL},
    {"drawbridge", POLICY_REFUSE, "it is for the parts of drawbridge only"},
    {"subscribe", POLICY_SUBSCRIBE, NULL},
    {"psubscribe", POLICY_SUBSCRIBE, NULL},
    {"ssubscribe", POLICY_SUBSCRIBE, NULL},
    {"unsubscribe", POLICY_SUBSCRIBE, NULL},
    {"punsubscribe", POLICY_SUBSCRIBE, NULL},
    {"sunsubscribe", POLICY_SUBSCRIBE, NULL},
    {"monitor", POLICY_MONITOR, NULL},
    {"keys", POLICY_HIDE, NULL},
    {"scan", POLICY_HIDE, NULL},
    {"dbsize", POLICY_HIDE, NULL},
    {"randomkey", POLICY_HIDE, NULL},
    {"eval", POLICY_SCRIPT, NULL},
    {"eval_ro", POLICY_SCRIPT, NULL},
    {"evalsha", POLICY_SCRIPT, NULL},
    {"evalsha_ro", POLICY_SCRIPT, NULL},
    {"script|load", POLICY_SCRIPT, NULL},
    {"script|flush", POLICY_SCRIPT, NULL},
    {"script|debug", POLICY_REFUSE, "the Lua debugger needs a connection of its own"},
    {"shutdown", POLICY_REFUSE, STOPS},
    {"debug", POLICY_REFUSE, STOPS},
    {"failover", POLICY_REFUSE, BELONGS},
    {"replicaof", POLICY_REFUSE, BELONGS},
    {"slaveof", POLICY_REFUSE, BELONGS},
    {"replconf", POLICY_REFUSE, BELONGS},
    {"psync", POLICY_REFUSE, BELONGS},
    {"sync", POLICY_REFUSE, BELONGS},
    {"config|set", POLICY_REFUSE, ONE_SIDE},
    {"config|rewrite", POLICY_REFUSE, ONE_SIDE},
    {"acl|setuser", POLICY_REFUSE, ONE_SIDE},
    {"acl|deluser", POLICY_REFUSE, ONE_SIDE},
    {"acl|load", POLICY_REFUSE, ONE_SIDE},
    {"acl|save", POLICY_REFUSE, ONE_SIDE},
    {"module|load", POLICY_REFUSE, ONE_SIDE},
    {"module|loadex", POLICY_REFUSE, ONE_SIDE},
    {"module|unload", POLICY_REFUSE, ONE_SIDE},
    {"asking", POLICY_REFUSE, CLUSTER},
    {"readonly", POLICY_REFUSE, CLUSTER},
    {"readwrite", POLICY_REFUSE, CLUSTER},
};

static uint8_t *policies; /* by command->index */
static const char **whys;

static bool row_fits(const char *pattern, const char *name) {
    size_t size = strlen(pattern);
    if (pattern[size - 1] == '*') return strncmp(pattern, name, size - 1) == 0;
    return strcmp(pattern, name) == 0;
}

/* By row, not by command->index: the table of commands may get its indexes after this. */
__attribute__((constructor)) static void policy_init(void) {
    policies = NEW_ARRAY(uint8_t, command_count);
    whys = NEW_ARRAY(const char *, command_count);
    for (size_t i = 0; i < command_count; i++) {
        const struct command *command = command_at(i);
        if (command->flags & COMMAND_BLOCKING) policies[i] = POLICY_BLOCKING;
        for (size_t row = 0; row < sizeof table / sizeof *table; row++) {
            if (!row_fits(table[row].name, command->name)) continue;
            policies[i] = (uint8_t)table[row].policy;
            whys[i] = table[row].why;
        }
    }
}

enum policy policy_of(const struct command *command) {
    return (enum policy)policies[command->index];
}

const char *policy_why(const struct command *command) {
    const char *why = whys[command->index];
    return why ? why : "it is refused";
}

bool policy_blocks(const struct command *command, size_t argc, const struct slice *argv) {
    if ((command->flags & COMMAND_BLOCKING) == 0) return false;
    if (command->group != COMMAND_GROUP_STREAM) return true;
    for (size_t i = 1; i < argc; i++) {
        if (slice_equal_nocase(argv[i], SLICE("streams"))) return false;
        if (slice_equal_nocase(argv[i], SLICE("block"))) return true;
        if (slice_equal_nocase(argv[i], SLICE("group")))
            i += 2;
        else if (slice_equal_nocase(argv[i], SLICE("count")))
            i += 1;
    }
    return false;
}
