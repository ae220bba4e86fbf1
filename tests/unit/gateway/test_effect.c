/* test_effect.c -- what commands are sent as, and what their answers say that they did. */
#include "gateway/effect.h"
#include "gateway/effect_inside.h"
#include "lib/base/rand.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define NOW 1000000
#define WORDS_MAX 64

static struct effect_facts modern(void) {
    return (struct effect_facts){.now_ms = NOW,
                                 .primary_version = EFFECT_VERSION(7, 0, 15),
                                 .follower_version = EFFECT_VERSION(7, 0, 15),
                                 .databases = 16};
}

/* "SET k v" as words; '' is an empty one. */
static size_t split(const char *text, struct slice *words) {
    size_t count = 0;
    while (*text != '\0') {
        size_t size = strcspn(text, " ");
        assert_true(count < WORDS_MAX);
        words[count++] =
            size == 2 && memcmp(text, "''", 2) == 0 ? slice_from(text, 0) : slice_from(text, size);
        text += size + (text[size] == ' ');
    }
    return count;
}

/* RESP requests as words again: "SET k v; DEL k". */
static void read_back(struct slice bytes, struct buf *text) {
    struct resp_request request = {0};
    struct why why;
    size_t used = 0;
    bool first = true;
    while (bytes.size > 0) {
        assert_int_equal(resp_request_next(&request, &resp_request_limits_open, bytes, &used, &why),
                         STEP_DONE);
        for (size_t i = 0; i < request.argc; i++)
            buf_printf(text, "%s%.*s",
                       i > 0   ? " "
                       : first ? ""
                               : "; ",
                       (int)request.argv[i].size, (const char *)request.argv[i].data);
        first = false;
        bytes = slice_drop(bytes, used);
    }
    resp_request_close(&request);
}

static void write_key(struct buf *text, const struct effect_key *key) {
    buf_printf(text, " %.*s:%s%s%s", (int)key->name.size, (const char *)key->name.data,
               key->use & EFFECT_READ ? "r" : "", key->use & EFFECT_WRITE ? "w" : "",
               key->use & EFFECT_WHOLE ? "!" : "");
    if (key->db != 0) buf_printf(text, "/%d", key->db);
    if (key->expiry == EFFECT_EXPIRY_NONE) buf_printf(text, "-");
    if (key->expiry == EFFECT_EXPIRY_AT) buf_printf(text, "@%" PRId64, key->deadline_ms);
    if (key->expiry == EFFECT_EXPIRY_OF) buf_printf(text, "=%u", key->from);
}

/* "SREM s a { s:rw } DIRTY { k:rw }" */
static void write_outcome(struct buf *text, const struct effect_outcome *outcome) {
    for (size_t i = 0; i < outcome->item_count; i++) {
        const struct effect_item *item = &outcome->items[i];
        if (i > 0) buf_printf(text, " | ");
        if (item->db != 0) buf_printf(text, "%d> ", item->db);
        if (item->kind == EFFECT_REQUEST) read_back(effect_item_request(outcome, item), text);
        if (item->kind == EFFECT_DIRTY) buf_printf(text, "DIRTY");
        if (item->kind == EFFECT_DIRTY_ALL) buf_printf(text, "ALL DIRTY");
        if (item->key_count > 0) buf_printf(text, " {");
        for (uint32_t k = 0; k < item->key_count; k++)
            write_key(text, &outcome->keys[item->key_at + k]);
        if (item->key_count > 0) buf_printf(text, " }");
    }
}

/* What is told without telling is what would be told. */
static void expect_itself(const struct effect *effect, struct slice answer, const struct effect_outcome *outcome) {
    struct slice request;
    if (!effect_tells_itself(effect, answer, &request)) return;
    assert_int_equal(outcome->item_count, 1);
    assert_int_equal(outcome->items[0].kind, EFFECT_REQUEST);
    assert_int_equal(outcome->items[0].scope, EFFECT_SCOPE_KEYS);
    assert_int_equal(outcome->items[0].db, effect->db);
    assert_true(slice_equal(effect_item_request(outcome, &outcome->items[0]), request));
    assert_int_equal(outcome->key_count, effect->key_count);
    for (size_t i = 0; i < effect->key_count; i++) {
        const struct effect_key *is = &effect->keys[i], *told = &outcome->keys[i];
        assert_true(slice_equal(is->name, told->name));
        assert_int_equal(is->db, told->db);
        assert_int_equal(is->use, told->use);
        assert_int_equal(is->expiry, told->expiry);
    }
}

