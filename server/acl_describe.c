/* acl_describe.c -- a user's rules in words again.
 *
 * Of the commands only bits are known. The words are found by trying: begin with all or nothing,
 * take the category that fits best as long as one fits, then name single commands; a copy on which
 * each word is tried says what is still missing.
 */
#include "server/acl_inside.h"

#include "lib/base/mem.h"

#include <limits.h>

const struct acl_user_flag_name acl_user_flags[5] = {
    {"on", ACL_USER_ON},
    {"off", ACL_USER_OFF},
    {"nopass", ACL_USER_NOPASS},
    {"skip-sanitize-payload", ACL_USER_SKIP_SANITIZE},
    {"sanitize-payload", ACL_USER_SANITIZE}};

static void count_category(const struct acl_selector *s, unsigned bit, unsigned *on,
                           unsigned *off) {
    *on = *off = 0;
    for (size_t i = 0; i < command_count; i++)
        if (command_at(i)->acl & 1u << bit) *(acl_has_command(s, (unsigned)i) ? on : off) += 1;
}

/* The category that has most in common with what is still to be said; -1: none fits. */
static int best_category(const struct acl_selector *left, bool adding, uint32_t used) {
    int best = -1;
    unsigned least_wrong = UINT_MAX, most_right = 0;
    for (unsigned bit = 0; bit < COMMAND_ACLS; bit++) {
        unsigned on, off;
        if (used & 1u << bit) continue;
        count_category(left, bit, &on, &off);
        unsigned wrong = adding ? off : on, right = adding ? on : off;
        if (right <= wrong) continue;
        if (wrong > least_wrong || (wrong == least_wrong && right <= most_right)) continue;
        best = (int)bit;
        least_wrong = wrong;
        most_right = right;
    }
    return best;
}

static void say_categories(const struct acl_selector *s, bool adding, struct acl_selector *said,
                           struct buf *out) {
    struct acl_selector left = {0};
    uint32_t used = 0;
    memcpy(left.commands, s->commands, sizeof left.commands);
    for (int bit; (bit = best_category(&left, adding, used)) >= 0; used |= 1u << bit) {
        const char *name = command_acl_name((unsigned)bit);
        char rule[64];
        snprintf(rule, sizeof rule, "%c@%s", adding ? '+' : '-', name);
        acl_selector_rule_trusted(said, rule);
        buf_printf(out, " %s", rule);
        snprintf(rule, sizeof rule, "%c@%s", adding ? '-' : '+', name);
        acl_selector_rule_trusted(&left, rule);
    }
}

static void say_command(const struct acl_selector *s, const struct command *command,
                        struct acl_selector *said, struct buf *out) {
    bool has = acl_has_command(s, command->index);
    if (has != acl_has_command(said, command->index)) {
        buf_printf(out, " %c%s", has ? '+' : '-', command->name);
        acl_selector_command(said, command, has);
    }
    for (size_t i = 0; !has && i < s->first_args.count; i++) {
        const struct acl_word *word = &s->first_args.items[i];
        if (word->flags != command->index) continue;
        buf_printf(out, " +%s|", command->name);
        buf_add(out, acl_word_slice(word));
    }
}

void acl_describe_commands(const struct acl_selector *s, struct buf *out) {
    struct acl_selector said = {0};
    bool adding = !acl_selector_knows_future(s);
    acl_selector_rule_trusted(&said, adding ? "-@all" : "+@all");
    buf_printf(out, "%s", adding ? "-@all" : "+@all");
    say_categories(s, adding, &said, out);
    for (size_t i = 0; i < command_count; i++) {
        const struct command *command = command_at(i);
        if (command->parent != command->index) continue;
        say_command(s, command, &said, out);
        for (size_t n = 0; command_is_container(command) && n < command_count; n++)
            if (command_at(n)->parent == command->index && n != i)
                say_command(s, command_at(n), &said, out);
    }
    ASSERT(memcmp(said.commands, s->commands, sizeof said.commands) == 0);
}

void acl_describe_keys(const struct acl_selector *s, struct buf *out) {
    if (s->flags & ACL_ALL_KEYS) buf_printf(out, "~*");
    for (size_t i = 0; i < s->keys.count; i++) {
        static const char *const prefixes[] = {"", "%R~", "%W~", "~"};
        buf_printf(out, "%s%s", i ? " " : "", prefixes[s->keys.items[i].flags & 3]);
        buf_add(out, acl_word_slice(&s->keys.items[i]));
    }
}

void acl_describe_channels(const struct acl_selector *s, struct buf *out) {
    if (s->flags & ACL_ALL_CHANNELS) buf_printf(out, "&*");
    for (size_t i = 0; i < s->channels.count; i++) {
        buf_printf(out, "%s&", i ? " " : "");
        buf_add(out, acl_word_slice(&s->channels.items[i]));
    }
}

static void describe_selector(const struct acl_selector *s, struct buf *out) {
    acl_describe_keys(s, out);
    if (s->flags & ACL_ALL_KEYS || s->keys.count > 0) buf_byte(out, ' ');
    if (!(s->flags & ACL_ALL_CHANNELS)) buf_printf(out, "resetchannels ");
    acl_describe_channels(s, out);
    if (s->flags & ACL_ALL_CHANNELS || s->channels.count > 0) buf_byte(out, ' ');
    acl_describe_commands(s, out);
}

void acl_user_describe(const struct acl_user *user, struct buf *out) {
    for (size_t i = 0; i < sizeof acl_user_flags / sizeof *acl_user_flags; i++)
        if (user->flags & acl_user_flags[i].flag) buf_printf(out, "%s ", acl_user_flags[i].name);
    for (size_t i = 0; i < user->passwords.count; i++) {
        buf_byte(out, '#');
        buf_add(out, acl_word_slice(&user->passwords.items[i]));
        buf_byte(out, ' ');
    }
    for (size_t i = 0; i < user->selector_count; i++) {
        if (i > 0) buf_printf(out, " (");
        describe_selector(&user->selectors[i], out);
        if (i > 0) buf_byte(out, ')');
    }
}
