/* shards.c -- the map of a Redis Cluster, kept by asking its nodes. See shards.h. */
#include "gateway/shards/inside.h"

#include "gateway/others.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/rand.h"

#include <inttypes.h>

#define LOOK_MS 1000u
#define LOOK_MIN_MS 10u   /* between two looks that somebody wants */
#define LOOK_MAX_MS 3000u /* a node that does not answer for so long is dialled anew */
#define RETRY_MS 200u
#define RECENT_MS 5000u

const struct config_side *shards_config(const struct shards *s) {
    const struct drawbridge_config *config = s->worker->gw->config;
    return s->side == SIDE_LEGACY ? &config->legacy : &config->target;
}

void shards_endpoint(const struct shards *s, const struct shards_host *host, struct endpoint *to) {
    endpoint_copy(to, &shards_config(s)->endpoint);
    to->kind = ENDPOINT_TCP;
    memcpy(to->host, host->at.host, sizeof to->host);
    to->port = host->at.port;
}

unsigned shards_find_place(const struct shards *s, const struct shards_redirect *to,
                           unsigned from) {
    const char *host = to->host[0] || from >= s->count ? to->host : s->host[from].at.host;
    for (unsigned i = 0; i < s->count; i++) {
        const struct shards_host *h = &s->host[i];
        if (!h->present || h->at.port != to->port) continue;
        if (strcmp(h->at.host, host) == 0 || strcmp(h->at.ip, host) == 0) return i;
    }
    return s->count;
}

/* ---- what others are told ---- */

static void set_bit(uint64_t *bits, unsigned slot) {
    bits[slot / 64] |= UINT64_C(1) << (slot % 64);
}

void shards_note_restless(struct shards *s, uint16_t slot) {
    s->restless[slot] = ++s->stamp;
    set_bit(s->recent[0], slot);
}

void shards_note_ask(struct shards *s, uint16_t slot) {
    shards_note_restless(s, slot);
    set_bit(s->asked, slot);
}

static void age_recent(struct shards *s) {
    if (shards_now_ms(s) - s->recent_ms < RECENT_MS) return;
    s->recent_ms = shards_now_ms(s);
    memcpy(s->recent[1], s->recent[0], sizeof s->recent[1]);
    memset(s->recent[0], 0, sizeof s->recent[0]);
}

void shards_drop_recent(const struct shards *s, uint64_t slots[SHARDS_SLOTS / 64]) {
    for (unsigned i = 0; i < SHARDS_SLOTS / 64; i++)
        slots[i] &= ~(s->recent[0][i] | s->recent[1][i]);
}

static void tell(struct shards *s, const uint64_t slots[SHARDS_SLOTS / 64], bool lost) {
    if (s->changed != NULL) s->changed(s->changed_self, s->side, slots, lost);
}

static void tell_all_of(struct shards *s, unsigned host, const char *why) {
    uint64_t slots[SHARDS_SLOTS / 64] = {0};
    unsigned count = 0;
    for (unsigned slot = 0; slot < SHARDS_SLOTS; slot++) {
        if (s->owner[slot] != host) continue;
        set_bit(slots, slot);
        shards_note_restless(s, (uint16_t)slot);
        count++;
    }
    if (count == 0) return;
    log_warn("shards.other_data", LOG_S("side", gateway_side_name(s->side)),
             LOG_S("host", s->host[host].at.host), LOG_U("port", s->host[host].at.port),
             LOG_U("slots", count), LOG_S("why", why));
    tell(s, slots, false);
}

void shards_watch(struct shards *s,
                  void (*changed)(void *self, enum side side,
                                  const uint64_t slots[SHARDS_SLOTS / 64], bool lost),
                  void *self) {
    s->changed = changed;
    s->changed_self = self;
}

/* ---- the new map ---- */

static unsigned host_of(struct shards *s, const struct shards_node *node) {
    for (unsigned i = 0; i < s->count; i++)
        if (strcmp(s->host[i].at.id, node->id) == 0) return i;
    if (s->count == SHARDS_NODES_MAX) return s->count;
    return s->count++;
}