/* A request as a client sent it, and with room for its owner, has the same effect. */
static void expect_raw(const struct effect_facts *facts, const struct effect *as, size_t argc, const struct slice *words,
                       struct slice answer, const char *told) {
    struct effect_facts more = *facts;
    struct effect_outcome outcome = {0};
    struct resp_request read = {0};
    struct buf raw = {0}, text = {0};
    struct why why;
    size_t used = 0;
    more.room_bytes = 100;
    resp_write_command(&raw, argc, words);
    uint8_t *exact = mem_dup(buf_slice(&raw).data, buf_size(&raw));
    struct slice bytes = slice_from(exact, buf_size(&raw));
    assert_int_equal(resp_request_next(&read, &resp_request_limits_open, bytes, &used, &why), STEP_DONE);
    struct effect *effect = effect_new_raw(&more, 0, as->command, read.argc, read.argv, bytes);
    memset(exact, '?', bytes.size); /* it is a copy */
    memset(effect->room, '?', effect->room_bytes);
    assert_true(slice_equal(effect->send, as->send));
    effect_tell(effect, answer, &outcome);
    write_outcome(&text, &outcome);
    assert_string_equal(buf_text(&text), told);
    expect_itself(effect, answer, &outcome);
    mem_free(exact);
    resp_request_close(&read);
    buf_close(&raw);
    buf_close(&text);
    effect_outcome_close(&outcome);
    effect_free(effect);
}

/* What is sent, and the outcome of ANSWER. SENT or TOLD NULL: do not look. */
static void expect_with(const struct effect_facts *facts, const char *request, const char *sent,
                        const char *answer, const char *told) {
    struct slice words[WORDS_MAX];
    size_t argc = split(request, words);
    struct effect *effect = effect_new(facts, 0, command_lookup(argc, words), argc, words);
    struct effect_outcome outcome = {0};
    struct buf text = {0};
    if (sent != NULL) {
        read_back(effect->send, &text);
        assert_string_equal(buf_text(&text), sent);
    }
    buf_clear(&text);
    effect_tell(effect, slice_text(answer), &outcome);
    write_outcome(&text, &outcome);
    if (strcmp(buf_text(&text), told) != 0) print_error("%s => %s\n", request, answer);
    assert_string_equal(buf_text(&text), told);
    expect_itself(effect, slice_text(answer), &outcome);
    if (argc > 0) expect_raw(facts, effect, argc, words, slice_text(answer), told);
    buf_close(&text);
    effect_outcome_close(&outcome);
    effect_free(effect);
}

static void expect(const char *request, const char *sent, const char *answer, const char *told) {
    struct effect_facts facts = modern();
    expect_with(&facts, request, sent, answer, told);
}

/* ---- the table ---- */

static void test_every_command_that_may_write_has_a_rule(void **state) {
    (void)state;
    for (size_t i = 0; i < command_count; i++) {
        const struct command *command = command_at(i);
        bool rule = effect_rule_of(command) != NULL;
        bool writes =
            (command->flags & COMMAND_WRITE) != 0 || command->effect != COMMAND_EFFECT_NONE;
        if (writes != rule) print_error("%s\n", command->name);
        assert_int_equal(writes, rule);
    }
}

static void test_the_table_and_the_rules_agree_on_barriers(void **state) {
    (void)state;
    struct effect_facts facts = modern();
    for (size_t i = 0; i < command_count; i++) {
        const struct command *command = command_at(i);
        struct slice words[2] = {slice_text(command->name), SLICE("x")};
        struct effect *effect = effect_new(&facts, 0, command, 2, words);
        assert_int_equal(effect->barrier, command->effect == COMMAND_EFFECT_BARRIER);
        effect_free(effect);
    }
}

/* ---- what is sent ---- */

static void test_relative_times_become_absolute(void **state) {
    (void)state;
    expect("EXPIRE k 10", "PEXPIREAT k 1010000", ":1\r\n", "PEXPIREAT k 1010000 { k:rw@1010000 }");
    expect("PEXPIRE k 10 GT", "PEXPIREAT k 1000010 GT", ":1\r\n",
           "PEXPIREAT k 1000010 { k:rw@1000010 }");
    expect("EXPIREAT k 5000", "EXPIREAT k 5000", ":1\r\n", "PEXPIREAT k 5000000 { k:rw@5000000 }");
    expect("SETEX k 10 v", "SET k v PXAT 1010000", "+OK\r\n",
           "SET k v PXAT 1010000 { k:w!@1010000 }");
    expect("PSETEX k 10 v", "SET k v PXAT 1000010", "+OK\r\n",
           "SET k v PXAT 1000010 { k:w!@1000010 }");
    expect("SET k v EX 10 NX GET", "SET k v NX GET PXAT 1010000", "$-1\r\n",
           "SET k v PXAT 1010000 { k:w!@1010000 }");
    expect("SET k v PXAT 77", "SET k v PXAT 77", "+OK\r\n", "SET k v PXAT 77 { k:w!@77 }");
    expect("GETEX k PX 10", "GETEX k PXAT 1000010", "$1\r\nv\r\n",
           "PEXPIREAT k 1000010 { k:rw@1000010 }");
    expect("RESTORE k 10 xyz REPLACE", "RESTORE k 1000010 xyz REPLACE ABSTTL", "+OK\r\n",
           "RESTORE k 1000010 xyz REPLACE ABSTTL { k:w!@1000010 }");
    expect("RESTORE k 0 xyz", "RESTORE k 0 xyz", "+OK\r\n", "RESTORE k 0 xyz REPLACE { k:w!- }");
}

