/* topology_plan.c -- the wanted cluster: lines of the configuration, and lines of a nodes.conf; see
 * topology_plan.h. */
#include "state/topology_plan.h"

#include "lib/base/mem.h"
#include "state/sha256.h"

#include <inttypes.h>
#include <stdio.h>

static bool read_number(struct slice text, int64_t most, int64_t *number) {
    return slice_to_int(text, number) && *number >= 0 && *number <= most;
}

/* ---- the configuration ---- */

struct reading {
    struct topology_plan *plan;
    unsigned line;
    struct why *why;
};

static enum err wrong(const struct reading *r, const char *what, struct slice word) {
    return why_set(r->why, ERR_CONFIG, "topology.nodes, line %u: %s%s%.*s%s", r->line, what,
                   word.size ? ": '" : "", (int)(word.size < 80 ? word.size : 80),
                   word.size ? (const char *)word.data : "", word.size ? "'" : "");
}

static int find_name(const struct topology_plan *plan, struct slice name) {
    for (size_t i = 0; i < plan->count; i++)
        if (slice_equal(name, slice_text(plan->nodes[i].name))) return (int)i;
    return -1;
}

/* They go into lines of the protocol: letters, digits and a few signs. */
static bool copy_word(struct slice word, const char *signs, char *to, size_t room) {
    if (word.size == 0 || word.size >= room) return false;
    for (size_t i = 0; i < word.size; i++) {
        uint8_t byte = word.data[i], low = byte | 0x20;
        if (!(byte >= '0' && byte <= '9') && !(low >= 'a' && low <= 'z') &&
            (byte == '\0' || !strchr(signs, byte)))
            return false;
    }
    memcpy(to, word.data, word.size);
    to[word.size] = '\0';
    return true;
}

static void make_id(struct plan_node *node) {
    char hex[65];
    struct buf text = {0};
    buf_printf(&text, "drawbridge node %s", node->name);
    sha256_hex(buf_slice(&text), hex);
    buf_close(&text);
    memcpy(node->id, hex, PLAN_ID);
}

static enum err read_node(const struct reading *r, struct slice line) {
    struct slice name = slice_word(&line), address = slice_word(&line);
    if (r->plan->count == PLAN_NODES_MAX) return wrong(r, "too many nodes", name);
    if (find_name(r->plan, name) >= 0) return wrong(r, "a name that was there before", name);
    struct plan_node *node = &r->plan->nodes[r->plan->count];
    *node = (struct plan_node){.master = -1};
    if (!copy_word(name, "-_.", node->name, sizeof node->name))
        return wrong(r, "expected a name of letters, digits, '-', '_' or '.'", name);
    size_t colon = address.size;
    while (colon > 0 && address.data[colon - 1] != ':') colon--;
    int64_t port;
    if (colon < 2 || !read_number(slice_drop(address, colon), 65535, &port) || port == 0 ||
        !copy_word(slice_take(address, colon - 1), "-_.:", node->host, sizeof node->host))
        return wrong(r, "expected HOST:PORT", address);
    for (size_t i = 0; i < r->plan->count; i++)
        if (strcmp(r->plan->nodes[i].host, node->host) == 0 && r->plan->nodes[i].port == port)
            return wrong(r, "an address that was there before", address);
    node->port = (int)port;
    make_id(node);
    r->plan->count++;
    return OK;
}

static enum err read_slots(const struct reading *r, struct slice word, uint16_t node) {
    int64_t from, to;
    struct slice last = word, first = slice_cut(&last, '-');
    if (!read_number(first, SLOT_CLUSTER_COUNT - 1, &from) ||
        !read_number(last.size ? last : first, SLOT_CLUSTER_COUNT - 1, &to) || to < from)
        return wrong(r, "expected a slot, or FROM-TO", word);
    for (int64_t slot = from; slot <= to; slot++) {
        if (r->plan->owner[slot] != PLAN_NOBODY) return wrong(r, "a slot with two owners", word);
        r->plan->owner[slot] = node;
    }
    return OK;
}

