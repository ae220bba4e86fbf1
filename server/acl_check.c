/* acl_check.c -- may this user run this command with these arguments? */
#include "server/acl_inside.h"

#include "lib/base/mem.h"
#include "server/args.h"
#include "server/engine.h"

#define KEYS_USUAL 16

/* The keys of a request, found once for all selectors. */
struct request {
    const struct command *command;
    int argc;
    const struct slice *argv;
    bool keys_known;
    struct command_key usual[KEYS_USUAL], *keys;
    size_t key_count;
};

static void find_keys(struct request *r) {
    struct why why;
    size_t argc = (size_t)r->argc;
    if (r->keys_known) return;
    r->keys_known = true;
    r->keys = r->usual;
    enum err err =
        command_keys(r->command, argc, r->argv, r->keys, KEYS_USUAL, &r->key_count, &why);
    if (err == ERR_LIMIT) {
        r->keys = NEW_ARRAY(struct command_key, argc);
        err = command_keys(r->command, argc, r->argv, r->keys, argc, &r->key_count, &why);
    }
    if (err != OK) r->key_count = 0; /* the command itself will refuse these arguments */
}

static void forget_keys(struct request *r) {
    if (r->keys_known && r->keys != r->usual) mem_free(r->keys);
}

/* ---- one selector ---- */

static bool command_is_allowed(const struct acl_selector *s, const struct request *r) {
    const struct command *command = r->command;
    if (s->flags & ACL_ALL_COMMANDS || command->flags & COMMAND_NO_AUTH) return true;
    if (acl_has_command(s, command->index)) return true;
    if (r->argc < 2) return false;
    for (size_t i = 0; i < s->first_args.count; i++)
        if (s->first_args.items[i].flags == command->index &&
            slice_equal_nocase(acl_word_slice(&s->first_args.items[i]), r->argv[1]))
            return true;
    return false;
}

/* Commands that only ask whether something is there need neither permission, just the pattern. */
static unsigned permissions_of(unsigned key_flags) {
    unsigned wanted = 0;
    if (key_flags & COMMAND_KEY_ACCESS) wanted |= ACL_KEY_READ;
    if (key_flags & (COMMAND_KEY_INSERT | COMMAND_KEY_DELETE | COMMAND_KEY_UPDATE))
        wanted |= ACL_KEY_WRITE;
    return key_flags == 0 ? ACL_KEY_READ | ACL_KEY_WRITE : wanted;
}

static bool key_is_allowed(const struct acl_selector *s, struct slice key, unsigned key_flags) {
    unsigned wanted = permissions_of(key_flags);
    for (size_t i = 0; i < s->keys.count; i++) {
        const struct acl_word *pattern = &s->keys.items[i];
        if ((pattern->flags & wanted) == wanted &&
            pattern_matches(acl_word_slice(pattern), key, false))
            return true;
    }
    return false;
}

/* A pattern to subscribe to must stand in the rules as it is. */
static bool channel_is_allowed(const struct acl_selector *s, struct slice channel, bool literal) {
    for (size_t i = 0; i < s->channels.count; i++) {
        struct slice pattern = acl_word_slice(&s->channels.items[i]);
        if (literal ? slice_equal(pattern, channel) : pattern_matches(pattern, channel, false))
            return true;
    }
    return false;
}

/* Which arguments are channels that must be allowed: [1, *END). */
static int channels_end(const struct request *r, bool *literal) {
    const char *name = r->command->name;
    *literal = strcmp(name, "psubscribe") == 0;
    if (*literal || strcmp(name, "subscribe") == 0 || strcmp(name, "ssubscribe") == 0)
        return r->argc;
    return strcmp(name, "publish") == 0 || strcmp(name, "spublish") == 0 ? 2 : 0;
}

static enum acl_denied check_selector(const struct acl_selector *s, struct request *r, int *at) {
    if (!command_is_allowed(s, r)) return ACL_DENIED_COMMAND;
    if (!(s->flags & ACL_ALL_KEYS) && command_has_keys(r->command)) {
        find_keys(r);
        for (size_t i = 0; i < r->key_count; i++) {
            if (key_is_allowed(s, r->argv[r->keys[i].at], r->keys[i].flags)) continue;
            *at = (int)r->keys[i].at;
            return ACL_DENIED_KEY;
        }
    }
    if (!(s->flags & ACL_ALL_CHANNELS) && r->command->flags & COMMAND_PUBSUB) {
        bool literal;
        int end = channels_end(r, &literal);
        for (int i = 1; i < end; i++) {
            if (channel_is_allowed(s, r->argv[i], literal)) continue;
            *at = i;
            return ACL_DENIED_CHANNEL;
        }
    }
    return ACL_OK;
}

/* ---- all selectors ---- */

/* Of the reasons the one that got furthest is told. */
enum acl_denied acl_check(const struct acl_user *user, const struct command *command, int argc,
                          const struct slice *argv, int *at) {
    enum acl_denied reason = ACL_DENIED_COMMAND;
    struct request r = {.command = command, .argc = argc, .argv = argv};
    int here = 0;
    *at = 0;
    if (user == NULL || user->unlimited) return ACL_OK;
    for (size_t i = 0; i < user->selector_count; i++) {
        enum acl_denied denied = check_selector(&user->selectors[i], &r, &here);
        if (denied > reason || (denied == reason && here > *at)) {
            reason = denied;
            *at = here;
        }
        if (denied != ACL_OK) continue;
        reason = ACL_OK;
        break;
    }
    forget_keys(&r);
    return reason;
}

bool acl_reads_all_keys(const struct acl_user *user, const struct command *command, int argc,
                        const struct slice *argv) {
    struct request r = {.command = command, .argc = argc, .argv = argv};
    bool reads = user == NULL || user->unlimited;
    int at;
    for (size_t i = 0; !reads && i < user->selector_count; i++) {
        const struct acl_selector *s = &user->selectors[i];
        if (check_selector(s, &r, &at) != ACL_OK) continue;
        reads = s->flags & ACL_ALL_KEYS;
        for (size_t n = 0; n < s->keys.count; n++)
            reads = reads || (s->keys.items[n].flags & ACL_KEY_READ &&
                              slice_equal(acl_word_slice(&s->keys.items[n]), SLICE("*")));
    }
    forget_keys(&r);
    return reads;
}

enum acl_denied acl_admit(struct client *c, const struct command *command, int argc,
                          const struct slice *argv, enum acl_context context) {
    int at;
    enum acl_denied denied = acl_check(c->user, command, argc, argv, &at);
    if (denied != ACL_OK)
        acl_log_add(c, denied, context, acl_user_name(c->user),
                    denied == ACL_DENIED_COMMAND ? slice_text(command->name) : argv[at]);
    return denied;
}

const char *acl_reason(enum acl_denied denied) {
    switch (denied) {
    case ACL_DENIED_COMMAND: return "can't run this command or subcommand";
    case ACL_DENIED_KEY:
        return "can't access at least one of the keys mentioned in the command arguments";
    case ACL_DENIED_CHANNEL: return "can't publish to the channel mentioned in the command";
    case ACL_OK:
    case ACL_DENIED_AUTH: break;
    }
    return "lacking the permissions for the command";
}