static void test_what_the_server_refuses_is_sent_as_it_came(void **state) {
    (void)state;
    static const char *const wrong[] = {"EXPIRE k 9223372036854775807",
                                        "EXPIRE k x",
                                        "SETEX k 0 v",
                                        "SETEX k -1 v",
                                        "SET k v EX 5 PX 5",
                                        "SET k v EX",
                                        "SET k v NX XX",
                                        "GETEX k EX 0",
                                        "GETEX k EX 5 PERSIST",
                                        "RESTORE k -1 xyz",
                                        "RESTORE k 1 x y",
                                        "SET k v FOO",
                                        "PEXPIRE k 9223372036854775807"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        expect(wrong[i], wrong[i], "-ERR no\r\n", "");
        /* A server that takes it all the same did something that we cannot tell. */
        struct slice words[WORDS_MAX];
        struct effect_facts facts = modern();
        struct effect_outcome outcome = {0};
        size_t argc = split(wrong[i], words);
        struct effect *effect = effect_new(&facts, 0, command_lookup(argc, words), argc, words);
        effect_tell(effect, SLICE("+OK\r\n"), &outcome);
        assert_int_equal(outcome.item_count, 1);
        assert_int_equal(outcome.items[0].kind, EFFECT_DIRTY);
        effect_outcome_close(&outcome);
        effect_free(effect);
    }
}

static void test_old_servers_get_words_that_they_know(void **state) {
    (void)state;
    struct effect_facts facts = modern();
    facts.primary_version = facts.follower_version = EFFECT_VERSION(4, 0, 0);
    expect_with(&facts, "SETEX k 10 v", "MULTI; SET k v; PEXPIREAT k 1010000; EXEC",
                "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:1\r\n",
                "SET k v { k:w!- } | PEXPIREAT k 1010000 { k:rw@1010000 }");
    expect_with(&facts, "SET k v EX 10 NX", "SET k v EX 10 NX", "+OK\r\n", "DIRTY { k:rw }");
    expect_with(&facts, "RESTORE k 10 xyz", "RESTORE k 10 xyz", "+OK\r\n", "DIRTY { k:rw }");
    expect_with(&facts, "XCLAIM x g c 0 1-1", NULL, "*1\r\n*2\r\n$3\r\n1-1\r\n*0\r\n",
                "DIRTY { x:rw }");
    facts.primary_version = EFFECT_VERSION(6, 2, 14);
    facts.follower_version = EFFECT_VERSION(7, 0, 15); /* would drop 1-1 from the pending list, if it is deleted */
    expect_with(&facts, "XCLAIM x g c 9 1-1", NULL, "*0\r\n", "");
    expect_with(&facts, "XCLAIM x g c 9 1-1 LASTID 7", NULL, "*0\r\n", "DIRTY { x:rw }");
}

static void test_what_blocks_is_tried_in_a_block_of_its_own(void **state) {
    (void)state;
    expect("BLPOP a b 0", "MULTI; BLPOP a b 0; EXEC",
           "+OK\r\n+QUEUED\r\n*1\r\n*2\r\n$1\r\nb\r\n$1\r\nv\r\n", "LPOP b { b:rw }");
    expect("BLPOP a b 0", NULL, "+OK\r\n+QUEUED\r\n*1\r\n*-1\r\n", "");
    expect("BRPOP a 0", NULL, "+OK\r\n+QUEUED\r\n*1\r\n*2\r\n$1\r\na\r\n$1\r\nv\r\n",
           "RPOP a { a:rw }");
    expect("BRPOPLPUSH a b 0", NULL, "+OK\r\n+QUEUED\r\n*1\r\n$1\r\nv\r\n",
           "RPOPLPUSH a b { a:rw b:rw }");
    expect("BLMOVE a b LEFT right 0", NULL, "+OK\r\n+QUEUED\r\n*1\r\n$1\r\nv\r\n",
           "LMOVE a b LEFT right { a:rw b:rw }");
    expect("BLMPOP 0 2 a b LEFT COUNT 5", NULL,
           "+OK\r\n+QUEUED\r\n*1\r\n*2\r\n$1\r\nb\r\n*2\r\n$1\r\nx\r\n$1\r\ny\r\n",
           "LTRIM b 2 -1 { b:rw }");
    expect("BLMPOP 0 1 a RIGHT", NULL, "+OK\r\n+QUEUED\r\n*1\r\n*2\r\n$1\r\na\r\n*1\r\n$1\r\nx\r\n",
           "LTRIM a 0 -2 { a:rw }");
    expect("BZPOPMIN a 0", NULL, "+OK\r\n+QUEUED\r\n*1\r\n*3\r\n$1\r\na\r\n$1\r\nm\r\n$1\r\n5\r\n",
           "ZREM a m { a:rw }");
    expect("BZMPOP 0 1 a MIN", NULL,
           "+OK\r\n+QUEUED\r\n*1\r\n*2\r\n$1\r\na\r\n*1\r\n*2\r\n$1\r\nm\r\n$1\r\n5\r\n",
           "ZREM a m { a:rw }");
    expect("XREADGROUP GROUP g c BLOCK 5 STREAMS a b > >",
           "MULTI; XREADGROUP GROUP g c BLOCK 5 STREAMS a b > >; EXEC",
           "+OK\r\n+QUEUED\r\n*1\r\n*1\r\n*2\r\n$1\r\na\r\n*0\r\n",
           "XREADGROUP GROUP g c STREAMS a b > > { a:rw b:rw }");
    expect("BLPOP a 0", NULL, "+OK\r\n-OOM no\r\n-EXECABORT x\r\n", "");
}

