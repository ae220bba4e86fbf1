/* commands.c -- the commands of simulated clients. See commands.h. */
#include "tests/sim/commands.h"

#include "gateway/lane.h"
#include "lib/redis/resp.h"

#include <inttypes.h>
#include <stdio.h>

size_t command_split(struct slice text, struct slice argv[12]) {
    size_t argc = 0;
    while (text.size > 0 && argc < 12) {
        const uint8_t *space = memchr(text.data, ' ', text.size);
        size_t size = space ? (size_t)(space - text.data) : text.size;
        argv[argc++] = slice_take(text, size);
        text = slice_drop(text, space ? size + 1 : size);
    }
    return argc;
}

/* As a client sends it. */
static struct effect *prepare_one(const struct effect_facts *facts, int db, const struct effect_request *request) {
    struct resp_request read = {0};
    struct buf raw = {0};
    struct why why;
    size_t used = 0;
    resp_write_command(&raw, request->argc, request->argv);
    enum step step = resp_request_next(&read, &resp_request_limits_open, buf_slice(&raw), &used, &why);
    ASSERT(step == STEP_DONE && used == buf_size(&raw));
    struct effect *effect = effect_new_raw(facts, db, request->command, read.argc, read.argv, buf_slice(&raw));
    resp_request_close(&read);
    buf_close(&raw);
    return effect;
}

struct effect *command_prepare(struct effect_facts *facts, const struct clock *clock, int db, const char *text, bool watched) {
    struct slice argv[2][12];
    struct effect_request requests[2] = {0};
    const char *second = strchr(text, ';');
    struct slice first = second ? slice_from(text, (size_t)(second - text)) : slice_text(text);
    facts->now_ms = clock_wall_ms(clock);
    facts->room_bytes = sizeof(struct lane_item); /* as in the gateway */
    requests[0].argc = command_split(first, argv[0]);
    requests[0].argv = argv[0];
    requests[0].command = command_lookup(requests[0].argc, argv[0]);
    if (!second && !watched) return prepare_one(facts, db, &requests[0]);
    if (!second) return effect_block_new(facts, db, 1, requests);
    requests[1].argc = command_split(slice_text(second + 1), argv[1]);
    requests[1].argv = argv[1];
    requests[1].command = command_lookup(requests[1].argc, argv[1]);
    return effect_block_new(facts, db, 2, requests);
}

void command_random(struct rng *r, int64_t world_ms, char text[48]) {
    char k = (char)('a' + rng_below(r, 4)), k2 = (char)('a' + rng_below(r, 4)), k3 = (char)('a' + rng_below(r, 4));
    char v = "xyz"[rng_below(r, 3)];
    static const int64_t lives[] = {20, 300, 5000};
    int64_t life = lives[rng_below(r, 3)];
    switch (rng_below(r, 42)) {
    case 0: case 1: snprintf(text, 48, "SUNIONSTORE %c %c %c", k, k2, k3); break;
    case 2: case 3: snprintf(text, 48, "RENAME %c %c", k, k2); break;
    case 4: snprintf(text, 48, "MSET %c 1 %c 2", k, k2); break;
    case 5: snprintf(text, 48, "SMOVE %c %c %c", k, k2, v); break;
    case 6: case 7: snprintf(text, 48, "EVAL %c 2 %c %c", rng_below(r, 3) ? 'w' : 'x', k, k2); break;
    case 8: snprintf(text, 48, "PEXPIRE %c %" PRId64, k, life); break;
    case 9: snprintf(text, 48, "PERSIST %c", k); break;
    case 10: snprintf(text, 48, "SET %c 1 PX %" PRId64, k, life); break;
    case 11: snprintf(text, 48, "PEXPIREAT %c %" PRId64, k, world_ms + (int64_t)rng_below(r, 900)); break;
    case 12: snprintf(text, 48, "SET %c %c", k, v); break;
    case 13: snprintf(text, 48, "SET %c 1", k); break;
    case 14: snprintf(text, 48, "SET %c 7 %s", k, rng_below(r, 2) ? "NX" : "XX"); break;
    case 15: snprintf(text, 48, "SET %c 8 KEEPTTL", k); break;
    case 16: snprintf(text, 48, "SETNX %c 5", k); break;
    case 17: snprintf(text, 48, "GETSET %c %c", k, v); break;
    case 18: snprintf(text, 48, "GETDEL %c", k); break;
    case 19: case 20: case 21: snprintf(text, 48, "INCR %c", k); break;
    case 22: case 23: snprintf(text, 48, "APPEND %c %c", k, v); break;
    case 24: snprintf(text, 48, "DEL %c %c", k, k2); break;
    case 25: snprintf(text, 48, "LPUSH %c %c", k, v); break;
    case 26: case 27: snprintf(text, 48, "RPUSH %c %c", k, v); break;
    case 28: snprintf(text, 48, "%s %c", rng_below(r, 2) ? "LPOP" : "RPOP", k); break;
    case 29: snprintf(text, 48, "LPUSHX %c %c", k, v); break;
    case 30: snprintf(text, 48, "BLPOP %c %c 0", k, k2); break;
    case 31: case 32: snprintf(text, 48, "SADD %c %c", k, v); break;
    case 33: snprintf(text, 48, "SREM %c %c", k, v); break;
    case 34: snprintf(text, 48, "SPOP %c", k); break;
    case 35: snprintf(text, 48, "HSET %c %c %c", k, v, v); break;
    case 36: snprintf(text, 48, "HDEL %c %c", k, v); break;
    case 37: snprintf(text, 48, "ZADD %c %d %c", k, (int)rng_below(r, 5), v); break;
    case 38: snprintf(text, 48, "ZINCRBY %c 2 %c", k, v); break;
    case 39: snprintf(text, 48, "ZREM %c %c", k, v); break;
    case 40: snprintf(text, 48, "GET %c", k); break;
    default: snprintf(text, 48, "DEL %c", k); break;
    }
}
