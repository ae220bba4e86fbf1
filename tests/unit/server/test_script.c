/* test_script.c -- what scripts say about themselves, sets of libraries, and patterns on hostile
 * text. */
#include "lib/base/mem.h"
#include "lib/base/rand.h"
#include "server/function.h"
#include "server/lua_pattern.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* ---- the first line ---- */

static bool flags_of(const char *text, uint32_t *flags, size_t *skip, char *why, size_t room) {
    struct buf error = {0};
    uint8_t *exact = mem_dup(text, strlen(text) + 1); /* a block of its size, for the sanitizer */
    bool good = script_read_flags(slice_from(exact, strlen(text)), flags, skip, &error);
    snprintf(why, room, "%s", buf_text(&error));
    buf_close(&error);
    mem_free(exact);
    return good;
}

static void test_a_script_without_a_shebang_behaves_as_before(void **state) {
    uint32_t flags;
    size_t skip;
    char why[200];
    (void)state;
    assert_true(flags_of("return 1", &flags, &skip, why, sizeof why));
    assert_int_equal(flags, SCRIPT_COMPAT);
    assert_int_equal(skip, 0);
    assert_true(flags_of("", &flags, &skip, why, sizeof why));
    assert_true(flags_of("#", &flags, &skip, why, sizeof why));
}

static void test_flags_are_read_and_the_line_end_is_kept(void **state) {
    uint32_t flags;
    size_t skip;
    char why[200];
    (void)state;
    assert_true(
        flags_of("#!lua flags=no-writes,allow-stale\nreturn 1", &flags, &skip, why, sizeof why));
    assert_int_equal(flags, SCRIPT_NO_WRITES | SCRIPT_ALLOW_STALE);
    assert_int_equal(skip, strlen("#!lua flags=no-writes,allow-stale"));
    assert_true(flags_of("#!lua\n", &flags, &skip, why, sizeof why));
    assert_int_equal(flags, 0);
    assert_true(flags_of("#!lua flags=\n", &flags, &skip, why, sizeof why));
    assert_int_equal(flags, 0);
}

