/* mini.c -- the simulation's Redis (tests/sim/mini_redis.h) for a test that holds it against a real
 * one.
 *
 * Reads requests (RESP) from standard input, each an array that begins with the number of the
 * connection (0 .. 3), and answers as the mini Redis does. STATE answers with an array of
 * "db key type expire item item ..." for every key that is there.
 */
#include "lib/base/mem.h"
#include "tests/sim/mini_redis.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 4

static int64_t now_ms;

static void tick(void) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) abort();
    now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void write_state(const struct mini *mini, struct buf *out) {
    static const char *const types[] = {"none", "string", "list", "set", "hash", "zset"};
    size_t count = 0;
    struct buf lines = {0}, line = {0};
    for (int db = 0; db < MINI_DBS; db++) {
        for (int key = 0; key < MINI_KEYS; key++) {
            const struct mini_value *v = &mini->state.at[db][key];
            if (!mini_alive(v, now_ms)) continue;
            buf_clear(&line);
            buf_printf(&line, "%d %c %s %" PRId64, db, 'a' + key, types[v->type], v->expire_ms);
            for (int i = 0; i < v->count; i++) buf_printf(&line, " %s", v->item[i]);
            resp_write_bulk(&lines, buf_slice(&line));
            count++;
        }
    }
    resp_write_array(out, count);
    buf_add(out, buf_slice(&lines));
    buf_close(&lines);
    buf_close(&line);
}

static void serve(struct mini *mini, struct mini_conn *conns, const struct resp_request *request,
                  struct buf *out) {
    int64_t number = 0;
    tick();
    if (slice_equal(request->argv[0], SLICE("STATE"))) {
        write_state(mini, out);
        return;
    }
    if (!slice_to_int(request->argv[0], &number) || number < 0 || number >= CONNECTIONS) exit(2);
    struct buf own = {0};
    resp_write_command(&own, request->argc - 1, request->argv + 1);
    mini_serve(mini, &conns[number], buf_slice(&own), out);
    buf_close(&own);
}

int main(void) {
    struct mini *mini = NEW(struct mini);
    struct mini_conn conns[CONNECTIONS] = {0};
    struct buf in = {0}, out = {0};
    struct resp_request request = {0};
    struct why why;
    size_t used = 0;
    mini->world_ms = &now_ms;
    mini->rng = rng_from(1);
    for (;;) {
        ssize_t got = read(0, buf_room(&in, 65536), 65536);
        if (got <= 0) break;
        buf_filled(&in, (size_t)got);
        while (resp_request_next(&request, &resp_request_limits_open, buf_slice(&in), &used,
                                 &why) == STEP_DONE) {
            serve(mini, conns, &request, &out);
            struct slice all = buf_slice(&out);
            if (fwrite(all.data, 1, all.size, stdout) != all.size || fflush(stdout) != 0) exit(2);
            buf_clear(&out);
            buf_consume(&in, used);
        }
    }
    for (int i = 0; i < CONNECTIONS; i++) mini_conn_close(&conns[i]);
    resp_request_close(&request);
    buf_close(&in);
    buf_close(&out);
    mem_free(mini);
    return 0;
}