/* False: there were more nodes than we can remember. */
static bool take_nodes(struct shards *s, const struct shards_map *map, unsigned *index) {
    for (unsigned i = 0; i < s->count; i++) s->host[i].present = false;
    for (size_t i = 0; i < map->count; i++) {
        const struct shards_node *node = &map->node[i];
        unsigned at = host_of(s, node);
        if (at == SHARDS_NODES_MAX) return false;
        struct shards_host *h = &s->host[at];
        bool elsewhere = h->at.port != 0 &&
                         (h->at.port != node->port || strcmp(h->at.host, node->host) != 0);
        if (elsewhere && h->ctl != NULL) shards_ctl_abort(h->ctl);
        h->at = *node;
        h->present = true;
        index[i] = at;
    }
    for (unsigned i = 0; i < s->count; i++)
        if (!s->host[i].present) s->host[i].at.master = false;
    return true;
}

/* Whether what the owner before confirmed may be lost: it did not give the slot away, it failed. */
static bool may_be_lost(const struct shards_host *before) {
    return !before->present || before->at.failed || !before->at.master;
}

static void take_map(struct shards *s) {
    const struct shards_map *map = s->fresh;
    unsigned index[SHARDS_NODES_MAX] = {0}, moved = 0;
    uint64_t changed[SHARDS_SLOTS / 64] = {0};
    bool lost = false;
    if (!take_nodes(s, map, index)) {
        log_error("shards.too_many_nodes", LOG_U("most", SHARDS_NODES_MAX));
        return;
    }
    for (unsigned slot = 0; slot < SHARDS_SLOTS; slot++) {
        if (map->owner[slot] == SHARDS_NOBODY) continue; /* whoever had it answers for it */
        uint16_t before = s->owner[slot], now = (uint16_t)index[map->owner[slot]];
        if (before == now) continue;
        s->owner[slot] = now;
        if (before == SHARDS_NOBODY && !s->known) continue;
        set_bit(changed, slot);
        shards_note_restless(s, (uint16_t)slot);
        moved++;
        if (before != SHARDS_NOBODY && may_be_lost(&s->host[before])) lost = true;
    }
    if (!s->known) memset(s->recent[0], 0xff, sizeof s->recent[0]); /* who knows since when */
    if (!s->known)
        log_info("shards.known", LOG_S("side", gateway_side_name(s->side)),
                 LOG_U("nodes", s->count));
    s->known = true;
    if (moved > 0) {
        log_info("shards.moved", LOG_S("side", gateway_side_name(s->side)), LOG_U("slots", moved),
                 LOG_B("lost", lost));
        tell(s, changed, lost);
    }
    LIST_EACH(&s->conns, at) {
        struct shards_conn *conn = LIST_OWNER(at, struct shards_conn, link);
        for (unsigned slot = 0; moved > 0 && slot < SHARDS_SLOTS; slot++)
            if (changed[slot / 64] >> (slot % 64) & 1)
                shards_order_stop(&conn->order, (uint16_t)slot);
        shards_conn_on_map(conn);
    }
}

/* ---- a look ---- */

/* Moved, or called off: then the keys came back, and their deadlines are others by some milliseconds. */
static void tell_ended(struct shards *s) {
    uint64_t ended[SHARDS_SLOTS / 64];
    bool any = false;
    for (unsigned i = 0; i < SHARDS_SLOTS / 64; i++) {
        ended[i] = s->seen[i] & ~s->moving[i];
        s->seen[i] = s->moving[i];
        any = any || ended[i] != 0;
    }
    if (any) tell(s, ended, false);
}

static void one_less(struct shards *s) {
    ASSERT(s->pending > 0);
    if (--s->pending > 0) return;
    s->looking = false;
    if (s->mapped) take_map(s);
    if (s->mapped && s->complete) tell_ended(s);
    if (s->mapped && s->complete) s->done_round = s->round;
    s->next_ms = shards_now_ms(s) + (s->mapped ? LOOK_MS : RETRY_MS);
    if (!s->mapped || !s->complete) s->wanted = true;
}

static void on_slots(struct shards_ctl *ctl, uint64_t round, const struct resp_reply *reply) {
    struct shards *s = shards_ctl_of(ctl);
    struct why why;
    if (round != s->round) return;
    unsigned host = shards_ctl_host(ctl);
    const char *name = host < s->count ? s->host[host].at.host : shards_config(s)->endpoint.host;
    if (reply != NULL && shards_map_read(s->fresh, reply, name, &why) == OK)
        s->mapped = true;
    else if (reply != NULL)
        log_warn("shards.no_map", LOG_WHY(&why));
    one_less(s);
}