static void test_a_wrong_first_line_says_what_is_wrong(void **state) {
    static const char *const cases[][2] = {
        {"#!lua", "ERR Invalid script shebang"},
        {"#!\n", "ERR Unexpected engine in script shebang: #!"},
        {"#!perl\n", "ERR Unexpected engine in script shebang: #!perl"},
        {"#!lua x\n", "ERR Unknown lua shebang option: x"},
        {"#!lua flags=x\n", "ERR Unexpected flag in script shebang: x"},
        {"#!lua flags=no-writes,\n", "ERR Unexpected flag in script shebang: "},
        {"#!lua \"\n", "ERR Invalid engine in script shebang"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t flags;
        size_t skip;
        char why[200];
        assert_false(flags_of(cases[i][0], &flags, &skip, why, sizeof why));
        assert_string_equal(why, cases[i][1]);
    }
}

static void test_flags_change_what_the_command_is(void **state) {
    const uint32_t eval = COMMAND_NOSCRIPT | COMMAND_STALE | COMMAND_MAY_REPLICATE;
    (void)state;
    assert_int_equal(script_adjust_flags(eval, 0),
                     COMMAND_NOSCRIPT | COMMAND_WRITE | COMMAND_DENYOOM);
    assert_int_equal(script_adjust_flags(eval, SCRIPT_NO_WRITES), COMMAND_NOSCRIPT);
    assert_int_equal(script_adjust_flags(eval, SCRIPT_ALLOW_OOM | SCRIPT_ALLOW_STALE),
                     COMMAND_NOSCRIPT | COMMAND_WRITE | COMMAND_STALE);
}

/* ---- sets of libraries ---- */

static struct library *make(const char *name, const char *function, const char *other) {
    struct library *library = NEW(struct library);
    library->name = mem_strdup(name);
    library->code = mem_dup("x", 1);
    library->code_size = 1;
    const char *names[] = {function, other};
    for (int i = 0; i < 2 && names[i]; i++) {
        struct function *f = NEW(struct function);
        f->name = mem_strdup(names[i]);
        f->key = mem_strdup(names[i]);
        f->library = library;
        f->next = library->functions;
        library->functions = f;
        library->count++;
    }
    return library;
}

static void test_joining_sets_is_all_or_nothing(void **state) {
    struct function_set set, more;
    struct buf error = {0};
    (void)state;
    function_set_init(&set);
    function_set_init(&more);
    function_set_add(&set, make("a", "f", "g"));
    function_set_add(&set, make("b", "h", NULL));
    function_set_add(&more, make("a", "f", NULL));
    assert_false(function_set_join(&set, &more, false, NULL, &error));
    assert_string_equal(buf_text(&error), "ERR Library a already exists");
    function_set_add(&more, make("c", "h", NULL));
    buf_clear(&error);
    assert_false(function_set_join(&set, &more, true, NULL, &error));
    assert_string_equal(buf_text(&error), "ERR Function h already exists");
    assert_int_equal(table_count(&set.functions), 3);
    assert_int_equal(table_count(&more.functions), 2);
    struct library *c = function_set_library(&more, SLICE("c"));
    function_set_take(&more, c);
    library_free(c, NULL);
    assert_true(function_set_join(&set, &more, true, NULL, &error));
    assert_null(function_set_function(&set, SLICE("g")));
    assert_non_null(function_set_function(&set, SLICE("F")));
    assert_int_equal(table_count(&set.libraries), 2);
    assert_int_equal(table_count(&more.libraries), 0);
    function_set_clear(&set, NULL);
    assert_int_equal(set.bytes, 0);
    function_set_clear(&more, NULL);
    buf_close(&error);
}

static void test_names_are_letters_digits_and_underscores(void **state) {
    (void)state;
    assert_true(function_name_is_fine(SLICE("aZ_09")));
    assert_false(function_name_is_fine(SLICE("")));
    assert_false(function_name_is_fine(SLICE("a-b")));
    assert_false(function_name_is_fine(slice_from("a\0b", 3)));
}

/* ---- patterns ---- */

/* In blocks of their size, for the sanitizer. */
static char *text, *pattern;

/* What the pattern says of the text: "end,capture..." or "-", or the error. */
static int run_pattern(lua_State *lua) {
    struct pattern_match m;
    pattern_init(&m, lua, text, strlen(text), pattern);
    const char *end = pattern_match(&m, text, pattern);
    if (end == NULL) {
        lua_pushliteral(lua, "-");
        return 1;
    }
    lua_pushinteger(lua, end - text);
    for (int i = 0; i < m.count; i++) {
        lua_pushliteral(lua, ",");
        pattern_push(&m, i, text, end);
        lua_concat(lua, 3);
    }
    return 1;
}

/* A Lua state with an interpreter of ours behind it, for the ticks. */
static struct script_vm vm_for_ticks;

static void *allocate(void *self, void *old, size_t old_size, size_t size) {
    (void)self;
    (void)old_size;
    if (size > 0) return mem_try_realloc(old, size);
    mem_free(old);
    return NULL;
}

static const char *match(lua_State *lua, const char *given, const char *wanted) {
    lua_settop(lua, 0);
    text = mem_strdup(given);
    pattern = mem_strdup(wanted);
    lua_pushcfunction(lua, run_pattern);
    (void)lua_pcall(lua, 0, 1, 0);
    mem_free(text);
    mem_free(pattern);
    return lua_tostring(lua, -1);
}

static void test_patterns_match_as_in_lua(void **state) {
    static const char *const cases[][3] = {
        {"hello", "hel+o", "5"},
        {"hello", "h.-l", "3"},
        {"hello", "(h)(e)()", "2,h,e,3"},
        {"aXb", "%a%u%l", "3"},
        {"(a(b)c)d", "%b()", "7"},
        {"abab", "(ab)%1", "4,ab"},
        {"THE (q) fox", "%f[%a]%a+", "3"},
        {"a", "b?a$", "1"},
        {"ab", "a$", "-"},
        {"]", "[]]", "1"},
        {"a-z", "[a%-z]+", "3"},
        {"x", "[^%w]", "-"},
        {"", "a*", "0"},
        {"a", "%", "malformed pattern (ends with '%')"},
        {"a", "[a", "malformed pattern (missing ']')"},
        {"a", "(a", "unfinished capture"},
        {"a", "a)", "invalid pattern capture"},
    };
    (void)state;
    lua_State *lua = lua_newstate(allocate, &vm_for_ticks);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(match(lua, cases[i][0], cases[i][1]), cases[i][2]);
    lua_close(lua);
}

static void test_random_patterns_end_without_reading_outside(void **state) {
    static const char alphabet[] = "ab%.*+-?[]()^$%dwf1";
    struct rng rng = rng_from(rand_test_seed());
    (void)state;
    lua_State *lua = lua_newstate(allocate, &vm_for_ticks);
    for (int round = 0; round < 20000; round++) {
        char given[12] = "", wanted[12] = "";
        for (uint64_t i = rng_below(&rng, sizeof given - 1); i-- > 0;)
            given[i] = (char)('a' + rng_below(&rng, 3));
        for (uint64_t i = rng_below(&rng, sizeof wanted - 1); i-- > 0;)
            wanted[i] = alphabet[rng_below(&rng, sizeof alphabet - 1)];
        assert_non_null(match(lua, given, wanted));
    }
    lua_close(lua);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_script_without_a_shebang_behaves_as_before),
        cmocka_unit_test(test_flags_are_read_and_the_line_end_is_kept),
        cmocka_unit_test(test_a_wrong_first_line_says_what_is_wrong),
        cmocka_unit_test(test_flags_change_what_the_command_is),
        cmocka_unit_test(test_joining_sets_is_all_or_nothing),
        cmocka_unit_test(test_names_are_letters_digits_and_underscores),
        cmocka_unit_test(test_patterns_match_as_in_lua),
        cmocka_unit_test(test_random_patterns_end_without_reading_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
