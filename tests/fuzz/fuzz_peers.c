/* fuzz_peers.c -- any bytes that say they come from another gateway: nothing breaks, and what is not
 * understood is hung up on (gateway/peers_in.c, peers_carry.c, holders.c).
 *
 * The bytes come over a socket behind a HELLO that is believed, so that all messages are reached. The
 * lanes have no connection to either side: what is asked of them waits.
 */
#include "gateway/dual_inside.h"
#include "gateway/peers_inside.h"

#include <sys/socket.h>
#include <unistd.h>

/* What was asked of lanes that never answer is left behind at the end of an input. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "detect_leaks=0";
}

static void no_send(void *self, unsigned lane, struct lane_item *item, struct slice bytes,
                    uint32_t replies, int32_t db, int32_t db_after) {
    (void)self, (void)lane, (void)item, (void)bytes, (void)replies, (void)db, (void)db_after;
}
static void no_follow(void *self, unsigned lane, const struct lane_item *item) {
    (void)self, (void)lane, (void)item;
}
static void no_answer(void *self, struct lane_item *item, struct slice answer) {
    (void)self, (void)item, (void)answer;
}
static void no_item(void *self, struct lane_item *item) {
    (void)self, (void)item;
}
static void no_wrote(void *self, const struct effect *effect) {
    (void)self, (void)effect;
}
static void no_scan(void *self, enum lane_side side, int32_t db, uint64_t cursor, uint64_t round) {
    (void)self, (void)side, (void)db, (void)cursor, (void)round;
}
static const struct lanes_ops ops = {no_send, no_follow, no_answer, no_item,
                                     no_item, no_wrote,  no_scan};

static struct drawbridge_config config;
static struct slot_table table;

static void make_table(void) {
    slot_table_init(&table);
    table.version = 3;
    table.count = 2;
    (void)snprintf(table.gateway[0].name, sizeof table.gateway[0].name, "one");
    (void)snprintf(table.gateway[1].name, sizeof table.gateway[1].name, "two");
    (void)snprintf(table.gateway[1].peer, sizeof table.gateway[1].peer, "unix:nowhere");
    for (unsigned slot = 0; slot < SLOT_CLUSTER_COUNT; slot++) table.owner[slot] = slot % 2;
}

static void open_gateway(struct gateway *gw, struct worker *w, struct dual *d) {
    struct why why;
    struct lane_rules rules = lane_rules_default;
    uint64_t owned[LANE_SLOTS / 64];
    memset(owned, 0x55, sizeof owned); /* each second one */
    gw->config = &config;
    (void)snprintf(gw->name, sizeof gw->name, "one");
    w->gw = gw;
    w->dual = d;
    w->running = true; /* nothing is run at the end of a callback */
    list_init(&w->graves);
    list_init(&w->clients);
    w->far = far_new(w);
    d->worker = w;
    d->table_of_slots = &table;
    d->table = lane_journal_none;
    list_init(&d->waits);
    list_init(&d->early);
    list_init(&d->reads);
    for (unsigned i = 0; i < LANES_MAX; i++) list_init(&d->parked[i]);
    lanes_init(&d->lanes, &ops, d, &d->table, loop_clock(w->loop), &rules, 2);
    lanes_own(&d->lanes, owned, true, true);
    enum err err = peers_open(&d->peers, d, &why);
    ASSERT(err == OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct loop *loop;
    static const char hello[] = "*3\r\n$5\r\nHELLO\r\n$3\r\ntwo\r\n$1\r\n2\r\n";
    struct why why;
    int ends[2];
    if (loop == NULL) {
        enum err err = loop_open(&loop, "fuzz", &why);
        ASSERT(err == OK);
        make_table();
    }
    struct gateway *gw = NEW(struct gateway);
    struct worker *w = NEW(struct worker);
    struct dual *d = NEW(struct dual);
    w->loop = loop;
    open_gateway(gw, w, d);
    int made = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends);
    ASSERT(made == 0);
    peers_on_visit(d->peers, stream_adopt(loop, ends[0], NULL, NULL, NULL, NULL));
    ssize_t wrote = write(ends[1], hello, sizeof hello - 1);
    if (wrote > 0 && size > 0) wrote = write(ends[1], data, size);
    ASSERT(wrote >= 0);
    for (unsigned i = 0; i < 4; i++) uv_run(loop_uv(loop), UV_RUN_NOWAIT);
    peers_close(d->peers);
    dual_asks_close(d);
    lanes_close(&d->lanes);
    for (unsigned i = 0; i < 4; i++) uv_run(loop_uv(loop), UV_RUN_NOWAIT);
    (void)close(ends[1]);
    far_free(w->far);
    mem_free(d);
    mem_free(w);
    mem_free(gw);
    return 0;
}