static void test_the_client_gets_its_own_part_of_the_answer(void **state) {
    (void)state;
    struct effect_facts facts = modern();
    struct slice words[WORDS_MAX];
    struct buf scratch = {0};
    size_t argc = split("BLPOP a 0", words);
    struct effect *effect = effect_new(&facts, 0, command_lookup(argc, words), argc, words);
    struct slice nothing = SLICE("+OK\r\n+QUEUED\r\n*1\r\n*-1\r\n");
    assert_true(effect->blocking);
    assert_true(effect_would_block(effect, nothing));
    assert_true(slice_equal(effect_answer(effect, nothing, &scratch), SLICE("*-1\r\n")));
    struct slice refused = SLICE("+OK\r\n-MOVED 5 x\r\n-EXECABORT x\r\n");
    assert_false(effect_would_block(effect, refused));
    assert_true(slice_equal(effect_answer(effect, refused, &scratch), SLICE("-MOVED 5 x\r\n")));
    assert_true(slice_equal(effect_refusal(effect, refused), SLICE("MOVED 5 x")));
    effect_free(effect);
    buf_close(&scratch);
}

/* ---- what was done ---- */

static void test_strings(void **state) {
    (void)state;
    expect("SET k v", "SET k v", "+OK\r\n", "SET k v { k:w!- }");
    expect("SET k v NX", NULL, "$-1\r\n", "");
    expect("SET k v NX", NULL, "_\r\n", "");
    expect("SET k v NX", NULL, "+OK\r\n", "SET k v { k:w!- }");
    expect("SET k v NX GET", NULL, "$1\r\no\r\n", "");
    expect("SET k v NX GET", NULL, "$-1\r\n", "SET k v { k:w!- }");
    expect("SET k v XX GET", NULL, "$-1\r\n", "");
    expect("SET k v XX GET", NULL, "$1\r\no\r\n", "SET k v { k:w!- }");
    expect("SET k v GET", NULL, "$-1\r\n", "SET k v { k:w!- }");
    expect("SET k v GET", NULL, "-WRONGTYPE x\r\n", "");
    expect("SET k v KEEPTTL", NULL, "+OK\r\n", "SET k v KEEPTTL { k:rw }");
    expect("SETNX k v", NULL, ":0\r\n", "");
    expect("SETNX k v", NULL, ":1\r\n", "SET k v { k:w!- }");
    expect("GETSET k v", NULL, "$-1\r\n", "SET k v { k:w!- }");
    expect("GETDEL k", NULL, "$-1\r\n", "");
    expect("GETDEL k", NULL, "$1\r\nv\r\n", "DEL k { k:w!- }");
    expect("GETEX k", NULL, "$1\r\nv\r\n", "");
    expect("GETEX k PERSIST", NULL, "$1\r\nv\r\n", "PERSIST k { k:rw- }");
    expect("INCRBYFLOAT k 0.1", NULL, "$3\r\n0.1\r\n", "SET k 0.1 KEEPTTL { k:rw }");
    expect("MSETNX a 1 b 2", NULL, ":1\r\n", "MSET a 1 b 2 { a:w!- b:w!- }");
    expect("MSETNX a 1 b 2", NULL, ":0\r\n", "");
    expect("APPEND k ''", NULL, ":0\r\n", "APPEND k  { k:rw }");
    expect("SETRANGE k 0 ''", NULL, ":0\r\n", "");
    expect("BITOP AND d a d", NULL, ":1\r\n", "BITOP AND d a d { d:rw- a:r }");
    expect("BITFIELD k GET u8 0", NULL, "*1\r\n:0\r\n", "");
    expect("PFCOUNT k", NULL, ":5\r\n", "PFCOUNT k { k:rw }");
    expect("PFCOUNT a b", NULL, ":5\r\n", "");
    expect("PFMERGE d", NULL, "+OK\r\n", "PFMERGE d { d:rw }");
}

