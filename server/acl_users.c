/* acl_users.c -- the table of users, and the clients that are logged in as them. */
#include "server/acl_inside.h"

#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "server/args.h"
#include "server/client_info.h"
#include "server/engine.h"
#include "server/pubsub.h"

bool acl_channels_by_default(const struct engine *engine) {
    return engine->settings.acl_pubsub_default == ACL_PUBSUB_ALLCHANNELS;
}

/* ---- the table ---- */

/* Where NAME is, or belongs. */
static size_t place(const struct engine_acl *acl, struct slice name, bool *found) {
    size_t low = 0, high = acl->count;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = slice_compare(acl_user_name(acl->users[middle]), name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct acl_user *acl_user_named(struct engine *engine, struct slice name) {
    bool found;
    size_t at = place(engine->acl, name, &found);
    return found ? engine->acl->users[at] : NULL;
}

struct acl_user *acl_default_user(struct engine *engine) {
    return engine->acl->fallback;
}

void acl_users_add(struct engine *engine, struct acl_user *user) {
    struct engine_acl *acl = engine->acl;
    bool found;
    size_t at = place(acl, acl_user_name(user), &found);
    ASSERT(!found);
    if (acl->count == acl->room) {
        acl->room = acl->room ? acl->room * 2 : 8;
        acl->users = mem_realloc(acl->users, acl->room * sizeof *acl->users);
    }
    memmove(acl->users + at + 1, acl->users + at, (acl->count - at) * sizeof *acl->users);
    acl->users[at] = user;
    acl->count++;
}

/* The clients of a user that goes away lose it at once, so that nothing can be done in its name. */
static void free_user(struct engine *engine, struct acl_user *user) {
    for (struct client *c = engine->clients; c; c = c->next) {
        if (c->user != user) continue;
        c->user = engine->acl->fallback;
        c->authenticated = false;
        if (c == engine->current)
            client_close_after_reply(c);
        else
            client_close_later(c);
    }
    acl_user_free(user);
}

bool acl_users_remove(struct engine *engine, struct slice name) {
    struct engine_acl *acl = engine->acl;
    bool found;
    size_t at = place(acl, name, &found);
    if (!found || acl->users[at] == acl->fallback) return false;
    struct acl_user *user = acl->users[at];
    acl->count--;
    memmove(acl->users + at, acl->users + at + 1, (acl->count - at) * sizeof *acl->users);
    free_user(engine, user);
    return true;
}

/* The default user keeps its place in memory: it gets the rules of the new one of that name. */
void acl_users_replace(struct engine *engine, struct acl_user **users, size_t count) {
    struct engine_acl *acl = engine->acl;
    struct acl_user **old = acl->users;
    size_t old_count = acl->count;
    bool has_default = false;
    acl->users = NULL;
    acl->count = acl->room = 0;
    for (size_t i = 0; i < count; i++) {
        if (!slice_equal(acl_user_name(users[i]), SLICE("default"))) {
            acl_users_add(engine, users[i]);
            continue;
        }
        has_default = true;
        acl_user_copy(acl->fallback, users[i]);
        acl_user_free(users[i]);
    }
    if (!has_default) acl_make_default(acl->fallback);
    acl_users_add(engine, acl->fallback);
    for (size_t i = 0; i < old_count; i++)
        if (old[i] != acl->fallback) free_user(engine, old[i]);
    mem_free(old);
}

/* ---- changing one ---- */

static bool has_all_channels(const struct acl_user *user) {
    for (size_t i = 0; i < user->selector_count; i++)
        if (user->selectors[i].flags & ACL_ALL_CHANNELS) return true;
    return false;
}

static bool knows_channel(const struct acl_user *user, struct slice channel, bool literal) {
    for (size_t i = 0; i < user->selector_count; i++) {
        const struct acl_words *channels = &user->selectors[i].channels;
        for (size_t n = 0; n < channels->count; n++) {
            struct slice pattern = acl_word_slice(&channels->items[n]);
            if (literal ? slice_equal(pattern, channel) : pattern_matches(pattern, channel, false))
                return true;
        }
    }
    return false;
}

static bool keeps_all_channels(const struct acl_user *from, const struct acl_user *to) {
    if (has_all_channels(to)) return true;
    if (has_all_channels(from)) return false;
    for (size_t i = 0; i < from->selector_count; i++) {
        const struct acl_words *channels = &from->selectors[i].channels;
        for (size_t n = 0; n < channels->count; n++)
            if (!knows_channel(to, acl_word_slice(&channels->items[n]), true)) return false;
    }
    return true;
}

static bool may_hear(void *ctx, struct slice channel, bool is_pattern) {
    return knows_channel(ctx, channel, is_pattern);
}

/* Subscribers that listen to what USER may not hear any more are hung up. */
static void hang_up_listeners(struct engine *engine, struct acl_user *user,
                              struct acl_user *changed) {
    if (keeps_all_channels(user, changed)) return;
    for (struct client *c = engine->clients; c; c = c->next)
        if (c->user == user && strcmp(client_type_name(c), "pubsub") == 0 &&
            !pubsub_all_pass(c, may_hear, changed))
            client_close_later(c);
}

static enum err apply_rules(struct engine *engine, struct acl_user *user,
                            const struct acl_words *rules, struct why *why) {
    for (size_t i = 0; i < rules->count; i++) {
        struct slice rule = acl_word_slice(&rules->items[i]);
        enum err err = acl_user_rule(user, rule, acl_channels_by_default(engine), why);
        if (err == OK) continue;
        int shown = (int)(rule.size < 400 ? rule.size : 400);
        return why_add(why, err, "Error in ACL SETUSER modifier '%.*s'", shown,
                       (const char *)rule.data);
    }
    return OK;
}

enum err acl_users_set(struct engine *engine, struct slice name, int argc, const struct slice *argv,
                       struct why *why) {
    struct acl_words rules = {0};
    int bad;
    if (acl_merge_rules(argc, argv, &rules, &bad) != OK)
        return why_set(why, ERR_CONFIG, "Unmatched parenthesis in acl selector starting at '%.*s'.",
                       (int)(argv[bad].size < 200 ? argv[bad].size : 200),
                       (const char *)argv[bad].data);
    struct acl_user *user = acl_user_named(engine, name);
    struct acl_user *changed = acl_user_new(name, acl_channels_by_default(engine));
    if (user) acl_user_copy(changed, user);
    enum err err = apply_rules(engine, changed, &rules, why);
    acl_words_clear(&rules);
    if (err == OK && user == NULL) {
        acl_users_add(engine, changed);
        return OK;
    }
    if (err == OK) {
        hang_up_listeners(engine, user, changed);
        acl_user_copy(user, changed);
    }
    acl_user_free(changed);
    return err;
}

/* ---- the default user, and logging in ---- */

void acl_make_default(struct acl_user *user) {
    static const char *const rules[] = {"reset", "+@all", "~*", "allchannels", "on", "nopass"};
    struct why why;
    for (size_t i = 0; i < COUNT(rules); i++) {
        enum err err = acl_user_rule(user, slice_text(rules[i]), false, &why);
        ASSERT(err == OK);
    }
    user->flags &= ~(unsigned)ACL_USER_SANITIZE; /* as it is before anyone said "reset" */
}

void acl_open(struct engine *engine) {
    ASSERT(command_count < ACL_COMMANDS - 1);
    engine->acl = NEW(struct engine_acl);
    engine->acl->fallback = acl_user_new(SLICE("default"), true);
    acl_make_default(engine->acl->fallback);
    acl_users_add(engine, engine->acl->fallback);
}

static bool is_open_door(const struct acl_user *user) {
    return user->flags & ACL_USER_NOPASS && !(user->flags & ACL_USER_OFF);
}

void acl_welcome(struct client *c) {
    c->user = c->engine->acl->fallback;
    c->authenticated = is_open_door(c->user);
}

bool acl_must_authenticate(const struct client *c) {
    return !c->authenticated && !is_open_door(c->engine->acl->fallback);
}

static bool password_is_good(const struct acl_user *user, struct slice password) {
    char hash[ACL_HASH_TEXT];
    bool good = false;
    acl_hash(password, hash);
    for (size_t i = 0; i < user->passwords.count; i++) {
        const struct acl_word *wanted = &user->passwords.items[i];
        unsigned differs = wanted->size != sizeof hash; /* in the same time wherever they differ */
        for (size_t n = 0; n < sizeof hash && wanted->size == sizeof hash; n++)
            differs |= (unsigned)((uint8_t)hash[n] ^ wanted->bytes[n]);
        good = good || differs == 0;
    }
    return good;
}

bool acl_authenticate(struct client *c, struct slice name, struct slice password) {
    struct acl_user *user = acl_user_named(c->engine, name);
    if (user && !(user->flags & ACL_USER_OFF) &&
        (user->flags & ACL_USER_NOPASS || password_is_good(user, password))) {
        c->user = user;
        c->authenticated = true;
        return true;
    }
    acl_log_add(c, ACL_DENIED_AUTH, c->flags & CLIENT_MULTI ? ACL_IN_MULTI : ACL_AT_TOP, name,
                c->argv[0]);
    return false;
}

void acl_set_requirepass(struct engine *engine) {
    const struct settings *s = &engine->settings;
    struct acl_user *user = engine->acl->fallback;
    struct why why;
    struct buf rule = {0};
    buf_printf(&rule, s->requirepass_size ? ">" : "nopass");
    buf_append(&rule, s->requirepass, s->requirepass_size);
    enum err err = acl_user_rule(user, SLICE("resetpass"), false, &why);
    if (err == OK) err = acl_user_rule(user, buf_slice(&rule), false, &why);
    ASSERT(err == OK);
    secret_wipe(rule.data, rule.cap);
    buf_close(&rule);
}

void acl_redact(struct client *c, int argument) {
    c->argv[argument] = SLICE("(redacted)");
}
