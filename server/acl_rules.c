/* acl_rules.c -- ACL rules: words that change a user. */
#include "server/acl_inside.h"

#include "lib/base/mem.h"
#include "lib/redis/resp.h"
#include "server/args.h"

#define FUTURE (ACL_COMMANDS - 1)
#define SELECTOR_WORDS_MAX 1024

static const char too_many_keys[] =
    "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have "
    "any effect. Try 'resetkeys' to start with an empty list of patterns";
static const char too_many_channels[] =
    "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not "
    "have any effect. Try 'resetchannels' to start with an empty list of channels";

static enum err syntax(struct why *why) {
    return why_set(why, ERR_CONFIG, "Syntax error");
}

static enum err unknown(struct why *why) {
    return why_set(why, ERR_ABSENT, "Unknown command or category name in ACL");
}

/* ---- commands ---- */

bool acl_has_command(const struct acl_selector *s, unsigned index) {
    return s->commands[index / 64] >> index % 64 & 1;
}

static void set_command(struct acl_selector *s, unsigned index, bool allow) {
    uint64_t bit = UINT64_C(1) << index % 64;
    if (allow) {
        s->commands[index / 64] |= bit;
    } else {
        s->commands[index / 64] &= ~bit;
        s->flags &= ~(unsigned)ACL_ALL_COMMANDS;
    }
}

static void forget_first_args(struct acl_selector *s, unsigned index) {
    size_t kept = 0;
    for (size_t i = 0; i < s->first_args.count; i++) {
        if (s->first_args.items[i].flags == index)
            mem_free(s->first_args.items[i].bytes);
        else
            s->first_args.items[kept++] = s->first_args.items[i];
    }
    s->first_args.count = kept;
}

/* A container brings its subcommands along. */
static void change_command(struct acl_selector *s, const struct command *command, bool allow) {
    set_command(s, command->index, allow);
    forget_first_args(s, command->index);
    if (!command_is_container(command)) return;
    for (size_t i = 0; i < command_count; i++)
        if (command_at(i)->parent == command->index) set_command(s, (unsigned)i, allow);
}

static void change_all(struct acl_selector *s, bool allow) {
    memset(s->commands, allow ? 255 : 0, sizeof s->commands);
    if (allow)
        s->flags |= ACL_ALL_COMMANDS;
    else
        s->flags &= ~(unsigned)ACL_ALL_COMMANDS;
    acl_words_clear(&s->first_args);
}

uint32_t acl_category(struct slice name) {
    for (unsigned bit = 0; bit < COMMAND_ACLS; bit++)
        if (arg_is(name, command_acl_name(bit))) return 1u << bit;
    return 0;
}

static void change_category(struct acl_selector *s, uint32_t category, bool allow) {
    for (size_t i = 0; i < command_count; i++)
        if (command_at(i)->acl & category) change_command(s, command_at(i), allow);
}

/* "get" or "config|set". */
static const struct command *command_by_words(struct slice name) {
    const uint8_t *bar = name.size ? memchr(name.data, '|', name.size) : NULL;
    if (bar == NULL) return command_find(name);
    size_t size = (size_t)(bar - name.data);
    const struct command *container = command_find(slice_take(name, size));
    return container ? command_find_sub(container, slice_drop(name, size + 1)) : NULL;
}

static const uint8_t *last_bar(struct slice text) {
    return text.size ? memrchr(text.data, '|', text.size) : NULL;
}

/* +command, +container|subcommand, +command|first-argument */
static enum err allow_command(struct acl_selector *s, struct slice name, struct why *why) {
    const uint8_t *bar = last_bar(name);
    const struct command *command;
    if (bar == NULL) {
        command = command_find(name);
        if (command == NULL) return unknown(why);
        change_command(s, command, true);
        return OK;
    }
    size_t size = (size_t)(bar - name.data);
    struct slice sub = slice_drop(name, size + 1);
    command = command_by_words(slice_take(name, size));
    if (command == NULL) return unknown(why);
    if (command->parent != command->index)
        return why_set(why, ERR_CONFIG, "Allowing first-arg of a subcommand is not supported");
    if (sub.size == 0) return syntax(why);
    if (command_is_container(command)) {
        command = command_find_sub(command, sub);
        if (command == NULL) return unknown(why);
        change_command(s, command, true);
        return OK;
    }
    for (size_t i = 0; i < s->first_args.count; i++)
        if (s->first_args.items[i].flags == command->index &&
            slice_equal_nocase(acl_word_slice(&s->first_args.items[i]), sub))
            return OK;
    acl_words_add(&s->first_args, sub, command->index);
    return OK;
}

