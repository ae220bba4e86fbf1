/* topology_read.c -- the text form of a topology, word by word; see topology.h. Nothing of the text
 * is believed.
 *
 * Two passes: nodes first, then what refers to them (masters, slots that move).
 */
#include "server/topology.h"

#include "lib/base/mem.h"

#include <string.h>

struct reading {
    struct topology *t;
    const char *myself; /* NULL: by the flag */
    unsigned line;
    struct why *why;
};

static enum err wrong(const struct reading *r, const char *what) {
    return why_set(r->why, ERR_CORRUPT, "topology, line %u: %s", r->line, what);
}

static bool is_id(struct slice id) {
    for (size_t i = 0; i < id.size; i++) {
        uint8_t byte = id.data[i];
        if (!(byte >= '0' && byte <= '9') && !(byte >= 'a' && byte <= 'z')) return false;
    }
    return id.size == TOPOLOGY_ID;
}

/* Addresses and names go into replies: no byte may end a line or a word there. */
static bool copy_name(struct slice text, char *to, size_t room) {
    if (text.size >= room) return false;
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] <= ' ' || text.data[i] > '~' || strchr(",@\"", text.data[i])) return false;
    if (text.size) memcpy(to, text.data, text.size);
    to[text.size] = '\0';
    return true;
}

static bool read_number(struct slice text, int64_t most, int64_t *number) {
    return slice_to_int(text, number) && *number >= 0 && *number <= most;
}

/* HOSTNAME[,NAME=VALUE ...], as Redis writes it since 7.2; of the others its own port counts. */
static enum err read_names(const struct reading *r, struct slice text, struct node *node) {
    int64_t port;
    if (!copy_name(slice_cut(&text, ','), node->hostname, sizeof node->hostname))
        return wrong(r, "bad host name");
    while (text.size) {
        struct slice value = slice_cut(&text, ','), name = slice_cut(&value, '=');
        if (slice_equal(name, SLICE("shard-id")) || slice_equal(name, SLICE("nodename"))) continue;
        if (!slice_equal(name, SLICE("tls-port")) || !read_number(value, 65535, &port))
            return wrong(r, "bad field behind the host name");
        node->tls_port = (int)port;
    }
    return OK;
}

/* HOST:PORT[@BUSPORT][,...]; the host may be an IPv6 address. */
static enum err read_address(const struct reading *r, struct slice text, struct node *node) {
    struct slice names = text;
    text = slice_cut(&names, ',');
    enum err err = read_names(r, names, node);
    if (err) return err;
    struct slice bus = text;
    text = slice_cut(&bus, '@');
    size_t colon = text.size;
    while (colon > 0 && text.data[colon - 1] != ':') colon--;
    int64_t port, bus_port;
    if (colon == 0 || !read_number(slice_drop(text, colon), 65535, &port))
        return wrong(r, "bad port");
    bus_port = port + 10000;
    if (bus.size && !read_number(bus, 75535, &bus_port)) return wrong(r, "bad bus port");
    if (!copy_name(slice_take(text, colon - 1), node->host, sizeof node->host))
        return wrong(r, "bad address");
    node->port = (int)port;
    node->bus_port = (int)bus_port;
    return OK;
}

static enum err read_flags(const struct reading *r, struct slice flags, struct node *node) {
    struct topology *t = r->t;
    bool is_me = r->myself && strcmp(r->myself, node->id) == 0;
    while (flags.size) {
        struct slice flag = slice_cut(&flags, ',');
        if (slice_equal(flag, SLICE("myself")) && r->myself == NULL) is_me = true;
        if (slice_equal(flag, SLICE("fail"))) node->is_failed = true;
        if (slice_equal(flag, SLICE("handshake")) || slice_equal(flag, SLICE("noaddr")))
            return wrong(r, "the node has no address yet");
    }
    if (is_me && t->myself) return wrong(r, "a second node is myself");
    if (is_me) t->myself = node;
    return OK;
}

static enum err read_node(const struct reading *r, struct slice line) {
    struct topology *t = r->t;
    struct slice id = slice_word(&line);
    if (!is_id(id)) return wrong(r, "an id has 40 lower case letters and digits");
    if (topology_find(t, id)) return wrong(r, "an id that was there before");
    if (t->count == TOPOLOGY_NODES_MAX) return wrong(r, "too many nodes");
    struct node *node = t->nodes[t->count++] = NEW(struct node);
    memcpy(node->id, id.data, id.size);
    enum err err = read_address(r, slice_word(&line), node);
    if (!err) err = read_flags(r, slice_word(&line), node);
    if (err) return err;
    for (int i = 0; i < 3; i++) (void)slice_word(&line); /* its master; pings */
    int64_t epoch;
    if (!read_number(slice_word(&line), INT64_MAX, &epoch)) return wrong(r, "bad epoch");
    node->epoch = (uint64_t)epoch;
    return OK;
}

