/* acl_commands.c -- ACL and AUTH. */
#include "server/acl_inside.h"

#include "lib/base/mem.h"
#include "lib/base/rand.h"
#include "server/args.h"
#include "server/engine.h"
#include "server/reply.h"

#define GENPASS_BITS_MAX 4096
#define ERROR_SHOWN 65536

/* As much of TEXT as fits into an error; of a category Redis shows less. */
static int shown(struct slice text, size_t most) {
    return (int)(text.size < most ? text.size : most);
}

/* ---- users ---- */

static void run_setuser(struct client *c) {
    struct slice name = c->argv[2];
    struct why why;
    if (acl_has_spaces(name))
        reply_error(c, "ERR Usernames can't contain spaces or null characters");
    else if (acl_users_set(c->engine, name, c->argc - 3, c->argv + 3, &why) != OK)
        reply_error(c, "ERR %s", why.text);
    else
        reply_ok(c);
    for (int i = 2; i < c->argc; i++) acl_redact(c, i);
}

static void run_deluser(struct client *c) {
    int64_t removed = 0;
    for (int i = 2; i < c->argc; i++)
        if (slice_equal(c->argv[i], SLICE("default"))) {
            reply_error(c, "ERR The 'default' user cannot be removed");
            return;
        }
    for (int i = 2; i < c->argc; i++) removed += acl_users_remove(c->engine, c->argv[i]);
    reply_int(c, removed);
}

static void reply_described(struct client *c, const char *field, const struct acl_selector *s,
                            void (*describe)(const struct acl_selector *, struct buf *)) {
    struct buf text = {0};
    describe(s, &text);
    reply_bulk_text(c, field);
    reply_bulk(c, buf_slice(&text));
    buf_close(&text);
}

static void reply_selector(struct client *c, const struct acl_selector *s) {
    reply_described(c, "commands", s, acl_describe_commands);
    reply_described(c, "keys", s, acl_describe_keys);
    reply_described(c, "channels", s, acl_describe_channels);
}

static void run_getuser(struct client *c) {
    const struct acl_user *user = acl_user_named(c->engine, c->argv[2]);
    if (user == NULL) {
        reply_null(c);
        return;
    }
    reply_map(c, 6);
    reply_bulk_text(c, "flags");
    size_t mark = reply_later(c), count = 0;
    for (size_t i = 0; i < COUNT(acl_user_flags); i++) {
        if (!(user->flags & acl_user_flags[i].flag)) continue;
        reply_bulk_text(c, acl_user_flags[i].name);
        count++;
    }
    reply_later_set(c, mark, count);
    reply_bulk_text(c, "passwords");
    reply_array(c, user->passwords.count);
    for (size_t i = 0; i < user->passwords.count; i++)
        reply_bulk(c, acl_word_slice(&user->passwords.items[i]));
    reply_selector(c, &user->selectors[0]);
    reply_bulk_text(c, "selectors");
    reply_array(c, user->selector_count - 1);
    for (size_t i = 1; i < user->selector_count; i++) {
        reply_map(c, 3);
        reply_selector(c, &user->selectors[i]);
    }
}

static void run_list(struct client *c) {
    const struct engine_acl *acl = c->engine->acl;
    reply_array(c, acl->count);
    for (size_t i = 0; i < acl->count; i++) {
        struct buf line = {0};
        buf_printf(&line, "user ");
        buf_add(&line, acl_user_name(acl->users[i]));
        buf_byte(&line, ' ');
        acl_user_describe(acl->users[i], &line);
        reply_bulk(c, buf_slice(&line));
        buf_close(&line);
    }
}

static void run_users(struct client *c) {
    const struct engine_acl *acl = c->engine->acl;
    reply_array(c, acl->count);
    for (size_t i = 0; i < acl->count; i++) reply_bulk(c, acl_user_name(acl->users[i]));
}

static void run_whoami(struct client *c) {
    if (c->user)
        reply_bulk(c, acl_user_name(c->user));
    else
        reply_null(c);
}

/* ---- files ---- */

static bool has_file(struct client *c) {
    if (c->engine->settings.aclfile[0] != '\0') return true;
    reply_error(c, "ERR This Redis instance is not configured to use an ACL file. You may want to "
                   "specify users via the ACL SETUSER command and then issue a CONFIG REWRITE "
                   "(assuming you have a Redis configuration file set) in order to store users in "
                   "the Redis configuration.");
    return false;
}

static void run_load(struct client *c) {
    struct buf errors = {0};
    if (!has_file(c)) return;
    if (acl_file_load(c->engine, &errors) == OK)
        reply_ok(c);
    else
        reply_error(c, "ERR %s", buf_text(&errors));
    buf_close(&errors);
}

static void run_save(struct client *c) {
    struct why why;
    if (!has_file(c)) return;
    if (acl_file_save(c->engine, &why) == OK) {
        reply_ok(c);
        return;
    }
    engine_log(c->engine, '#', "ACL SAVE: %s", why.text);
    reply_error(c, "ERR There was an error trying to save the ACLs. Please check the server logs "
                   "for more information");
}

/* ---- the rest ---- */