/* Again, now that all names are known: what a node serves, or whom it follows. */
static enum err read_part(const struct reading *r, struct slice line) {
    struct slice name = slice_word(&line);
    int node = find_name(r->plan, name);
    ASSERT(node >= 0);
    (void)slice_word(&line);
    for (struct slice word; (word = slice_word(&line)).size > 0;) {
        enum err err = OK;
        if (slice_equal(word, SLICE("replica-of"))) {
            struct slice master = slice_word(&line);
            int at = find_name(r->plan, master);
            if (at < 0 || at == node) return wrong(r, "not another node's name", master);
            r->plan->nodes[node].master = at;
            if (slice_word(&line).size) return wrong(r, "a replica with more words", name);
        } else {
            err = read_slots(r, word, (uint16_t)node);
        }
        if (err) return err;
    }
    return OK;
}

static enum err each_line(struct reading *r, struct slice text,
                          enum err (*read)(const struct reading *r, struct slice line)) {
    for (r->line = 1; text.size; r->line++) {
        struct slice line = slice_cut(&text, '\n'), words = line;
        struct slice first = slice_word(&words);
        if (first.size == 0 || first.data[0] == '#') continue;
        enum err err = read(r, line);
        if (err) return err;
    }
    return OK;
}

static enum err check_masters(const struct topology_plan *plan, struct why *why) {
    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_node *node = &plan->nodes[i];
        if (node->master >= 0 && plan->nodes[node->master].master >= 0)
            return why_set(why, ERR_CONFIG, "topology.nodes: %s follows %s, which is a replica",
                           node->name, plan->nodes[node->master].name);
    }
    for (unsigned slot = 0; slot < SLOT_CLUSTER_COUNT; slot++)
        if (plan->owner[slot] != PLAN_NOBODY && plan->nodes[plan->owner[slot]].master >= 0)
            return why_set(why, ERR_CONFIG, "topology.nodes: %s is a replica and has slots",
                           plan->nodes[plan->owner[slot]].name);
    return plan->count ? OK : why_set(why, ERR_CONFIG, "topology.nodes: there is none");
}

enum err topology_plan_read(struct slice nodes, int64_t epoch, bool tls,
                            struct topology_plan **plan, struct why *why) {
    struct reading r = {.plan = NEW(struct topology_plan), .why = why};
    r.plan->epoch = epoch;
    r.plan->tls = tls;
    for (unsigned slot = 0; slot < SLOT_CLUSTER_COUNT; slot++) r.plan->owner[slot] = PLAN_NOBODY;
    enum err err = each_line(&r, nodes, read_node);
    if (!err) err = each_line(&r, nodes, read_part);
    if (!err) err = check_masters(r.plan, why);
    if (!err && epoch < 1)
        err = why_set(why, ERR_CONFIG, "topology.epoch is missing: the version of the topology");
    if (err)
        mem_free(r.plan);
    else
        *plan = r.plan;
    return err;
}

bool topology_plan_equal(const struct topology_plan *a, const struct topology_plan *b) {
    if (a->epoch != b->epoch || a->tls != b->tls || a->count != b->count) return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct plan_node *x = &a->nodes[i], *y = &b->nodes[i];
        if (strcmp(x->name, y->name) != 0 || strcmp(x->host, y->host) != 0 || x->port != y->port ||
            x->master != y->master)
            return false;
    }
    return memcmp(a->owner, b->owner, sizeof a->owner) == 0;
}

unsigned topology_plan_unowned(const struct topology_plan *plan) {
    unsigned count = 0;
    for (unsigned slot = 0; slot < SLOT_CLUSTER_COUNT; slot++)
        count += plan->owner[slot] == PLAN_NOBODY;
    return count;
}

/* ---- for a node ---- */

/* As the server writes it in TOPOLOGY GET, byte for byte. */
static void put_address(const struct topology_plan *plan, const struct plan_node *node,
                        struct buf *out) {
    buf_printf(out, "%s:%d@%d", node->host, plan->tls ? 0 : node->port, node->port + 10000);
    if (plan->tls) buf_printf(out, ",,tls-port=%d", node->port);
}

