/* test_acl.c -- ACL rules: what they allow, and how they are told again. */
#include "server/acl.h"

#include "lib/base/mem.h"
#include "lib/base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct acl_user *user_of(const char *rules) {
    struct acl_user *user = acl_user_new(SLICE("someone"), false);
    struct why why;
    char *copy = mem_strdup(rules), *rest = copy;
    for (char *rule; (rule = strsep(&rest, " ")) != NULL;)
        assert_int_equal(acl_user_rule(user, slice_text(rule), false, &why), OK);
    mem_free(copy);
    return user;
}

static enum acl_denied try(struct acl_user *user, const char *words, int *at) {
    struct slice argv[16];
    int argc = 0;
    char *copy = mem_strdup(words), *rest = copy;
    for (char *word; argc < 16 && (word = strsep(&rest, " ")) != NULL;)
        argv[argc++] = slice_text(word);
    const struct command *command = command_lookup((size_t)argc, argv);
    assert_non_null(command);
    enum acl_denied denied = acl_check(user, command, argc, argv, at);
    mem_free(copy);
    return denied;
}

static void expect(const char *rules, const char *words, enum acl_denied wanted, int where) {
    struct acl_user *user = user_of(rules);
    int at = -1;
    enum acl_denied denied = try(user, words, &at);
    if (denied != wanted) print_message("%s: %s gave %d\n", rules, words, (int)denied);
    assert_int_equal(denied, wanted);
    if (where >= 0) assert_int_equal(at, where);
    acl_user_free(user);
}

static void test_a_new_user_may_do_nothing_but_log_in(void **state) {
    (void)state;
    expect("on", "get a", ACL_DENIED_COMMAND, 0);
    expect("on", "auth a b", ACL_OK, -1);
    expect("on", "hello 3", ACL_OK, -1);
}

static void test_keys_are_checked_for_what_is_done_with_them(void **state) {
    (void)state;
    expect("+@all %R~r* %W~w*", "copy r w", ACL_OK, -1);
    expect("+@all %R~r* %W~w*", "copy w r", ACL_DENIED_KEY, 1);
    expect("+@all %R~r* %W~w*", "copy r r", ACL_DENIED_KEY, 2);
    expect("+@all ~a", "mget a a a a a a a a b", ACL_DENIED_KEY, 9);
    expect("+@all %R~r", "exists r", ACL_OK, -1);
    expect("+@all %W~r", "exists r", ACL_OK, -1);
    expect("+@all", "exists r", ACL_DENIED_KEY, 1);
    expect("+@all %R~r", "set r v get", ACL_DENIED_KEY, 1);
    expect("+@all %W~r", "set r v", ACL_OK, -1);
    expect("+@all %W~r", "set r v get", ACL_DENIED_KEY, 1);
}

static void test_channels_match_patterns_and_patterns_match_themselves(void **state) {
    (void)state;
    expect("+@all &n*", "publish news x", ACL_OK, -1);
    expect("+@all &n*", "publish old x", ACL_DENIED_CHANNEL, 1);
    expect("+@all &n*", "subscribe news old", ACL_DENIED_CHANNEL, 2);
    expect("+@all &n*", "psubscribe news", ACL_DENIED_CHANNEL, 1);
    expect("+@all &n*", "psubscribe n*", ACL_OK, -1);
    expect("+@all &n*", "unsubscribe old", ACL_OK, -1);
}

static void test_commands_subcommands_and_first_arguments(void **state) {
    (void)state;
    expect("+config -config|set", "config get a", ACL_OK, -1);
    expect("+config -config|set", "config set a b", ACL_DENIED_COMMAND, -1);
    expect("-@all +config|get", "config get a", ACL_OK, -1);
    expect("-@all +select|0", "select 0", ACL_OK, -1);
    expect("-@all +select|0", "select 1", ACL_DENIED_COMMAND, -1);
    expect("-@all +select|0 -select", "select 0", ACL_DENIED_COMMAND, -1);
    expect("+@all -@dangerous ~*", "flushall", ACL_DENIED_COMMAND, -1);
    expect("+@all -@dangerous ~*", "get a", ACL_OK, -1);
}

static void test_one_selector_must_allow_it_all(void **state) {
    (void)state;
    const char *rules = "(%R~r*) clearselectors";
    expect(rules, "get r", ACL_DENIED_COMMAND, -1);
    struct acl_user *user = acl_user_new(SLICE("u"), false);
    struct why why;
    assert_int_equal(acl_user_rule(user, SLICE("(+@all %R~r*)"), false, &why), OK);
    assert_int_equal(acl_user_rule(user, SLICE("(+@all %W~w*)"), false, &why), OK);
    int at;
    assert_int_equal(try(user, "get r", &at), ACL_OK);
    assert_int_equal(try(user, "lpush w 1", &at), ACL_OK);
    assert_int_equal(try(user, "copy r w", &at), ACL_DENIED_KEY);
    acl_user_free(user);
}

static void test_bad_rules_are_refused_and_change_nothing(void **state) {
    (void)state;
    static const char *const bad[] = {
        "%~a",  "%X~a", "%RR~a", "%R",    "+nosuch",  "-config|nosuch",
        "+@no", "~a b", "&a\tb", "#12",   "!12",      "<absent",
        "(+x)", "what", "+",     "-",     "+config|", "+config|get|x",
        ")",    "(",    "*",     "(~a\"", "+@",       "%R~a b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct acl_user *user = user_of("on +get ~a");
        struct buf before = {0}, after = {0};
        struct why why;
        acl_user_describe(user, &before);
        enum err err = acl_user_rule(user, slice_text(bad[i]), false, &why);
        if (err == OK) print_message("taken: %s\n", bad[i]);
        assert_int_not_equal(err, OK);
        acl_user_describe(user, &after);
        assert_string_equal(buf_text(&before), buf_text(&after));
        buf_close(&before);
        buf_close(&after);
        acl_user_free(user);
    }
}