static void test_whole_keys(void **state) {
    (void)state;
    expect("DEL a b", NULL, ":0\r\n", "");
    expect("DEL a b", NULL, ":1\r\n", "DEL a b { a:w!- b:w!- }");
    expect("EXPIRE k -5000", "PEXPIREAT k -4000000", ":1\r\n", "DEL k { k:w!- }");
    expect("EXPIRE k 5", NULL, ":0\r\n", "");
    expect("PERSIST k", NULL, ":1\r\n", "PERSIST k { k:rw- }");
    expect("RENAME a b", NULL, "+OK\r\n", "RENAME a b { a:rw- b:w!=0 }");
    expect("RENAME a a", NULL, "+OK\r\n", "");
    expect("RENAMENX a b", NULL, ":0\r\n", "");
    expect("COPY a b", NULL, ":1\r\n", "COPY a b DB 0 REPLACE { a:r b:w!=0 }");
    expect("COPY a a DB 3", NULL, ":1\r\n", "COPY a a DB 3 REPLACE { a:r a:w!/3=0 }");
    expect("MOVE a 3", NULL, ":1\r\n", "MOVE a 3 { a:rw- a:rw/3=0 }");
    expect("SORT a STORE d", NULL, ":3\r\n", "DIRTY { d:w! }");
    expect("SORT a STORE d", NULL, ":0\r\n", "DEL d { d:w!- }");
    expect("SORT a", NULL, "*0\r\n", "");
    expect("MIGRATE h 1 k 0 5", NULL, "-IOERR x\r\n", "DIRTY { k:rw }");
    expect("MIGRATE h 1 k 0 5", NULL, "+NOKEY\r\n", "");
    expect("EVAL x 2 a b c", NULL, "-ERR x\r\n", "DIRTY { a:rw b:rw }");
    expect("EVAL x 0", NULL, "+OK\r\n", "");
    expect("SWAPDB 1 2", NULL, "+OK\r\n", "1> SWAPDB 1 2");
    expect("FLUSHALL", NULL, "+OK\r\n", "FLUSHALL");
    expect("NO.SUCH k", NULL, "+OK\r\n", "ALL DIRTY");
    expect("NO.SUCH k", NULL, "-ERR unknown command 'NO.SUCH'\r\n", "");
    expect("NO.SUCH k", NULL, "-ERR halfway\r\n", "ALL DIRTY");
}