static void take_moving(struct shards *s, struct slice text) {
    uint64_t moving[SHARDS_SLOTS / 64] = {0};
    shards_moving(text, moving);
    for (unsigned slot = 0; slot < SHARDS_SLOTS; slot++)
        if (moving[slot / 64] >> (slot % 64) & 1) shards_note_restless(s, (uint16_t)slot);
    for (unsigned i = 0; i < SHARDS_SLOTS / 64; i++) {
        s->moving[i] |= moving[i];
        s->seen[i] |= moving[i];
    }
}

/* Of the one that told the slots, its nodes; of each, what it gives and gets. */
static void on_nodes(struct shards_ctl *ctl, uint64_t round, const struct resp_reply *reply) {
    struct shards *s = shards_ctl_of(ctl);
    if (round != s->round) return;
    bool fine = reply != NULL && !resp_reply_is_error(reply);
    if (fine) take_moving(s, reply->text);
    if (!fine) s->complete = false;
    one_less(s);
}

static void on_nodes_of_asker(struct shards_ctl *ctl, uint64_t round,
                              const struct resp_reply *reply) {
    struct shards *s = shards_ctl_of(ctl);
    if (round != s->round) return;
    if (reply == NULL || resp_reply_is_error(reply))
        s->mapped = false;
    else if (s->mapped)
        shards_map_add(s->fresh, reply->text);
    on_nodes(ctl, round, reply);
}

static void on_role(struct shards_ctl *ctl, uint64_t round, const struct resp_reply *reply) {
    struct shards *s = shards_ctl_of(ctl);
    if (round != s->round) return;
    if (reply == NULL || resp_reply_is_error(reply))
        s->complete = false;
    else
        shards_on_replication(s, shards_ctl_host(ctl), reply->text);
    one_less(s);
}

static void ask(struct shards *s, struct shards_ctl *ctl, const char *word, const char *more,
                shards_told *told) {
    struct buf out = {0};
    resp_write_words(&out, word, more, NULL);
    s->pending++;
    shards_ctl_ask(ctl, buf_slice(&out), told, s->round);
    buf_close(&out);
}

static struct shards_ctl *asker(struct shards *s) {
    for (unsigned i = 0; i < s->count; i++) {
        struct shards_host *h = &s->host[(s->next_asker + i) % s->count];
        if (!h->present || !h->at.master || !shards_ctl_is_ready(h->ctl)) continue;
        s->next_asker = (unsigned)(h - s->host);
        return h->ctl;
    }
    return shards_ctl_is_ready(s->seed) ? s->seed : NULL;
}

static void look(struct shards *s) {
    struct shards_ctl *from = asker(s);
    if (from == NULL) return;
    s->round++;
    s->looking = true;
    s->wanted = s->mapped = false;
    s->complete = s->known;
    s->pending = 1; /* ours, until all is asked */
    s->began_ms = shards_now_ms(s);
    memset(s->moving, 0, sizeof s->moving);
    for (unsigned i = 0; i < SHARDS_SLOTS / 64; i++) s->seen[i] |= s->asked[i];
    memset(s->asked, 0, sizeof s->asked);
    ask(s, from, "CLUSTER", "SLOTS", on_slots);
    ask(s, from, "CLUSTER", "NODES", on_nodes_of_asker);
    for (unsigned i = 0; i < s->count; i++) {
        struct shards_host *h = &s->host[i];
        if (!h->present || !h->at.master || h->at.failed) continue;
        if (!shards_ctl_is_ready(h->ctl)) {
            if (h->at.slots > 0) s->complete = false;
            continue;
        }
        if (h->ctl != from) ask(s, h->ctl, "CLUSTER", "NODES", on_nodes);
        ask(s, h->ctl, "INFO", "replication", on_role);
    }
    one_less(s);
}

void shards_want(struct shards *s, unsigned hint) {
    s->wanted = true;
    if (hint < s->count) s->next_asker = hint;
}

uint64_t shards_look(struct shards *s) {
    s->wanted = true;
    return s->round + 1;
}
bool shards_looked(const struct shards *s, uint64_t ticket) {
    return s->done_round >= ticket;
}
uint64_t shards_stamp(const struct shards *s) {
    return s->stamp;
}