static enum err command_rule(struct acl_selector *s, struct slice rule, struct why *why) {
    bool allow = rule.data[0] == '+';
    struct slice name = slice_drop(rule, 1);
    if (name.size > 0 && name.data[0] == '@') {
        uint32_t category = acl_category(slice_drop(name, 1));
        if (category == 0) return unknown(why);
        change_category(s, category, allow);
        return OK;
    }
    if (allow) return allow_command(s, name, why);
    const struct command *command = command_by_words(name);
    if (command == NULL) return unknown(why);
    change_command(s, command, false);
    return OK;
}

/* ---- keys and channels ---- */

/* ~pattern, %R~pattern, %W~pattern, %RW~pattern */
static enum err key_rule(struct acl_selector *s, struct slice rule, struct why *why) {
    if (s->flags & ACL_ALL_KEYS) return why_set(why, ERR_CONFIG, "%s", too_many_keys);
    unsigned flags = ACL_KEY_READ | ACL_KEY_WRITE;
    size_t at = 1;
    if (rule.data[0] == '%') {
        bool tilde = false;
        for (flags = 0; at < rule.size && !tilde; at++) {
            unsigned char letter = rule.data[at] & 0xdf;
            unsigned flag = letter == 'R' ? ACL_KEY_READ : letter == 'W' ? ACL_KEY_WRITE : 0;
            tilde = rule.data[at] == '~';
            if (!tilde && (flag == 0 || flags & flag)) return syntax(why);
            if (!tilde) flags |= flag;
        }
        if (!tilde || flags == 0) return syntax(why);
    }
    struct slice pattern = slice_drop(rule, at);
    if (acl_has_spaces(pattern)) return syntax(why);
    for (size_t i = 0; i < s->keys.count; i++)
        if (slice_equal(acl_word_slice(&s->keys.items[i]), pattern)) {
            s->keys.items[i].flags |= flags;
            return OK;
        }
    acl_words_add(&s->keys, pattern, flags);
    return OK;
}

static enum err channel_rule(struct acl_selector *s, struct slice rule, struct why *why) {
    struct slice pattern = slice_drop(rule, 1);
    if (s->flags & ACL_ALL_CHANNELS) return why_set(why, ERR_CONFIG, "%s", too_many_channels);
    if (acl_has_spaces(pattern)) return syntax(why);
    if (acl_words_find(&s->channels, pattern) == NULL) acl_words_add(&s->channels, pattern, 0);
    return OK;
}

static void all_keys(struct acl_selector *s, bool allow) {
    s->flags = allow ? s->flags | ACL_ALL_KEYS : s->flags & ~(unsigned)ACL_ALL_KEYS;
    acl_words_clear(&s->keys);
}

static void all_channels(struct acl_selector *s, bool allow) {
    s->flags = allow ? s->flags | ACL_ALL_CHANNELS : s->flags & ~(unsigned)ACL_ALL_CHANNELS;
    acl_words_clear(&s->channels);
}

static enum err selector_rule(struct acl_selector *s, struct slice rule, struct why *why) {
    if (arg_is(rule, "allkeys") || arg_is(rule, "~*"))
        all_keys(s, true);
    else if (arg_is(rule, "resetkeys"))
        all_keys(s, false);
    else if (arg_is(rule, "allchannels") || arg_is(rule, "&*"))
        all_channels(s, true);
    else if (arg_is(rule, "resetchannels"))
        all_channels(s, false);
    else if (arg_is(rule, "allcommands") || arg_is(rule, "+@all"))
        change_all(s, true);
    else if (arg_is(rule, "nocommands") || arg_is(rule, "-@all"))
        change_all(s, false);
    else if (rule.size > 0 && (rule.data[0] == '~' || rule.data[0] == '%'))
        return key_rule(s, rule, why);
    else if (rule.size > 0 && rule.data[0] == '&')
        return channel_rule(s, rule, why);
    else if (rule.size > 0 && (rule.data[0] == '+' || rule.data[0] == '-'))
        return command_rule(s, rule, why);
    else
        return syntax(why);
    return OK;
}