static void run_cat(struct client *c) {
    if (c->argc == 2) {
        reply_array(c, COMMAND_ACLS);
        for (unsigned bit = 0; bit < COMMAND_ACLS; bit++) reply_bulk_text(c, command_acl_name(bit));
        return;
    }
    if (c->argc > 3) {
        reply_unknown_subcommand(c);
        return;
    }
    uint32_t category = acl_category(c->argv[2]);
    if (category == 0) {
        reply_error(c, "ERR Unknown category '%.*s'", shown(c->argv[2], 128),
                    (const char *)c->argv[2].data);
        return;
    }
    size_t mark = reply_later(c), count = 0;
    for (size_t i = 0; i < command_count; i++) {
        if (!(command_at(i)->acl & category)) continue;
        reply_bulk_text(c, command_at(i)->name);
        count++;
    }
    reply_later_array(c, mark, count);
}

static void run_genpass(struct client *c) {
    static const char digits[] = "0123456789abcdef";
    uint8_t secret[GENPASS_BITS_MAX / 4];
    int64_t bits = 256;
    if (c->argc > 3) {
        reply_unknown_subcommand(c);
        return;
    }
    if (c->argc == 3 && !arg_int(c, c->argv[2], &bits, NULL)) return;
    if (bits <= 0 || bits > GENPASS_BITS_MAX) {
        reply_error(c,
                    "ERR ACL GENPASS argument must be the number of bits for the output password, "
                    "a positive number up to %d",
                    GENPASS_BITS_MAX);
        return;
    }
    size_t size = (size_t)(bits + 3) / 4;
    rand_secret(secret, size);
    for (size_t i = 0; i < size; i++) secret[i] = (uint8_t)digits[secret[i] & 15];
    reply_bulk(c, slice_from(secret, size));
}

static void run_log(struct client *c) {
    if (c->argc > 3)
        reply_unknown_subcommand(c);
    else
        acl_log_run(c);
}

static void run_dryrun(struct client *c) {
    const struct acl_user *user = acl_user_named(c->engine, c->argv[2]);
    const struct slice *argv = c->argv + 3;
    int argc = c->argc - 3, at;
    if (user == NULL) {
        reply_error(c, "ERR User '%.*s' not found", shown(c->argv[2], ERROR_SHOWN),
                    (const char *)c->argv[2].data);
        return;
    }
    const struct command *command = command_lookup_here(c->engine, (size_t)argc, argv);
    if (command == NULL) {
        reply_error(c, "ERR Command '%.*s' not found", shown(argv[0], ERROR_SHOWN), (const char *)argv[0].data);
        return;
    }
    if (!command_arity_fits(command, (size_t)argc)) {
        reply_error(c, "ERR wrong number of arguments for '%s' command", command->name);
        return;
    }
    enum acl_denied denied = acl_check(user, command, argc, argv, &at);
    if (denied == ACL_OK)
        reply_ok(c);
    else if (denied == ACL_DENIED_COMMAND)
        reply_bulk_printf(c, "This user has no permissions to run the '%s' command", command->name);
    else
        reply_bulk_printf(c, "This user has no permissions to access the '%.*s' %s",
                          (int)argv[at].size, (const char *)argv[at].data,
                          denied == ACL_DENIED_KEY ? "key" : "channel");
}

static void run_help(struct client *c) {
    static const char *const help[] = {"CAT [<category>]",
                                       "    The commands of a category, or all categories.",
                                       "DELUSER <username> [<username> ...]",
                                       "    Remove users; their connections are closed.",
                                       "DRYRUN <username> <command> [<arg> ...]",
                                       "    Whether the user may run this; it is not run.",
                                       "GETUSER <username>",
                                       "    What the user may do.",
                                       "GENPASS [<bits>]",
                                       "    An unpredictable password of 256 or so many bits.",
                                       "LIST",
                                       "    All users in the form of the configuration.",
                                       "LOAD",
                                       "    Replace all users by those of the ACL file.",
                                       "LOG [<count> | RESET]",
                                       "    What was refused lately.",
                                       "SAVE",
                                       "    Write all users into the ACL file.",
                                       "SETUSER <username> <attribute> [<attribute> ...]",
                                       "    Make or change a user.",
                                       "USERS",
                                       "    The names of all users.",
                                       "WHOAMI",
                                       "    The user of this connection.",
                                       NULL};
    reply_help(c, help);
}

static void run_auth(struct client *c) {
    if (c->argc > 3) {
        reply_syntax_error(c);
        return;
    }
    struct slice name = c->argc == 3 ? c->argv[1] : SLICE("default");
    if (c->argc == 2 && acl_default_user(c->engine)->flags & ACL_USER_NOPASS)
        reply_error(c, "ERR AUTH <password> called without any password configured for the default "
                       "user. Are you sure your configuration is correct?");
    else if (acl_authenticate(c, name, c->argv[c->argc - 1]))
        reply_ok(c);
    else
        reply_error(c, "WRONGPASS invalid username-password pair or user is disabled.");
    for (int i = 1; i < c->argc; i++) acl_redact(c, i);
}

void acl_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"acl|setuser", run_setuser}, {"acl|deluser", run_deluser},
        {"acl|getuser", run_getuser}, {"acl|list", run_list},
        {"acl|users", run_users},     {"acl|whoami", run_whoami},
        {"acl|load", run_load},       {"acl|save", run_save},
        {"acl|cat", run_cat},         {"acl|genpass", run_genpass},
        {"acl|log", run_log},         {"acl|dryrun", run_dryrun},
        {"acl|help", run_help},       {"auth", run_auth}};
    command_bind(engine, bindings, COUNT(bindings));
}
