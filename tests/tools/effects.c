/* effects.c -- show gateway/effect.h to a test.
 *
 * Reads requests (RESP) from standard input and answers each in RESP:
 *
 *   NEW db now_ms primary_version follower_version proxied ARG...
 *   BLOCK db now_ms primary_version follower_version proxied COUNT {ARGC ARG...}...
 *       [send, replies, db_after, writes, plain, blocking, barrier, keys_unknown, [[name, db,
 * use]...]] TELL ANSWER        of the last one [client's answer, would_block, refusal, [[kind,
 * scope, db, db_other, request,
 *        [[name, db, use, expiry, from, deadline_ms]...]]...]]
 *
 *   FIT version PAYLOAD    of DUMP, as lane_copy_fit() writes it for a follower of that version
 *
 * effect_tell() is shown no more of the answer than it says that it needs, in a block of memory of
 * exactly that size.
 */
#include "gateway/effect.h"
#include "gateway/lane_copy.h"
#include "lib/base/mem.h"
#include "lib/redis/resp.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define COMMANDS_MAX 4096

static struct effect *effect;
static struct effect_outcome outcome;
static struct buf out;

static int64_t number(struct slice text) {
    int64_t value = 0;
    if (!slice_to_int(text, &value)) {
        fprintf(stderr, "not a number: %.*s\n", (int)text.size, (const char *)text.data);
        exit(2);
    }
    return value;
}

static void write_key(const struct effect_key *key, bool of_outcome) {
    resp_write_array(&out, of_outcome ? 6 : 3);
    resp_write_bulk(&out, key->name);
    resp_write_int(&out, key->db);
    resp_write_int(&out, key->use);
    if (!of_outcome) return;
    resp_write_int(&out, key->expiry);
    resp_write_int(&out, key->from);
    resp_write_int(&out, key->deadline_ms);
}

static void write_effect(void) {
    resp_write_array(&out, 9);
    resp_write_bulk(&out, effect->send);
    resp_write_int(&out, effect->replies);
    resp_write_int(&out, effect->db_after);
    resp_write_int(&out, effect->writes);
    resp_write_int(&out, effect->plain);
    resp_write_int(&out, effect->blocking);
    resp_write_int(&out, effect->barrier);
    resp_write_int(&out, effect->keys_unknown);
    resp_write_array(&out, effect->key_count);
    for (size_t i = 0; i < effect->key_count; i++) write_key(&effect->keys[i], false);
}

static void make(size_t argc, const struct slice *argv, bool block) {
    struct effect_facts facts = {.now_ms = number(argv[2]),
                                 .primary_version = (int32_t)number(argv[3]),
                                 .follower_version = (int32_t)number(argv[4]),
                                 .proxied = number(argv[5]) != 0,
                                 .databases = 16};
    int32_t db = (int32_t)number(argv[1]);
    effect_free(effect);
    if (!block) {
        effect = effect_new(&facts, db, command_lookup(argc - 6, argv + 6), argc - 6, argv + 6);
    } else {
        static struct effect_request requests[COMMANDS_MAX];
        size_t count = (size_t)number(argv[6]), at = 7;
        ASSERT(count <= COMMANDS_MAX);
        for (size_t i = 0; i < count; i++) {
            size_t own = (size_t)number(argv[at++]);
            requests[i] = (struct effect_request){.command = command_lookup(own, argv + at), .argc = own, .argv = argv + at};
            at += own;
        }
        ASSERT(at == argc);
        effect = effect_block_new(&facts, db, count, requests);
    }
    write_effect();
}

static void write_item(const struct effect_item *item) {
    resp_write_array(&out, 6);
    resp_write_int(&out, item->kind);
    resp_write_int(&out, item->scope);
    resp_write_int(&out, item->db);
    resp_write_int(&out, item->db_other);
    resp_write_bulk(&out, effect_item_request(&outcome, item));
    resp_write_array(&out, item->key_count);
    for (size_t i = 0; i < item->key_count; i++) write_key(&outcome.keys[item->key_at + i], true);
}

static void tell(struct slice answer) {
    struct buf scratch = {0};
    size_t shown = answer.size;
    if (effect->needs == EFFECT_NEEDS_HEAD && shown > EFFECT_HEAD_BYTES) shown = EFFECT_HEAD_BYTES;
    if (effect->needs == EFFECT_NEEDS_NOTHING) shown = 0;
    uint8_t *copy = malloc(shown > 0 ? shown : 1);
    if (copy == NULL) abort();
    memcpy(copy, answer.data, shown);
    effect_tell(effect, slice_from(copy, shown), &outcome);
    resp_write_array(&out, 4);
    resp_write_bulk(&out, effect_answer(effect, answer, &scratch));
    resp_write_int(&out, effect_would_block(effect, answer));
    resp_write_bulk(&out, effect_refusal(effect, answer));
    resp_write_array(&out, outcome.item_count);
    for (size_t i = 0; i < outcome.item_count; i++) write_item(&outcome.items[i]);
    free(copy);
    buf_close(&scratch);
}

static void fit(struct slice version, struct slice payload) {
    struct buf scratch = {0};
    struct lane_value value = {.payload = payload};
    lane_copy_fit((int32_t)number(version), &value, &scratch);
    resp_write_bulk(&out, value.payload);
    buf_close(&scratch);
}

static void serve(const struct resp_request *request) {
    if (slice_equal(request->argv[0], SLICE("TELL")))
        tell(request->argv[1]);
    else if (slice_equal(request->argv[0], SLICE("FIT")))
        fit(request->argv[1], request->argv[2]);
    else
        make(request->argc, request->argv, slice_equal(request->argv[0], SLICE("BLOCK")));
    struct slice all = buf_slice(&out);
    if (fwrite(all.data, 1, all.size, stdout) != all.size || fflush(stdout) != 0) exit(2);
    buf_clear(&out);
}

int main(void) {
    struct buf in = {0};
    struct resp_request request = {0};
    struct why why;
    size_t used = 0;
    setvbuf(stdin, NULL, _IONBF, 0);
    for (;;) {
        ssize_t got = read(0, buf_room(&in, 65536), 65536);
        if (got <= 0) break;
        buf_filled(&in, (size_t)got);
        enum step step;
        while ((step = resp_request_next(&request, &resp_request_limits_open, buf_slice(&in), &used,
                                         &why)) == STEP_DONE) {
            serve(&request);
            buf_consume(&in, used);
        }
        if (step == STEP_FAIL) {
            fprintf(stderr, "%s\n", why.text);
            return 2;
        }
    }
    effect_free(effect);
    effect_outcome_close(&outcome);
    resp_request_close(&request);
    buf_close(&in);
    buf_close(&out);
    return 0;
}