/* All behind the flags' "myself,". */
static void put_rest(const struct topology_plan *plan, size_t at, struct buf *out) {
    const struct plan_node *node = &plan->nodes[at];
    buf_printf(out, "%s %s 0 0 %" PRId64 " connected", node->master < 0 ? "master" : "slave",
               node->master < 0 ? "-" : plan->nodes[node->master].id, plan->epoch - 1);
    for (unsigned from = 0, to; from < SLOT_CLUSTER_COUNT; from = to + 1) {
        to = from;
        if (plan->owner[from] != at) continue;
        while (to + 1 < SLOT_CLUSTER_COUNT && plan->owner[to + 1] == at) to++;
        buf_printf(out, " %u", from);
        if (to > from) buf_printf(out, "-%u", to);
    }
}

void topology_plan_write(const struct topology_plan *plan, size_t node, struct buf *out) {
    for (size_t i = 0; i < plan->count; i++) {
        buf_printf(out, "%s ", plan->nodes[i].id);
        put_address(plan, &plan->nodes[i], out);
        buf_printf(out, " %s", i == node ? "myself," : "");
        put_rest(plan, i, out);
        buf_byte(out, '\n');
    }
    buf_printf(out, "vars currentEpoch %" PRId64 " lastVoteEpoch 0\n", plan->epoch);
}

/* ---- what a node has ---- */

static bool read_epoch(struct slice text, int64_t *epoch) {
    while (text.size) {
        struct slice line = slice_cut(&text, '\n');
        if (!slice_equal(slice_word(&line), SLICE("vars"))) continue;
        if (!slice_equal(slice_word(&line), SLICE("currentEpoch"))) return false;
        return read_number(slice_word(&line), INT64_MAX, epoch);
    }
    return false;
}

static int find_id(const struct topology_plan *plan, struct slice id) {
    for (size_t i = 0; i < plan->count; i++)
        if (slice_equal(id, slice_text(plan->nodes[i].id))) return (int)i;
    return -1;
}

/* Of its own line the address may be what it announces. */
static bool same_line(const struct topology_plan *plan, size_t self, struct slice line,
                      struct why *why) {
    static const struct slice myself = {(const uint8_t *)"myself,", 7};
    int at = find_id(plan, slice_cut(&line, ' '));
    if (at < 0) {
        (void)why_set(why, ERR_EXISTS, "it knows a node that is not in the file");
        return false;
    }
    struct buf wanted = {0};
    put_address(plan, &plan->nodes[at], &wanted);
    bool same = slice_equal(slice_cut(&line, ' '), buf_slice(&wanted)) || (size_t)at == self;
    bool is_self = slice_starts(line, myself);
    if (is_self) line = slice_drop(line, myself.size);
    buf_clear(&wanted);
    put_rest(plan, (size_t)at, &wanted);
    same = same && is_self == ((size_t)at == self) && slice_equal(line, buf_slice(&wanted));
    buf_close(&wanted);
    if (!same)
        (void)why_set(why, ERR_EXISTS, "the node %s is another one there, or moves slots",
                      plan->nodes[at].name);
    return same;
}

enum plan_verdict topology_plan_compare(const struct topology_plan *plan, size_t node,
                                        struct slice text, int64_t *epoch, struct why *why) {
    size_t lines = 0;
    *epoch = 0;
    if (!read_epoch(text, epoch)) {
        (void)why_set(why, ERR_CORRUPT, "its topology cannot be read");
        return PLAN_UNREADABLE;
    }
    if (*epoch < plan->epoch) return PLAN_OLDER;
    if (*epoch > plan->epoch) {
        (void)why_set(why, ERR_EXISTS, "it has epoch %" PRId64 ", the file has %" PRId64, *epoch,
                      plan->epoch);
        return PLAN_NEWER;
    }
    while (text.size) {
        struct slice line = slice_cut(&text, '\n');
        if (line.size == 0 || slice_starts(line, SLICE("vars "))) continue;
        if (!same_line(plan, node, line, why)) return PLAN_DIFFERENT;
        lines++;
    }
    if (lines == plan->count) return PLAN_SAME;
    (void)why_set(why, ERR_EXISTS, "it knows %zu nodes, the file has %zu", lines, plan->count);
    return PLAN_DIFFERENT;
}
