/* test_config.c -- drawbridge.yaml: the file of the operator's guide loads, and each mistake is
 * named with its place. */
#include "lib/base/fs.h"
#include "lib/control/config.h"
#include "tests/support/certs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char guide[] =
    "migration: prod-cart\n"
    "legacy:  { address: cart.abc123.euw1.cache.example:6379, tls: { ca: /etc/ssl/certs }, auth: { "
    "user: mover, password: \"env:TEST_PASSWORD\" },\n"
    "           commands: { psync: xhma21xfkssync } }        # a cloud's renamed PSYNC\n"
    "target:  { address: 127.0.0.1:6400 }\n"
    "server:  { port: 6400, dir: /var/lib/drawbridge/server, config: /etc/drawbridge/server.conf "
    "}\n"
    "gateway: { listen: 0.0.0.0:6379, tls: { listen: 0.0.0.0:6380, cert: a.pem, key: a.key }, "
    "auth: "
    "{ password: \"env:TEST_PASSWORD\" }, loops: auto,\n"
    "           admin: /run/drawbridge/gateway.sock, metrics: 127.0.0.1:9379 }\n"
    "syncer:  { spool: { dir: /var/lib/drawbridge/spool, limit: 400GB }, metrics: 127.0.0.1:9380 "
    "}\n"
    "state:   { ledger: /var/lib/drawbridge/ledger.db, control: unix:/run/drawbridge/control.sock, "
    "api: unix:/run/drawbridge/api.sock, console: 127.0.0.1:8380 }\n"
    "log:     { format: text, level: info }                   # or json\n"
    "run_dir: /run/drawbridge\n"
    "gates:   { lag: 200ms, audit_age: 24h }\n"
    "cutover: { max_hold: 500ms, max_blackout: 10s }\n";

static void test_the_guides_file_loads(void **state) {
    (void)state;
    struct drawbridge_config c;
    struct why why;
    setenv("TEST_PASSWORD", "pass word", 1);
    if (config_read(&c, slice_text(guide), "guide.yaml", NULL, &why) != OK)
        fail_msg("%s", why.text);
    assert_string_equal(c.migration, "prod-cart");
    assert_string_equal(c.legacy.endpoint.host, "cart.abc123.euw1.cache.example");
    assert_true(c.legacy.endpoint.tls.on);
    assert_string_equal(c.legacy.endpoint.tls.ca, "/etc/ssl/certs");
    assert_string_equal(c.legacy.auth.user, "mover");
    assert_true(secret_equal(&c.legacy.auth.password, SLICE("pass word")));
    assert_string_equal(c.legacy.commands.psync, "xhma21xfkssync");
    assert_string_equal(c.target.commands.psync, "PSYNC");
    assert_false(c.target.endpoint.tls.on);
    assert_true(c.server.wanted);
    assert_int_equal(c.server.port, 6400);
    assert_int_equal(c.gateway.listen.endpoint.port, 6379);
    assert_int_equal(c.gateway.tls.listen.endpoint.port, 6380);
    assert_string_equal(c.gateway.tls.listen.endpoint.tls.cert, "a.pem");
    assert_int_equal(c.gateway.loops, 0);
    assert_int_equal(c.gateway.admin.endpoint.kind, ENDPOINT_UNIX);
    assert_int_equal(c.syncer.spool.limit, INT64_C(400) << 30);
    assert_int_equal(c.syncer.copy.throttle.ops, 0);
    assert_string_equal(c.state.api.endpoint.path, "/run/drawbridge/api.sock");
    assert_int_equal(c.log.level, LOG_LEVEL_INFO);
    assert_int_equal(c.gates.lag, 200);
    assert_int_equal(c.gates.audit_age, 24 * 3600 * 1000);
    assert_int_equal(c.cutover.max_hold, 500);
    config_close(&c);
}