/* ---- selectors ---- */

static void free_selector(struct acl_selector *s) {
    acl_words_clear(&s->keys);
    acl_words_clear(&s->channels);
    acl_words_clear(&s->first_args);
}

static void copy_words(struct acl_words *to, const struct acl_words *from) {
    *to = (struct acl_words){0};
    for (size_t i = 0; i < from->count; i++)
        acl_words_add(to, acl_word_slice(&from->items[i]), from->items[i].flags);
}

static struct acl_selector *add_selector(struct acl_user *user) {
    user->selectors =
        mem_realloc(user->selectors, (user->selector_count + 1) * sizeof *user->selectors);
    return &user->selectors[user->selector_count++];
}

static void keep_selectors(struct acl_user *user, size_t kept) {
    while (user->selector_count > kept) free_selector(&user->selectors[--user->selector_count]);
}

/* "(rules)", to be added whole or not at all. */
static enum err add_selector_of(struct acl_user *user, struct slice rule, bool channels,
                                struct why *why) {
    struct buf text = {0};
    struct acl_selector s = {.flags = channels ? ACL_ALL_CHANNELS : 0};
    struct resp_span *spans = NEW_ARRAY(struct resp_span, SELECTOR_WORDS_MAX);
    size_t count = 0;
    enum err err = resp_split_line(slice_from(rule.data + 1, rule.size - 2), &text, spans,
                                   SELECTOR_WORDS_MAX, &count, why);
    if (err != OK) err = syntax(why);
    for (size_t i = 0; err == OK && i < count; i++) {
        struct slice word = slice_from(buf_slice(&text).data + spans[i].at, spans[i].size);
        err = selector_rule(&s, word, why);
    }
    if (err == OK)
        *add_selector(user) = s;
    else
        free_selector(&s);
    mem_free(spans);
    buf_close(&text);
    return err;
}

/* ---- users ---- */

struct acl_user *acl_user_new(struct slice name, bool channels) {
    struct acl_user *user = NEW(struct acl_user);
    user->name = mem_alloc(name.size + 1);
    if (name.size) memcpy(user->name, name.data, name.size);
    user->name_size = name.size;
    user->flags = ACL_USER_OFF;
    *add_selector(user) = (struct acl_selector){.flags = channels ? ACL_ALL_CHANNELS : 0};
    return user;
}

void acl_user_free(struct acl_user *user) {
    keep_selectors(user, 0);
    mem_free(user->selectors);
    acl_words_clear(&user->passwords);
    mem_free(user->name);
    mem_free(user);
}

void acl_user_copy(struct acl_user *to, const struct acl_user *from) {
    keep_selectors(to, 0);
    acl_words_clear(&to->passwords);
    copy_words(&to->passwords, &from->passwords);
    to->flags = from->flags;
    to->unlimited = from->unlimited;
    for (size_t i = 0; i < from->selector_count; i++) {
        const struct acl_selector *old = &from->selectors[i];
        struct acl_selector *s = add_selector(to);
        *s = *old;
        copy_words(&s->keys, &old->keys);
        copy_words(&s->channels, &old->channels);
        copy_words(&s->first_args, &old->first_args);
    }
}

static void note_unlimited(struct acl_user *user) {
    const unsigned all = ACL_ALL_KEYS | ACL_ALL_CHANNELS | ACL_ALL_COMMANDS;
    user->unlimited = false;
    for (size_t i = 0; i < user->selector_count; i++)
        if ((user->selectors[i].flags & all) == all) user->unlimited = true;
}

static bool is_hash(struct slice text) {
    if (text.size != ACL_HASH_TEXT) return false;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if ((c < 'a' || c > 'f') && (c < '0' || c > '9')) return false;
    }
    return true;
}