/* "[SLOT->-ID]" or "[SLOT-<-ID]". */
static enum err read_move(const struct reading *r, struct slice word) {
    struct slice id = slice_drop(word, 1);
    struct slice number = slice_cut(&id, '-');
    int64_t slot;
    if (!read_number(number, SLOT_CLUSTER_COUNT - 1, &slot) || id.size != TOPOLOGY_ID + 3 ||
        id.data[1] != '-' || id.data[id.size - 1] != ']')
        return wrong(r, "bad slot that moves");
    struct node *other = topology_find(r->t, slice_take(slice_drop(id, 2), TOPOLOGY_ID));
    if (other == NULL) return wrong(r, "a slot moves to or from an unknown node");
    if (id.data[0] == '>')
        r->t->migrating[slot] = other;
    else
        r->t->importing[slot] = other;
    return OK;
}

static enum err read_slots(const struct reading *r, struct slice word, struct node *node) {
    if (word.data[0] == '[')
        return node == r->t->myself ? read_move(r, word) : OK; /* theirs are not ours */
    int64_t from, to;
    struct slice last = word, first = slice_cut(&last, '-');
    if (!read_number(first, SLOT_CLUSTER_COUNT - 1, &from) ||
        !read_number(last.size ? last : first, SLOT_CLUSTER_COUNT - 1, &to) || to < from)
        return wrong(r, "bad slots");
    for (int64_t slot = from; slot <= to; slot++) {
        if (r->t->owner[slot]) return wrong(r, "a slot with two owners");
        topology_assign(r->t, (unsigned)slot, node);
    }
    return OK;
}

/* Again, now that all nodes are known. */
static enum err read_references(const struct reading *r, struct slice line) {
    struct node *node = topology_find(r->t, slice_word(&line));
    (void)slice_word(&line);
    (void)slice_word(&line);
    struct slice master = slice_word(&line);
    if (master.size != 1 || master.data[0] != '-') {
        node->master = topology_find(r->t, master);
        if (node->master == NULL || node->master == node) return wrong(r, "an unknown master");
    }
    for (int i = 0; i < 4; i++) (void)slice_word(&line);
    for (struct slice word; (word = slice_word(&line)).size > 0;) {
        if (node->master) return wrong(r, "a replica with slots");
        enum err err = read_slots(r, word, node);
        if (err) return err;
    }
    return OK;
}

static enum err read_vars(const struct reading *r, struct slice line) {
    (void)slice_word(&line);
    struct slice name = slice_word(&line), value = slice_word(&line);
    int64_t epoch;
    if (!slice_equal(name, SLICE("currentEpoch"))) return OK;
    if (!read_number(value, INT64_MAX, &epoch)) return wrong(r, "bad epoch");
    r->t->epoch = (uint64_t)epoch;
    return OK;
}

static enum err read_pass(struct reading *r, struct slice text, bool is_first) {
    r->line = 0;
    while (text.size > 0) {
        struct slice line = slice_cut(&text, '\n');
        r->line++;
        if (line.size && line.data[line.size - 1] == '\r') line.size--;
        if (line.size == 0 || line.data[0] == '#') continue;
        bool is_vars = slice_starts(line, SLICE("vars "));
        enum err err = is_vars    ? (is_first ? read_vars(r, line) : OK)
                       : is_first ? read_node(r, line)
                                  : read_references(r, line);
        if (err) return err;
    }
    return OK;
}

enum err topology_read(struct slice text, const char *myself, struct topology **topology,
                       struct why *why) {
    if (text.size > TOPOLOGY_TEXT_MAX) return why_set(why, ERR_LIMIT, "topology: too much text");
    struct reading r = {.t = NEW(struct topology), .myself = myself, .why = why};
    enum err err = read_pass(&r, text, true);
    if (!err && r.t->myself == NULL)
        err = why_set(why, ERR_CORRUPT, "topology: no node is this server");
    if (!err) err = read_pass(&r, text, false);
    for (size_t i = 0; !err && i < r.t->count; i++)
        if (r.t->nodes[i]->master && r.t->nodes[i]->master->master)
            err = why_set(why, ERR_CORRUPT, "topology: %s follows a replica", r.t->nodes[i]->id);
    if (err) {
        topology_free(r.t);
        return err;
    }
    *topology = r.t;
    return OK;
}