static void test_a_short_file_has_sockets_in_its_run_dir(void **state) {
    (void)state;
    struct drawbridge_config c;
    struct why why;
    struct config_override over[] = {{"gateway.name", "gw2"}, {"gateway.listen", ":7000"}, {0}};
    const char *text =
        "migration: a\nlegacy: {address: l}\ntarget: {address: 't:1'}\nrun_dir: /r\n";
    if (config_read(&c, slice_text(text), "x", over, &why) != OK) fail_msg("%s", why.text);
    assert_string_equal(c.gateway.admin.endpoint.path, "/r/gw2.sock");
    assert_string_equal(c.state.control.endpoint.path, "/r/control.sock");
    assert_int_equal(c.gateway.listen.endpoint.port, 7000);
    assert_int_equal(c.gateway.metrics.endpoint.kind, ENDPOINT_NONE);
    assert_int_equal(c.legacy.endpoint.port, 6379);
    assert_false(c.server.wanted);
    config_close(&c);
}

#define REST "\nmigration: a\nlegacy: {address: l}\ntarget: {address: t}\n"

static void test_each_mistake_is_named_with_its_place(void **state) {
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"gates: { lagg: 1s }" REST,
         "f.yaml:1:10: gates.lagg: there is no such option; did you mean "
         "gates.lag?"},
        {"gate: { lag: 1s }" REST,
         "f.yaml:1:1: gate: there is no such option; did you mean gates?"},
        {"gatway: { listen: ':1' }" REST,
         "f.yaml:1:1: gatway: there is no such option; did you mean gateway?"},
        {"syncer: { spol: { limit: 1GB } }" REST, "did you mean syncer.spool?"},
        {"whatever: { lag: 1s }" REST, "f.yaml:1:1: whatever: there is no such option"},
        {"\n\ngates: { lag: 5 parsecs }" REST,
         "f.yaml:3:15: gates.lag: found '5 parsecs', expected a duration such as 200ms, 10s or 24h "
         "between 1ms and 1h"},
        {"gates: { lag: 2h }" REST, "gates.lag: found '2h', expected a duration"},
        {"gates: { lag: 200 }" REST, "gates.lag: found '200'"},
        {"gates: { lag: 1s, lag: 2s }" REST, "f.yaml:1:24: gates.lag is given twice"},
        {"gates: { lag: 1s }\ngates: { audit_age: 2s }" REST, "f.yaml:2:8: gates is given twice"},
        {"gates: [ 1s ]" REST, "f.yaml:1:8: gates: found a list, expected a value or a section"},
        {"gates: 7" REST, "f.yaml:1:8: gates: found '7', expected a section { ... }"},
        {"run_dir: { a: b }" REST, "run_dir: found a section, expected a value"},
        {"log: { level: loud }" REST,
         "log.level: found 'loud', expected one of debug|info|warn|error"},
        {"server: { port: 70000 }" REST,
         "server.port: found '70000', expected a whole number between "
         "1 and 65535"},
        {"gateway: { loops: many }" REST, "expected a whole number between 1 and 64, or auto"},
        {"gateway: { listen: nowhere }" REST,
         "f.yaml: gateway.listen: 'nowhere': the port is missing"},
        {"gateway: { listen: 1.2.3.4:99999 }" REST, "'99999' is not a port between 0 and 65535"},
        {"gateway: { tls: { listen: ':1' } }" REST, "f.yaml: gateway.tls.cert is missing"},
        {"state: { control: '10.0.0.1:7000' }" REST,
         "f.yaml: state.control: others can reach 10.0.0.1:7000, so state.tls is needed"},
        {"state: { control: ':7000' }" REST, "so state.tls is needed"},
        {"state: { control: '127.0.0.1:7000', tls: { cert: a } }" REST,
         "f.yaml: state.tls.ca is missing"},
        {"state: { control: '127.0.0.1:7000', tls: { ca: a } }" REST,
         "f.yaml: state.tls.cert is missing"},
        {"gateway: { auth: { password: hunter2 } }" REST,
         "gateway.auth.password: a secret is given as file:/path or env:NAME"},
        {"gateway: { auth: { password: 'file:/nonexistent/p' } }" REST,
         "open /nonexistent/p: No such file"},
        {"gateway: { auth: { password: 'env:NO_SUCH_VARIABLE' } }" REST,
         "the environment has no variable NO_SUCH_VARIABLE"},
        {"legacy: {address: l}\ntarget: {address: t}\n", "f.yaml: migration is missing"},
        {"migration: a b\nlegacy: {address: l}\ntarget: {address: t}\n", "migration: found 'a b'"},
        {"migration: a\nlegacy: {address: 'l:6379'}\ntarget: {address: l}\n", "are the same"},
        {"migration: a\nlegacy: {address: '::1'}\ntarget: {address: t}\n", "written in brackets"},
        {"migration: &x a\n", "f.yaml:1:12: migration: found an anchor"},
        {"migration: !!str a\n", "tags are not used"},
        {"migration: 'a\n", "f.yaml:"},
        {"a: b: c\n", "f.yaml:1:"},
        {"migration: a\xff\n", "f.yaml:"},
        {"--- \nmigration: a\n--- \nx: y\n", "a second document"},
        {"just words", "f.yaml:1:1: expected a section with keys"},
        {"", "f.yaml: migration is missing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct drawbridge_config c;
        struct why why = {""};
        enum err err = config_read(&c, slice_text(cases[i].text), "f.yaml", NULL, &why);
        if (err == OK || strstr(why.text, cases[i].words) == NULL)
            fail_msg("%s\n  gave: %s\n  not: %s", cases[i].text, why.text, cases[i].words);
        assert_null(strstr(why.text, "hunter2"));
    }
}