bool shards_restless(const struct shards *s, uint64_t since, uint64_t slots[SHARDS_SLOTS / 64]) {
    bool any = false;
    memset(slots, 0, SHARDS_SLOTS / 8);
    for (unsigned slot = 0; slot < SHARDS_SLOTS; slot++) {
        if (s->restless[slot] <= since) continue;
        set_bit(slots, slot);
        any = true;
    }
    return any;
}

/* ---- what nodes say about themselves ---- */

static void copy_field(char *to, size_t room, struct slice info, const char *name) {
    struct slice value;
    to[0] = '\0';
    if (!resp_info_field(info, name, &value) || value.size >= room) return;
    memcpy(to, value.data, value.size);
    to[value.size] = '\0';
}

void shards_on_replication(struct shards *s, unsigned host, struct slice text) {
    char replid[41];
    struct shards_host *h = &s->host[host];
    copy_field(replid, sizeof replid, text, "master_replid");
    if (strcmp(replid, h->replid) == 0) return;
    bool first = h->replid[0] == '\0';
    memcpy(h->replid, replid, sizeof replid);
    if (!first) tell_all_of(s, host, "its replication id is another one");
}

static void take_version(struct shards *s, struct slice server) {
    char version[32];
    copy_field(version, sizeof version, server, "redis_version");
    bool older = s->version[0] == '\0' || strverscmp(version, s->version) < 0;
    if (version[0] != '\0' && older) memcpy(s->version, version, sizeof version);
}

void shards_on_ctl_info(struct shards *s, unsigned host, struct slice server,
                        struct slice replication) {
    char run_id[41];
    take_version(s, server);
    s->wanted = true;
    if (host >= s->count) return; /* the seed, which may be any node */
    struct shards_host *h = &s->host[host];
    copy_field(run_id, sizeof run_id, server, "run_id");
    bool other = h->run_id[0] != '\0' && strcmp(run_id, h->run_id) != 0;
    memcpy(h->run_id, run_id, sizeof run_id);
    if (other) {
        h->replid[0] = '\0';
        tell_all_of(s, host, "it is another process");
    }
    shards_on_replication(s, host, replication);
    LIST_EACH(&s->conns, at) shards_conn_schedule(LIST_OWNER(at, struct shards_conn, link));
}

void shards_on_ctl_closed(struct shards *s, struct shards_ctl *ctl) {
    unsigned host = shards_ctl_host(ctl);
    if (ctl == s->seed) {
        s->seed = NULL;
        s->seed_retry_ms = shards_now_ms(s) + RETRY_MS;
        return;
    }
    s->host[host].ctl = NULL;
    s->host[host].retry_ms = shards_now_ms(s) + RETRY_MS;
    s->wanted = true;
}

/* ---- graves ---- */

static void on_killed(struct shards_ctl *ctl, uint64_t arg, const struct resp_reply *reply) {
    struct buf text = {0};
    if (reply != NULL && reply->kind == RESP_INT)
        resp_write_int(&text, reply->number);
    else if (reply != NULL)
        resp_write_error(&text, SLICE("ERR refused"));
    grave_told(shards_ctl_of(ctl)->worker, arg, buf_slice(&text));
    buf_close(&text);
}

/* The process may be none of those that own slots: then nothing that it executes counts (C21). */
static bool is_nobody(const struct shards *s, const char *run_id) {
    if (!s->known) return false;
    for (unsigned slot = 0; slot < SHARDS_SLOTS; slot++) {
        const struct shards_host *h = s->owner[slot] < s->count ? &s->host[s->owner[slot]] : NULL;
        if (h == NULL || !shards_ctl_is_ready(h->ctl) || h->run_id[0] == '\0') return false;
        if (strcmp(h->run_id, run_id) == 0) return false;
    }
    return true;
}

void shards_dig(struct shards *s, struct grave *grave) {
    for (unsigned i = 0; i < s->count; i++) {
        struct shards_host *h = &s->host[i];
        if (!shards_ctl_is_ready(h->ctl) || strcmp(h->run_id, grave->run_id) != 0) continue;
        struct buf out = {0};
        grave_ask(grave, &out);
        grave->asking = true;
        shards_ctl_ask(h->ctl, buf_slice(&out), on_killed, (uint64_t)(uintptr_t)grave);
        buf_close(&out);
        return;
    }
    if (!is_nobody(s, grave->run_id)) return;
    log_info("shards.gone", LOG_S("run_id", grave->run_id), LOG_I("server_id", grave->server_id));
    grave_close(s->worker, grave);
}