static void test_only_who_may_do_everything_is_unlimited(void **state) {
    (void)state;
    static const struct {
        const char *rules;
        bool unlimited;
    } cases[] = {
        {"+@all ~* &*", true}, {"+@all ~* &* -ping", false},     {"+@all ~* &* -ping +ping", false},
        {"+@all ~*", false},   {"+@all ~* &* resetkeys", false}, {"+@all ~* &* off", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct acl_user *user = user_of(cases[i].rules);
        assert_int_equal(user->unlimited, cases[i].unlimited);
        acl_user_free(user);
    }
}

static void test_passwords_are_kept_as_their_hash(void **state) {
    (void)state;
    struct acl_user *user = user_of("on >secret >secret >other nopass >secret");
    struct buf text = {0};
    acl_user_describe(user, &text);
    assert_string_equal(buf_text(&text),
                        "on #2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b "
                        "resetchannels -@all");
    buf_close(&text);
    acl_user_free(user);
}

/* Any rules: what is told makes the same user again. */
static void test_a_described_user_is_the_same_user(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    print_message("seed %llu\n", (unsigned long long)seed);
    struct rng rng = rng_from(seed);
    int taken = 0;
    for (int round = 0; round < 300; round++) {
        struct acl_user *user = acl_user_new(SLICE("u"), false);
        struct acl_user *again = acl_user_new(SLICE("u"), false);
        struct buf first = {0}, second = {0};
        struct why why;
        for (uint64_t n = rng_below(&rng, 12); n > 0; n--) {
            char rule[96];
            const struct command *command = command_at((size_t)rng_below(&rng, command_count));
            char sign = rng_below(&rng, 2) ? '+' : '-';
            switch (rng_below(&rng, 6)) {
            case 0: snprintf(rule, sizeof rule, "%c%s", sign, command->name); break;
            case 1:
                snprintf(rule, sizeof rule, "%c@%s", sign,
                         command_acl_name((unsigned)rng_below(&rng, COMMAND_ACLS)));
                break;
            case 2: snprintf(rule, sizeof rule, "+%s|%c", command->name, sign); break;
            case 3: snprintf(rule, sizeof rule, "%%R~%u*", (unsigned)rng_below(&rng, 9)); break;
            case 4: snprintf(rule, sizeof rule, "(+%s ~x*)", command->name); break;
            default: snprintf(rule, sizeof rule, "%c@all", sign); break;
            }
            taken += acl_user_rule(user, slice_text(rule), false, &why) == OK;
        }
        acl_user_describe(user, &first);
        struct slice argv[800];
        int argc = 0, bad;
        char *copy = mem_strdup(buf_text(&first)), *rest = copy;
        for (char *word; argc < 800 && (word = strsep(&rest, " ")) != NULL;)
            argv[argc++] = slice_text(word);
        struct acl_words rules = {0};
        assert_int_equal(acl_merge_rules(argc, argv, &rules, &bad), OK);
        for (size_t i = 0; i < rules.count; i++)
            assert_int_equal(acl_user_rule(again, acl_word_slice(&rules.items[i]), false, &why),
                             OK);
        acl_user_describe(again, &second);
        assert_string_equal(buf_text(&first), buf_text(&second));
        assert_memory_equal(user->selectors[0].commands, again->selectors[0].commands,
                            sizeof user->selectors[0].commands);
        acl_words_clear(&rules);
        mem_free(copy);
        buf_close(&first);
        buf_close(&second);
        acl_user_free(user);
        acl_user_free(again);
    }
    assert_true(taken > 300);
}

/* Rules of random bytes are taken or refused; nothing else. */
static void test_random_rules_do_no_harm(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    print_message("seed %llu\n", (unsigned long long)seed);
    struct rng rng = rng_from(seed);
    static const char letters[] = "+-~%&()@|*RW<>#! aget\"'\\\0";
    struct acl_user *user = acl_user_new(SLICE("u"), false);
    int taken = 0;
    for (int round = 0; round < 20000; round++) {
        size_t size = (size_t)rng_below(&rng, 12);
        uint8_t *rule = mem_alloc(size ? size : 1); /* of its exact size, for the sanitizer */
        struct why why;
        for (size_t i = 0; i < size; i++)
            rule[i] = (uint8_t)letters[rng_below(&rng, sizeof letters - 1)];
        taken += acl_user_rule(user, slice_from(rule, size), false, &why) == OK;
        mem_free(rule);
        if (round % 50 == 0) assert_int_equal(acl_user_rule(user, SLICE("reset"), false, &why), OK);
    }
    assert_true(taken > 0 && taken < 20000);
    acl_user_free(user);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_user_may_do_nothing_but_log_in),
        cmocka_unit_test(test_keys_are_checked_for_what_is_done_with_them),
        cmocka_unit_test(test_channels_match_patterns_and_patterns_match_themselves),
        cmocka_unit_test(test_commands_subcommands_and_first_arguments),
        cmocka_unit_test(test_one_selector_must_allow_it_all),
        cmocka_unit_test(test_bad_rules_are_refused_and_change_nothing),
        cmocka_unit_test(test_only_who_may_do_everything_is_unlimited),
        cmocka_unit_test(test_passwords_are_kept_as_their_hash),
        cmocka_unit_test(test_a_described_user_is_the_same_user),
        cmocka_unit_test(test_random_rules_do_no_harm)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