static void test_lists_sets_and_hashes(void **state) {
    (void)state;
    expect("LPOP k 2", NULL, "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "LPOP k 2 { k:rw }");
    expect("LPOP k", NULL, "$-1\r\n", "");
    expect("LPOP k 0", NULL, "*0\r\n", "");
    expect("LINSERT k BEFORE a b", NULL, ":-1\r\n", "");
    expect("HINCRBYFLOAT k f 1", NULL, "$3\r\n1.5\r\n", "HSET k f 1.5 { k:rw }");
    expect("HSET k f v", NULL, ":0\r\n", "HSET k f v { k:rw }");
    expect("HSETNX k f v", NULL, ":0\r\n", "");
    expect("SPOP k", NULL, "$1\r\na\r\n", "SREM k a { k:rw }");
    expect("SPOP k 2", NULL, "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "SREM k a b { k:rw }");
    expect("SPOP k 2", NULL, "~1\r\n$1\r\na\r\n", "SREM k a { k:rw }");
    expect("SPOP k 2", NULL, "*0\r\n", "");
    expect("SMOVE a b m", NULL, ":0\r\n", "");
    expect("SINTERSTORE d a b", NULL, ":0\r\n", "SINTERSTORE d a b { d:w!- a:r b:r }");
    expect("SUNIONSTORE d d b", NULL, ":0\r\n", "SUNIONSTORE d d b { d:rw- b:r }");
    expect("LMPOP 2 a b LEFT", NULL, "*2\r\n$1\r\nz\r\n*1\r\n$1\r\nv\r\n",
           "DIRTY { a:rw b:rw }"); /* a key that we did not name */
}

static void test_sorted_sets(void **state) {
    (void)state;
    expect("ZADD k 1 m", NULL, ":0\r\n", "ZADD k 1 m { k:rw }");
    expect("ZADD k NX 1 m", NULL, ":0\r\n", "");
    expect("ZADD k CH 1 m", NULL, ":0\r\n", "");
    expect("ZADD k INCR 1 m", NULL, "$3\r\n2.5\r\n", "ZADD k 2.5 m { k:rw }");
    expect("ZADD k INCR 1 m", NULL, ",2.5\r\n", "ZADD k 2.5 m { k:rw }");
    expect("ZADD k XX INCR 1 m", NULL, "$-1\r\n", "");
    expect("ZINCRBY k 1 m", NULL, "$1\r\n5\r\n", "ZADD k 5 m { k:rw }");
    expect("ZMPOP 2 a b MIN", NULL,
           "*2\r\n$1\r\nb\r\n*2\r\n*2\r\n$1\r\nm\r\n$1\r\n1\r\n*2\r\n$1\r\nn\r\n,2\r\n",
           "ZREM b m n { b:rw }");
    expect("ZUNIONSTORE d 2 a b", NULL, ":5\r\n", "DIRTY { d:w! }");
    expect("ZUNIONSTORE d 2 a b", NULL, ":0\r\n", "DEL d { d:w!- }");
    expect("GEOADD k CH 1 1 m", NULL, ":0\r\n", "");
    expect("GEORADIUS k 1 1 1 km", NULL, "*0\r\n", "");
    expect("GEORADIUS k 1 1 1 km STORE d", NULL, ":0\r\n", "DEL d { d:w!- }");
}

static void test_streams(void **state) {
    (void)state;
    expect("XADD k * f v", NULL, "$3\r\n5-1\r\n", "XADD k 5-1 f v { k:rw }");
    expect("XADD k NOMKSTREAM MAXLEN = 5 * f v", NULL, "$3\r\n5-1\r\n",
           "XADD k MAXLEN = 5 5-1 f v { k:rw }");
    expect("XADD k NOMKSTREAM * f v", NULL, "$-1\r\n", "");
    expect("XADD k MAXLEN ~ 5 LIMIT 3 * f v",
           "MULTI; XADD k MAXLEN ~ 5 LIMIT 3 * f v; XLEN k; EXEC",
           "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$3\r\n5-1\r\n:9\r\n",
           "XADD k 5-1 f v { k:rw } | XTRIM k MAXLEN 9 { k:rw }");
    expect("XTRIM k MINID ~ 5", NULL, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:7\r\n:9\r\n",
           "XTRIM k MAXLEN 9 { k:rw }");
    expect("XTRIM k MINID ~ 5", NULL, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:0\r\n:9\r\n", "");
    expect("XCLAIM k g c 5 1-1 1-2 JUSTID", NULL, "*2\r\n$3\r\n1-1\r\n$3\r\n1-2\r\n",
           "XCLAIM k g c 0 1-1 1-2 JUSTID { k:rw }");
    expect("XCLAIM k g c 5 1-1 1-2 LASTID 9 FORCE", NULL, "*1\r\n*2\r\n$3\r\n1-1\r\n*0\r\n",
           "XCLAIM k g c 9000000000000000000 1-1 1-2 LASTID 9 { k:rw } | "
           "XCLAIM k g c 0 1-1 LASTID 9 FORCE { k:rw }");
    expect("XAUTOCLAIM k g c 5 0 JUSTID COUNT 3", NULL,
           "*3\r\n$3\r\n0-0\r\n*1\r\n$3\r\n1-1\r\n*1\r\n$3\r\n1-2\r\n",
           "XACK k g 1-2 { k:rw } | XCLAIM k g c 0 1-1 JUSTID { k:rw }");
    expect("XREADGROUP GROUP g c STREAMS k >", NULL, "*-1\r\n", "");
    expect("XGROUP DELCONSUMER k g c", NULL, ":0\r\n", "XGROUP DELCONSUMER k g c { k:rw }");
    struct effect_facts facts = modern();
    facts.primary_version = EFFECT_VERSION(7, 2, 4);
    expect_with(&facts, "XREADGROUP GROUP g c STREAMS k >", NULL, "*-1\r\n",
                "XGROUP CREATECONSUMER k g c { k:rw }");
    facts.follower_version = EFFECT_VERSION(6, 2, 0);
    expect_with(&facts, "XCLAIM k g c 5 1-1", NULL, "*0\r\n", "DIRTY { k:rw }");
}

static void test_behind_a_proxy_an_error_of_several_keys_proves_nothing(void **state) {
    (void)state;
    struct effect_facts facts = modern();
    facts.proxied = true;
    expect_with(&facts, "DEL a b", NULL, "-ERR x\r\n", "DIRTY { a:w! b:w! }");
    expect_with(&facts, "DEL a", NULL, "-ERR x\r\n", "");
    expect_with(&facts, "XADD k MAXLEN ~ 5 * f v", "XADD k MAXLEN ~ 5 * f v", "$3\r\n5-1\r\n",
                "DIRTY { k:rw }");
}

/* ---- blocks ---- */

static struct effect *block_of(const char *const *texts, size_t count) {
    static struct slice words[8][WORDS_MAX];
    struct effect_request requests[8];
    struct effect_facts facts = modern();
    for (size_t i = 0; i < count; i++) {
        size_t argc = split(texts[i], words[i]);
        requests[i] = (struct effect_request){.command = command_lookup(argc, words[i]), .argc = argc, .argv = words[i]};
    }
    return effect_block_new(&facts, 0, count, requests);
}

static void expect_block(const char *const *texts, size_t count, const char *sent,
                         const char *answer, const char *to_client, const char *told) {
    struct effect *block = block_of(texts, count);
    struct effect_outcome outcome = {0};
    struct buf text = {0}, scratch = {0};
    read_back(block->send, &text);
    assert_string_equal(buf_text(&text), sent);
    effect_tell(block, slice_text(answer), &outcome);
    buf_clear(&text);
    write_outcome(&text, &outcome);
    assert_string_equal(buf_text(&text), told);
    assert_true(
        slice_equal(effect_answer(block, slice_text(answer), &scratch), slice_text(to_client)));
    buf_close(&text);
    buf_close(&scratch);
    effect_outcome_close(&outcome);
    effect_free(block);
}

static void test_a_block_has_the_effects_of_its_commands_in_order(void **state) {
    (void)state;
    static const char *const texts[] = {"SETEX k 1 v", "SELECT 3", "XADD x MAXLEN ~ 5 * f v",
                                        "GET k", "SETNX k 1"};
    static const char sent[] = "MULTI; SET k v PXAT 1001000; SELECT 3; XADD x MAXLEN ~ 5 * f v; "
                               "XLEN x; GET k; SETNX k 1; EXEC";
    static const char queued[] =
        "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n";
    char answer[512];
    snprintf(answer, sizeof answer, "%s%s", queued,
             "*6\r\n+OK\r\n+OK\r\n$3\r\n5-1\r\n:7\r\n$1\r\na\r\n:0\r\n");
    expect_block(texts, 5, sent, answer, "*5\r\n+OK\r\n+OK\r\n$3\r\n5-1\r\n$1\r\na\r\n:0\r\n",
                 "SET k v PXAT 1001000 { k:w!@1001000 } | 3> XADD x 5-1 f v { x:rw/3 } | "
                 "3> XTRIM x MAXLEN 7 { x:rw/3 }");
    snprintf(answer, sizeof answer, "%s%s", queued, "*-1\r\n");
    expect_block(texts, 5, sent, answer, "*-1\r\n", "");
    snprintf(answer, sizeof answer, "%s%s", queued,
             "*6\r\n+OK\r\n-ERR no\r\n$3\r\n5-1\r\n:7\r\n$1\r\na\r\n:0\r\n");
    expect_block(texts, 5, sent, answer, "*5\r\n+OK\r\n-ERR no\r\n$3\r\n5-1\r\n$1\r\na\r\n:0\r\n",
                 "ALL DIRTY"); /* not the database that was foretold */
}

static void test_a_block_that_was_refused_did_nothing(void **state) {
    (void)state;
    static const char *const texts[] = {"SET k v", "NOSUCH k"};
    expect_block(texts, 2, "MULTI; SET k v; NOSUCH k; EXEC",
                 "+OK\r\n+QUEUED\r\n-ERR unknown command\r\n-EXECABORT x\r\n", "-EXECABORT x\r\n",
                 "");
    expect_block(texts, 1, "MULTI; SET k v; EXEC", "+OK\r\n+QUEUED\r\n*2\r\n+OK\r\n+OK\r\n",
                 "*2\r\n+OK\r\n+OK\r\n", "DIRTY { k:w! }"); /* one reply too many */
}

/* ---- anything at all ---- */

static struct slice any_word(struct rng *rng, char *scratch) {
    static const char *const words[] = {"k",      "a",     "1",    "0",      "-1",    "2",
                                        "NX",     "EX",    "GET",  "PX",     "STORE", "STREAMS",
                                        "GROUP",  "BLOCK", ">",    "*",      "~",     "MAXLEN",
                                        "JUSTID", "COUNT", "LEFT", "LASTID", "KEYS",  ""};
    size_t which = rng_below(rng, sizeof words / sizeof *words + 1);
    if (which < sizeof words / sizeof *words) return slice_text(words[which]);
    int size = snprintf(scratch, 24, "%" PRId64, (int64_t)rng_next(rng));
    return slice_from(scratch, (size_t)size);
}

static struct buf any_answer(struct rng *rng) {
    static const char *const parts[] = {"+OK\r\n",  "+QUEUED\r\n",
                                        ":0\r\n",   ":1\r\n",
                                        ":-1\r\n",  "$-1\r\n",
                                        "*-1\r\n",  "$1\r\nk\r\n",
                                        "*0\r\n",   "*2\r\n",
                                        "*3\r\n",   "*1\r\n",
                                        "-ERR\r\n", "_\r\n",
                                        ",1.5\r\n", "%1\r\n",
                                        "~2\r\n",   "$3\r\n1-1\r\n",
                                        "$9\r\nk",  "#t\r\n",
                                        "*99\r\n",  ":9999999999999999999\r\n",
                                        "$",        "",
                                        "\r\n"};
    struct buf answer = {0};
    size_t count = rng_below(rng, 9);
    for (size_t i = 0; i < count; i++) {
        struct slice part = slice_text(parts[rng_below(rng, sizeof parts / sizeof *parts)]);
        if (part.size > 0) buf_add(&answer, part);
    }
    return answer;
}

static void check_outcome(const struct effect *effect, const struct effect_outcome *outcome) {
    for (size_t i = 0; i < outcome->item_count; i++) {
        const struct effect_item *item = &outcome->items[i];
        for (uint32_t k = 0; k < item->key_count; k++) {
            const struct effect_key *key = &outcome->keys[item->key_at + k];
            bool foretold = (key->use & EFFECT_WRITE) == 0;
            for (size_t n = 0; n < effect->key_count; n++)
                foretold |= effect->keys[n].db == key->db && (effect->keys[n].use & EFFECT_WRITE) &&
                            slice_equal(effect->keys[n].name, key->name);
            assert_true(foretold);
        }
    }
}

static void test_any_request_and_any_answer_are_survived(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    print_message("seed %" PRIu64 "\n", seed);
    struct rng rng = rng_from(seed);
    struct effect_outcome outcome = {0};
    struct buf scratch = {0};
    char numbers[16][24];
    for (int round = 0; round < 20000; round++) {
        const struct command *command = command_at(rng_below(&rng, command_count));
        struct slice argv[16] = {slice_text(command->name)};
        size_t argc = 1 + rng_below(&rng, 14);
        for (size_t i = 1; i < argc; i++) argv[i] = any_word(&rng, numbers[i]);
        struct effect_facts facts = modern();
        if (rng_below(&rng, 3) == 0) facts.primary_version = facts.follower_version = 0;
        facts.proxied = rng_below(&rng, 5) == 0;
        struct effect_request one = {.command = command, .argc = argc, .argv = argv}, requests[2] = {one, one};
        struct effect *effect = rng_below(&rng, 3) == 0
                                    ? effect_block_new(&facts, 0, 2, requests)
                                    : effect_new(&facts, 0, command, argc, argv);
        struct buf answer = any_answer(&rng);
        struct slice shown = buf_slice(&answer);
        void *exact = mem_dup(shown.size > 0 ? (const void *)shown.data : "", shown.size);
        shown = slice_from(exact, shown.size);
        effect_tell(effect, shown, &outcome);
        check_outcome(effect, &outcome);
        (void)effect_answer(effect, shown, &scratch);
        (void)effect_would_block(effect, shown);
        (void)effect_refusal(effect, shown);
        mem_free(exact);
        buf_close(&answer);
        effect_free(effect);
    }
    buf_close(&scratch);
    effect_outcome_close(&outcome);
}

static void test_a_plain_set_tells_itself_and_others_do_not(void **state) {
    (void)state;
    static const struct {
        const char *request, *answer;
        bool itself;
    } cases[] = {{"SET k v", "+OK\r\n", true},        {"set k v", "+OK\r\n", true},           {"SET k v", "$-1\r\n", false},
                 {"SET k v", "-OOM\r\n", false},      {"SET k v NX", "+OK\r\n", false},       {"SET k v PXAT 99999999999999", "+OK\r\n", false},
                 {"SET k v KEEPTTL", "+OK\r\n", false}, {"SETEX k 10 v", "+OK\r\n", false},   {"MSET a 1 b 2", "+OK\r\n", true},
                 {"EVAL s 1 k", "+OK\r\n", false},    {"FLUSHALL", "+OK\r\n", false},         {"GET k", "+OK\r\n", false},
                 {"NOSUCH k", "+OK\r\n", false},      {"SPOP k", "+OK\r\n", false},           {"SCRIPT FLUSH", "+OK\r\n", false}};
    struct effect_facts facts = modern();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slice words[WORDS_MAX], request;
        size_t argc = split(cases[i].request, words);
        struct effect *effect = effect_new(&facts, 0, command_lookup(argc, words), argc, words);
        if (effect_tells_itself(effect, slice_text(cases[i].answer), &request) != cases[i].itself) fail_msg("%s", cases[i].request);
        effect_free(effect);
    }
}

static void test_a_key_that_is_named_often_stands_once(void **state) {
    (void)state;
    struct slice argv[101] = {SLICE("DEL")};
    for (size_t i = 1; i < 101; i++) argv[i] = i % 2 ? SLICE("a") : SLICE("b");
    struct effect_facts facts = modern();
    for (size_t argc = 3; argc <= 101; argc += 49) {
        struct effect *effect = effect_new(&facts, 2, command_lookup(argc, argv), argc, argv);
        assert_int_equal(effect->key_count, 2);
        assert_int_equal(effect->keys[0].db, 2);
        effect_free(effect);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_command_that_may_write_has_a_rule),
        cmocka_unit_test(test_the_table_and_the_rules_agree_on_barriers),
        cmocka_unit_test(test_relative_times_become_absolute),
        cmocka_unit_test(test_what_the_server_refuses_is_sent_as_it_came),
        cmocka_unit_test(test_old_servers_get_words_that_they_know),
        cmocka_unit_test(test_what_blocks_is_tried_in_a_block_of_its_own),
        cmocka_unit_test(test_the_client_gets_its_own_part_of_the_answer),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_whole_keys),
        cmocka_unit_test(test_lists_sets_and_hashes),
        cmocka_unit_test(test_sorted_sets),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_behind_a_proxy_an_error_of_several_keys_proves_nothing),
        cmocka_unit_test(test_a_block_has_the_effects_of_its_commands_in_order),
        cmocka_unit_test(test_a_block_that_was_refused_did_nothing),
        cmocka_unit_test(test_any_request_and_any_answer_are_survived),
        cmocka_unit_test(test_a_plain_set_tells_itself_and_others_do_not),
        cmocka_unit_test(test_a_key_that_is_named_often_stands_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
