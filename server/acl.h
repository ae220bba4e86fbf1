/* acl.h -- users and what they may do: ACL v2 as in Redis 7.0.
 *
 *     user = flags + passwords + selectors; a selector = commands + key patterns + channel patterns
 *
 * A command may run when one selector allows all of it: the command itself, each key with the way
 * it is used, each channel. The core asks before it runs or queues a command:
 *
 *     if (!acl_admits(c)) denied = acl_admit(c, command, argc, argv, ACL_AT_TOP);
 *
 * and so does whoever runs commands in a client's name (EXEC, scripts). A client without a user
 * (the master's link, a file that is loaded) may do everything.
 *
 * Users are owned by engine->acl; a client's pointer stays valid, because whoever removes a user
 * takes it away from its clients first. Hostile input: rules, names and files are checked here;
 * sizes are those of the request that brought them.
 * Source: acl.c of Redis 7.0 for meaning, texts and the form of ACL LIST.
 */
#ifndef SERVER_ACL_H
#define SERVER_ACL_H

#include "server/acl_rules.h"
#include "server/client.h"

/* The order matters: of several selectors' reasons the last one is told. */
enum acl_denied { ACL_OK, ACL_DENIED_COMMAND, ACL_DENIED_KEY, ACL_DENIED_CHANNEL, ACL_DENIED_AUTH };

enum acl_context { ACL_AT_TOP, ACL_IN_MULTI, ACL_IN_SCRIPT }; /* as ACL LOG tells it */

/* No look at the command is needed. */
static inline bool acl_admits_all(const struct client *c) {
    return c->user == NULL || c->user->unlimited;
}

/* What of the command USER may not do, and which argument it is about (*AT; 0: none). */
enum acl_denied acl_check(const struct acl_user *user, const struct command *command, int argc,
                          const struct slice *argv, int *at);
/* The same for the client's user; a refusal goes to ACL LOG. Replies nothing. */
enum acl_denied acl_admit(struct client *c, const struct command *command, int argc,
                          const struct slice *argv, enum acl_context context);
/* "can't run this command or subcommand" and the like: what a script is told. */
const char *acl_reason(enum acl_denied denied);
/* Whether some selector allows this command and reading any key at all (SORT's BY and GET). */
bool acl_reads_all_keys(const struct acl_user *user, const struct command *command, int argc,
                        const struct slice *argv);

/* ---- users ---- */

void acl_open(struct engine *engine); /* before options are read: makes the default user */
struct acl_user *acl_user_named(struct engine *engine, struct slice name); /* NULL: none */
struct acl_user *acl_default_user(struct engine *engine);
/* A new connection: the default user, logged in if that needs no password. */
void acl_welcome(struct client *c);
/* Log in; on failure the client stays who it was, and ACL LOG has an entry. */
bool acl_authenticate(struct client *c, struct slice name, struct slice password);
/* Whether the client may do nothing but AUTH, HELLO, QUIT and RESET. */
bool acl_must_authenticate(const struct client *c);
/* requirepass was set: it is the default user's password; empty means that none is needed. */
void acl_set_requirepass(struct engine *engine);

/* A `user` line of the configuration; the users are made by acl_start(). */
MUST_CHECK enum err acl_config_user(struct engine *engine, int argc, const struct slice *argv,
                                    struct why *why);
/* Options are read and we are in the directory: users of the configuration or of the aclfile. */
MUST_CHECK enum err acl_start(struct engine *engine, struct why *why);
/* "user NAME RULES" lines for CONFIG REWRITE; nothing when there is an aclfile. */
void acl_write_users(struct engine *engine, struct buf *out);

/* In SLOWLOG and MONITOR this argument of the running command is shown as "(redacted)". Call it
 * when the argument has been used. */
void acl_redact(struct client *c, int argument);

void acl_commands_bind(struct engine *engine);

#endif
