/* test_policy.c -- no command is forwarded that would bind a shared connection or change one side.
 */
#include "gateway/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static enum policy of(const char *name) {
    return policy_of(command_named(name));
}

static void test_what_would_bind_a_shared_connection_is_not_forwarded(void **state) {
    (void)state;
    for (size_t i = 0; i < command_count; i++) {
        const struct command *command = command_at(i);
        bool binds = (command->flags & (COMMAND_BLOCKING | COMMAND_NO_AUTH)) != 0 ||
                     command->group == COMMAND_GROUP_TRANSACTIONS ||
                     command->group == COMMAND_GROUP_CONNECTION;
        if (binds) assert_int_not_equal(policy_of(command), POLICY_FORWARD);
        if (strstr(command->name, "subscribe") != NULL)
            assert_int_equal(policy_of(command), POLICY_SUBSCRIBE);
    }
}

static void test_what_belongs_to_one_server_is_refused_with_a_reason(void **state) {
    (void)state;
    static const char *const names[] = {"shutdown",   "replicaof",   "debug",
                                        "config|set", "psync",       "sync",
                                        "drawbridge", "acl|setuser", "module|load"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(of(names[i]), POLICY_REFUSE);
        assert_true(strlen(policy_why(command_named(names[i]))) > 10);
    }
    assert_int_equal(of("config|get"), POLICY_FORWARD);
    assert_int_equal(of("flushall"), POLICY_FORWARD);
}

static void test_streams_block_only_when_told_to(void **state) {
    (void)state;
    const struct command *xread = command_named("xread"), *group = command_named("xreadgroup");
    struct slice plain[] = {SLICE("XREAD"),   SLICE("COUNT"), SLICE("1"),
                            SLICE("STREAMS"), SLICE("block"), SLICE("0")};
    struct slice block[] = {SLICE("XREAD"), SLICE("count"),   SLICE("1"), SLICE("bLoCk"),
                            SLICE("0"),     SLICE("STREAMS"), SLICE("a"), SLICE("$")};
    struct slice named[] = {SLICE("XREADGROUP"), SLICE("GROUP"), SLICE("block"), SLICE("block"),
                            SLICE("STREAMS"),    SLICE("a"),     SLICE(">")};
    assert_false(policy_blocks(xread, 6, plain));
    assert_true(policy_blocks(xread, 8, block));
    assert_false(policy_blocks(group, 7, named));
    struct slice pop[] = {SLICE("BLPOP"), SLICE("a"), SLICE("0")};
    assert_true(policy_blocks(command_named("blpop"), 3, pop));
    assert_false(policy_blocks(command_named("lpop"), 3, pop));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_would_bind_a_shared_connection_is_not_forwarded),
        cmocka_unit_test(test_what_belongs_to_one_server_is_refused_with_a_reason),
        cmocka_unit_test(test_streams_block_only_when_told_to),
    };
    return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
