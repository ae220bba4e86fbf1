/* fuzz_effect.c -- any request with any answer: what is told is well-formed, and writes no key that
 * was not foretold.
 *
 * The first byte: how many requests follow (more than one: a block), which versions and a proxy.
 * Then the requests (RESP), then the primary side's answer.
 */
#include "gateway/effect.h"

#include "lib/base/mem.h"
#include "lib/redis/resp.h"

#define REQUESTS_MAX 4

static const struct resp_request_limits limits = {
    .args_max = 64, .bulk_bytes_max = 2000, .total_bytes_max = 4000, .authenticated = true};

/* What was told for the follower is one request each. */
static void check_request(struct slice bytes) {
    struct resp_request request = {0};
    struct why why;
    size_t used = 0;
    ASSERT(resp_request_next(&request, &resp_request_limits_open, bytes, &used, &why) == STEP_DONE);
    ASSERT(used == bytes.size && request.argc > 0);
    resp_request_close(&request);
}

static void check_keys(const struct effect *effect, const struct effect_outcome *outcome,
                       const struct effect_item *item) {
    for (uint32_t k = 0; k < item->key_count; k++) {
        const struct effect_key *key = &outcome->keys[item->key_at + k];
        bool foretold = (key->use & EFFECT_WRITE) == 0;
        for (size_t n = 0; n < effect->key_count && !foretold; n++)
            foretold = effect->keys[n].db == key->db && (effect->keys[n].use & EFFECT_WRITE) &&
                       slice_equal(effect->keys[n].name, key->name);
        ASSERT(foretold);
        ASSERT(key->expiry != EFFECT_EXPIRY_OF || key->from < item->key_count);
    }
}

static void try_answer(const struct effect *effect, struct slice answer) {
    struct effect_outcome outcome = {0};
    struct buf scratch = {0};
    effect_tell(effect, answer, &outcome);
    for (size_t i = 0; i < outcome.item_count; i++) {
        const struct effect_item *item = &outcome.items[i];
        if (item->kind == EFFECT_REQUEST) check_request(effect_item_request(&outcome, item));
        check_keys(effect, &outcome, item);
    }
    ASSERT(effect->writes || outcome.item_count == 0);
    (void)effect_answer(effect, answer, &scratch);
    (void)effect_would_block(effect, answer);
    (void)effect_refusal(effect, answer);
    effect_outcome_close(&outcome);
    buf_close(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    struct slice bytes = slice_from(data + 1, size - 1);
    struct effect_facts facts = {.now_ms = 1700000000000,
                                 .primary_version = data[0] & 16  ? 40000
                                                    : data[0] & 8 ? 70204
                                                                  : 70015,
                                 .follower_version = data[0] & 32 ? 40000 : 70015,
                                 .databases = 16,
                                 .proxied = data[0] & 64};
    struct resp_request read[REQUESTS_MAX] = {0};
    struct effect_request requests[REQUESTS_MAX];
    size_t wanted = 1 + data[0] % REQUESTS_MAX, count = 0;
    struct why why;
    while (count < wanted && bytes.size > 0) {
        size_t used = 0;
        enum step step = resp_request_next(&read[count], &limits, bytes, &used, &why);
        if (step != STEP_DONE || read[count].argc == 0 || read[count].is_inline) break;
        requests[count] = (struct effect_request){
            .command = command_lookup(read[count].argc, read[count].argv),
            .argc = read[count].argc,
            .argv = read[count].argv,
            .raw = slice_take(bytes, used)};
        bytes = slice_drop(bytes, used);
        count++;
    }
    if (count > 0) {
        struct effect *effect = count > 1 ? effect_block_new(&facts, 0, count, requests)
                                          : effect_new_raw(&facts, 0, requests[0].command,
                                                           requests[0].argc, requests[0].argv,
                                                           requests[0].raw);
        uint8_t *exact = mem_dup(bytes.size > 0 ? bytes.data : data, bytes.size);
        try_answer(effect, slice_from(exact, bytes.size));
        mem_free(exact);
        effect_free(effect);
    }
    for (size_t i = 0; i < REQUESTS_MAX; i++) resp_request_close(&read[i]);
    return 0;
}