/* ---- connections that nobody can name ---- */

static void on_list(struct shards_ctl *ctl, uint64_t arg, const struct resp_reply *reply) {
    struct shards_host *h = &shards_ctl_of(ctl)->host[shards_ctl_host(ctl)];
    int64_t id = shards_ctl_id(ctl);
    (void)arg;
    h->asked_others = false;
    if (reply == NULL || reply->kind != RESP_BULK) return;
    h->no_others = others_in(reply->text, id, id) == OTHERS_NONE;
}

bool shards_has_no_others(struct shards *s) {
    bool none = s->known;
    for (unsigned i = 0; i < s->count; i++) {
        struct shards_host *h = &s->host[i];
        if (!h->present || h->at.slots == 0 || h->no_others) continue;
        none = false;
        if (h->asked_others || !shards_ctl_is_ready(h->ctl)) continue;
        h->asked_others = true;
        shards_ctl_ask(h->ctl, SLICE("*2\r\n$6\r\nCLIENT\r\n$4\r\nLIST\r\n"), on_list, 0);
    }
    return none;
}

void shards_forget_others(struct shards *s) {
    for (unsigned i = 0; i < s->count; i++) s->host[i].no_others = false;
}

/* ---- the loop's ---- */

struct shards *shards_open(struct worker *w, enum side side) {
    struct shards *s = NEW(struct shards);
    s->worker = w;
    s->side = side;
    s->host = NEW_ARRAY(struct shards_host, SHARDS_NODES_MAX);
    s->fresh = NEW(struct shards_map);
    s->stamp = 1;
    s->next_id = 1;
    for (unsigned slot = 0; slot < SHARDS_SLOTS; slot++) s->owner[slot] = SHARDS_NOBODY;
    rand_hex40(s->run_id);
    list_init(&s->conns);
    log_info("shards.cluster", LOG_S("side", gateway_side_name(side)));
    shards_tick(s);
    return s;
}

void shards_close(struct shards *s) {
    if (s == NULL) return;
    shards_ctl_forget(s->seed);
    for (unsigned i = 0; i < s->count; i++) shards_ctl_forget(s->host[i].ctl);
    mem_free(s->host);
    mem_free(s->fresh);
    mem_free(s);
}

static void dial(struct shards *s) {
    uint64_t now_ms = shards_now_ms(s);
    bool any = false;
    for (unsigned i = 0; i < s->count; i++) {
        struct shards_host *h = &s->host[i];
        if (shards_ctl_is_ready(h->ctl)) any = true;
        if (!h->present || !h->at.master || h->ctl != NULL || now_ms < h->retry_ms) continue;
        h->ctl = shards_ctl_open(s, i);
    }
    if (any && s->seed != NULL && shards_ctl_waiting(s->seed) == 0) shards_ctl_abort(s->seed);
    if (!any && s->seed == NULL && now_ms >= s->seed_retry_ms)
        s->seed = shards_ctl_open(s, SHARDS_NODES_MAX);
}

/* A node that does not answer is dialled anew; its asks come to an end then. */
static void give_up(struct shards *s) {
    if (!s->looking || shards_now_ms(s) - s->began_ms < LOOK_MAX_MS) return;
    s->began_ms = shards_now_ms(s);
    if (s->seed != NULL && shards_ctl_waiting(s->seed) > 0) shards_ctl_abort(s->seed);
    for (unsigned i = 0; i < s->count; i++)
        if (s->host[i].ctl != NULL && shards_ctl_waiting(s->host[i].ctl) > 0)
            shards_ctl_abort(s->host[i].ctl);
}

void shards_tick(struct shards *s) {
    uint64_t now_ms = shards_now_ms(s);
    dial(s);
    give_up(s);
    age_recent(s);
    bool due = now_ms >= s->next_ms || (s->wanted && now_ms - s->began_ms >= LOOK_MIN_MS);
    if (!s->looking && due) look(s);
    for (struct list *next, *at = s->conns.next; at != &s->conns; at = next) {
        next = at->next;
        shards_conn_tick(LIST_OWNER(at, struct shards_conn, link));
    }
}

uint64_t shards_redirected(const struct shards *s) {
    return s->redirected;
}