static void test_cut_anywhere_it_never_loads_half_or_leaks(void **state) {
    (void)state;
    for (size_t size = 0; size < sizeof guide; size++) {
        struct drawbridge_config c;
        struct why why;
        char *exact = malloc(size ? size : 1);
        memcpy(exact, guide, size);
        if (config_read(&c, slice_from(exact, size), "cut", NULL, &why) == OK) config_close(&c);
        free(exact);
    }
}

static void test_the_example_loads_and_names_every_option(void **state) {
    (void)state;
    struct buf out = {0};
    struct why why;
    struct drawbridge_config c;
    config_example(&out);
    if (config_read(&c, buf_slice(&out), "example", NULL, &why) != OK)
        fail_msg("%s\n%s", why.text, buf_text(&out));
    assert_false(c.legacy.endpoint.tls.on || c.target.endpoint.tls.on || c.gateway.tls.on);
    config_close(&c);
    for (size_t i = 0; i < config_options.count; i++)
        if (strstr(buf_text(&out), config_options.table[i].help) == NULL)
            fail_msg("%s is not in the example", config_options.table[i].name);
    buf_close(&out);
}

static void test_a_file_is_read_and_a_missing_one_named(void **state) {
    (void)state;
    char path[300];
    struct why why;
    struct drawbridge_config c;
    (void)snprintf(path, sizeof path, "%s/drawbridge.yaml", certs_scratch());
    assert_int_equal(fs_replace(path, slice_text(guide), &why), OK);
    assert_int_equal(config_load(&c, path, NULL, &why), OK);
    assert_string_equal(c.path, path);
    config_close(&c);
    assert_int_equal(config_load(&c, "/nonexistent/x.yaml", NULL, &why), ERR_ABSENT);
    assert_string_equal(why.text, "open /nonexistent/x.yaml: No such file or directory");
    struct config_override over[] = {{"gateway.nam", "x"}, {0}};
    assert_int_equal(config_load(&c, path, over, &why), ERR_ABSENT);
    assert_non_null(strstr(why.text, "did you mean gateway.name?"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_guides_file_loads),
        cmocka_unit_test(test_a_short_file_has_sockets_in_its_run_dir),
        cmocka_unit_test(test_each_mistake_is_named_with_its_place),
        cmocka_unit_test(test_cut_anywhere_it_never_loads_half_or_leaks),
        cmocka_unit_test(test_the_example_loads_and_names_every_option),
        cmocka_unit_test(test_a_file_is_read_and_a_missing_one_named),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
