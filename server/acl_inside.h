/* acl_inside.h -- what the files acl*.c share. */
#ifndef SERVER_ACL_INSIDE_H
#define SERVER_ACL_INSIDE_H

#include "server/acl.h"

#include <stdio.h>

struct acl_log;

struct engine_acl {
    struct acl_user **users; /* ordered by name; the default user is always there */
    size_t count, room;
    struct acl_user *fallback;    /* the default user; never freed */
    struct acl_words *configured; /* `user` lines: name, then merged rules */
    size_t configured_count;
    struct acl_log *log;
};

/* Rules that we made ourselves. */
void acl_selector_rule_trusted(struct acl_selector *s, const char *rule);
void acl_selector_command(struct acl_selector *s, const struct command *command, bool allow);
bool acl_selector_knows_future(const struct acl_selector *s);

/* acl_users.c */
bool acl_channels_by_default(const struct engine *engine);
void acl_users_add(struct engine *engine, struct acl_user *user);
/* False: there is none. Its clients are hung up. */
bool acl_users_remove(struct engine *engine, struct slice name);
/* All rules or none, to an existing user or a new one. */
MUST_CHECK enum err acl_users_set(struct engine *engine, struct slice name, int argc,
                                  const struct slice *argv, struct why *why);
/* USERS (COUNT of them, ordered by acl_users_place) replace all; taken. */
void acl_users_replace(struct engine *engine, struct acl_user **users, size_t count);
void acl_make_default(struct acl_user *user);

/* acl_file.c */
MUST_CHECK enum err acl_file_load(struct engine *engine, struct buf *errors);
MUST_CHECK enum err acl_file_save(struct engine *engine, struct why *why);

/* acl_log.c. OBJECT: what was refused. */
void acl_log_add(struct client *c, enum acl_denied reason, enum acl_context context,
                 struct slice user, struct slice object);
void acl_log_run(struct client *c); /* ACL LOG */

#endif