/* >password and #hash add one, <password and !hash take one away. */
static enum err password_rule(struct acl_user *user, struct slice rule, struct why *why) {
    char text[ACL_HASH_TEXT];
    struct slice hash = slice_drop(rule, 1);
    bool add = rule.data[0] == '>' || rule.data[0] == '#';
    if (rule.data[0] == '>' || rule.data[0] == '<') {
        acl_hash(hash, text);
        hash = slice_from(text, sizeof text);
    } else if (!is_hash(hash))
        return why_set(why, ERR_CONFIG,
                       "The password hash must be exactly 64 characters and contain only "
                       "lowercase hexadecimal characters");
    const struct acl_word *found = acl_words_find(&user->passwords, hash);
    if (add) {
        if (found == NULL) acl_words_add(&user->passwords, hash, 0);
        user->flags &= ~(unsigned)ACL_USER_NOPASS;
        return OK;
    }
    if (found == NULL)
        return why_set(why, ERR_CONFIG,
                       "The password you are trying to remove from the user does not exist");
    size_t index = (size_t)(found - user->passwords.items);
    mem_free(user->passwords.items[index].bytes);
    user->passwords.count--;
    memmove(user->passwords.items + index, user->passwords.items + index + 1,
            (user->passwords.count - index) * sizeof *user->passwords.items);
    return OK;
}

static void change_flags(struct acl_user *user, unsigned on, unsigned off) {
    user->flags = (user->flags & ~off) | on;
}

static void reset(struct acl_user *user, bool channels) {
    struct acl_selector *own = &user->selectors[0];
    acl_words_clear(&user->passwords);
    change_flags(user, ACL_USER_OFF | ACL_USER_SANITIZE,
                 ACL_USER_NOPASS | ACL_USER_ON | ACL_USER_SKIP_SANITIZE);
    all_keys(own, false);
    all_channels(own, channels);
    change_all(own, false);
    keep_selectors(user, 1);
}

/* Rules about the user itself; false: it is none of them. */
static bool user_rule(struct acl_user *user, struct slice rule, bool channels) {
    if (arg_is(rule, "on"))
        change_flags(user, ACL_USER_ON, ACL_USER_OFF);
    else if (arg_is(rule, "off"))
        change_flags(user, ACL_USER_OFF, ACL_USER_ON);
    else if (arg_is(rule, "skip-sanitize-payload"))
        change_flags(user, ACL_USER_SKIP_SANITIZE, ACL_USER_SANITIZE);
    else if (arg_is(rule, "sanitize-payload"))
        change_flags(user, ACL_USER_SANITIZE, ACL_USER_SKIP_SANITIZE);
    else if (arg_is(rule, "nopass") || arg_is(rule, "resetpass")) {
        bool none_needed = arg_is(rule, "nopass");
        change_flags(user, none_needed ? ACL_USER_NOPASS : 0, ACL_USER_NOPASS);
        acl_words_clear(&user->passwords);
    } else if (arg_is(rule, "clearselectors"))
        keep_selectors(user, 1);
    else if (arg_is(rule, "reset"))
        reset(user, channels);
    else
        return false;
    return true;
}

enum err acl_user_rule(struct acl_user *user, struct slice rule, bool channels, struct why *why) {
    enum err err = OK;
    if (rule.size == 0 || user_rule(user, rule, channels)) {
        /* done */
    } else if (memchr("><#!", rule.data[0], 4))
        err = password_rule(user, rule, why);
    else if (rule.size > 1 && rule.data[0] == '(' && rule.data[rule.size - 1] == ')')
        err = add_selector_of(user, rule, channels, why);
    else
        err = selector_rule(&user->selectors[0], rule, why);
    note_unlimited(user);
    return err;
}

/* ---- for acl_describe.c ---- */

void acl_selector_rule_trusted(struct acl_selector *s, const char *rule) {
    struct why why;
    enum err err = selector_rule(s, slice_text(rule), &why);
    ASSERT(err == OK);
}

void acl_selector_command(struct acl_selector *s, const struct command *command, bool allow) {
    change_command(s, command, allow);
}

bool acl_selector_knows_future(const struct acl_selector *s) {
    return acl_has_command(s, FUTURE);
}
