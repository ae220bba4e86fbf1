/* acl_rules.h -- one user's rules: parsed, copied, described. Pure: knows no clients.
 *
 * Rules are words as ACL SETUSER takes them: "on", ">password", "+@read", "~key:*", "(+get ~a*)".
 * A rule that is not valid changes nothing. acl_user_describe() gives words that make the same
 * user again.
 */
#ifndef SERVER_ACL_RULES_H
#define SERVER_ACL_RULES_H

#include "lib/base/buf.h"
#include "lib/base/slice.h"
#include "lib/base/why.h"
#include "lib/redis/command.h"

/* One bit for each row of the command table, and the last one for commands to come: it says
 * whether the rules began with +@all. */
#define ACL_COMMANDS 1024
#define ACL_HASH_TEXT 64 /* SHA-256 in lower case hexadecimal */

enum acl_key_permission { ACL_KEY_READ = 1, ACL_KEY_WRITE = 2 };

/* A pattern (flags: enum acl_key_permission), a channel, a password, or the first argument that an
 * otherwise forbidden command may have (flags: the command's index). */
struct acl_word {
    unsigned flags;
    size_t size;
    uint8_t *bytes; /* owned */
};

struct acl_words {
    struct acl_word *items;
    size_t count, room;
};

enum acl_selector_flag { ACL_ALL_KEYS = 1, ACL_ALL_CHANNELS = 2, ACL_ALL_COMMANDS = 4 };

struct acl_selector {
    unsigned flags; /* enum acl_selector_flag */
    uint64_t commands[ACL_COMMANDS / 64];
    struct acl_words keys, channels, first_args;
};

enum acl_user_flag {
    ACL_USER_ON = 1,
    ACL_USER_OFF = 2,
    ACL_USER_NOPASS = 4,
    ACL_USER_SKIP_SANITIZE = 8,
    ACL_USER_SANITIZE = 16
};

struct acl_user {
    bool unlimited; /* some selector allows everything */
    unsigned flags; /* enum acl_user_flag */
    size_t name_size;
    uint8_t *name;              /* owned */
    struct acl_words passwords; /* hashes */
    struct acl_selector *selectors;
    size_t selector_count; /* at least 1: the first is the user's own */
};

struct acl_user *acl_user_new(struct slice name, bool all_channels);
void acl_user_free(struct acl_user *user);
/* TO gets the rules of FROM and keeps its name. */
void acl_user_copy(struct acl_user *to, const struct acl_user *from);
static inline struct slice acl_user_name(const struct acl_user *user) {
    return slice_from(user->name, user->name_size);
}

/* Apply one rule. ALL_CHANNELS: acl-pubsub-default is allchannels.
 *   ERR_ABSENT  an unknown command or category
 *   ERR_CONFIG  anything else; WHY in the words of Redis 7.0 */
MUST_CHECK enum err acl_user_rule(struct acl_user *user, struct slice rule, bool all_channels,
                                  struct why *why);

/* Selectors may have been split at their spaces: put them together again. WORDS gets the rules.
 * ERR_CONFIG: a parenthesis is not closed; *BAD is its argument. */
MUST_CHECK enum err acl_merge_rules(int argc, const struct slice *argv, struct acl_words *words,
                                    int *bad);

void acl_user_describe(const struct acl_user *user, struct buf *out);
void acl_describe_commands(const struct acl_selector *s, struct buf *out);
void acl_describe_keys(const struct acl_selector *s, struct buf *out);
void acl_describe_channels(const struct acl_selector *s, struct buf *out);
extern const struct acl_user_flag_name {
    const char *name;
    unsigned flag;
} acl_user_flags[5];

bool acl_has_command(const struct acl_selector *s, unsigned index);
/* A category's bit in command->acl; 0: there is none of this name. */
uint32_t acl_category(struct slice name);
void acl_hash(struct slice password, char text[ACL_HASH_TEXT]);
bool acl_has_spaces(struct slice text); /* or NUL: not good for names and patterns */

static inline struct slice acl_word_slice(const struct acl_word *word) {
    return slice_from(word->bytes, word->size);
}
const struct acl_word *acl_words_find(const struct acl_words *words, struct slice text);
void acl_words_add(struct acl_words *words, struct slice text, unsigned flags);
void acl_words_clear(struct acl_words *words);

#endif
