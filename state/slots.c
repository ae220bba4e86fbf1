/* slots.c -- which gateway owns which slots. See slots.h. */
#include "state/slots.h"

#include <stdio.h>
#include <string.h>

void slots_init(struct slots *s, const struct slot_table *table, uint64_t now_ms) {
    memset(s, 0, sizeof *s);
    slot_table_init(&s->table);
    if (table == NULL) return;
    s->table = *table;
    for (unsigned i = 0; i < SLOT_TABLE_GATEWAYS; i++) s->seat[i].lost_ms = now_ms;
}

static unsigned find(const struct slots *s, const char *name) {
    return slot_table_find(&s->table, slice_text(name));
}

/* ---- dealing out ---- */

static bool stays(const struct slots_seat *seat) {
    return seat->here && !seat->fencing && !seat->leaving;
}

static unsigned poorest(const struct slots *s, const unsigned *owned) {
    unsigned best = SLOT_TABLE_NOBODY;
    for (unsigned i = 0; i < s->table.count; i++)
        if (stays(&s->seat[i]) && (best == SLOT_TABLE_NOBODY || owned[i] < owned[best]))
            best = i;
    return best;
}

static unsigned seats(const struct slots *s) {
    unsigned count = 0;
    for (unsigned i = 0; i < s->table.count; i++)
        if (stays(&s->seat[i])) count++;
    return count;
}

/* Slots without an owner go to those who are here, the poorest first, in runs. */
static bool deal(const struct slots *s, struct slot_table *table) {
    unsigned owned[SLOT_TABLE_GATEWAYS] = {0}, present = seats(s);
    bool changed = false;
    if (present == 0 || memchr(table->owner, SLOT_TABLE_NOBODY, sizeof table->owner) == NULL)
        return false;
    for (unsigned slot = 0; slot < SLOT_CLUSTER_COUNT; slot++)
        if (table->owner[slot] != SLOT_TABLE_NOBODY) owned[table->owner[slot]]++;
    unsigned fair = (SLOT_CLUSTER_COUNT + present - 1) / present;
    unsigned to = poorest(s, owned);
    for (unsigned slot = 0; slot < SLOT_CLUSTER_COUNT; slot++) {
        if (table->owner[slot] != SLOT_TABLE_NOBODY) continue;
        if (owned[to] >= fair) to = poorest(s, owned);
        table->owner[slot] = (uint8_t)to;
        table->gateway[to].since = s->table.version + 1;
        owned[to]++;
        changed = true;
    }
    return changed;
}

/* ---- who is here ---- */

static bool may_sit(const struct slots *s, const char *name, const char *peer, struct why *why) {
    unsigned at = find(s, name);
    unsigned others = s->table.count - (at < s->table.count ? 1 : 0);
    if (others == 0) return true;
    if (peer[0] == '\0') {
        (void)why_set(why, ERR_CONFIG,
                      "gateway %s has no gateway.peer, where other gateways could reach it", name);
        return false;
    }
    for (unsigned i = 0; i < s->table.count; i++) {
        if (i == at || s->table.gateway[i].peer[0] != '\0') continue;
        (void)why_set(why, ERR_CONFIG, "gateway %s has no gateway.peer, so it must be the only one",
                      s->table.gateway[i].name);
        return false;
    }
    if (at == s->table.count && at == SLOT_TABLE_GATEWAYS) {
        (void)why_set(why, ERR_LIMIT, "there are %u gateways already", SLOT_TABLE_GATEWAYS);
        return false;
    }
    return true;
}

enum slots_step slots_joined(struct slots *s, const char *name, const char *peer, struct why *why) {
    unsigned at = find(s, name);
    if (at < s->table.count && s->seat[at].fencing) {
        (void)why_set(why, ERR_STATE, "gateway %s is being fenced", name);
        return SLOTS_REFUSED;
    }
    if (!may_sit(s, name, peer, why)) return SLOTS_REFUSED;
    struct slot_table_gateway *g = &s->table.gateway[at];
    bool changed = at == s->table.count || strcmp(g->peer, peer) != 0;
    if (at == s->table.count) {
        s->table.count++;
        *g = (struct slot_table_gateway){.since = s->table.version + 1};
        s->seat[at] = (struct slots_seat){.barred = s->table.version + 1};
    }
    (void)snprintf(g->name, sizeof g->name, "%s", name);
    (void)snprintf(g->peer, sizeof g->peer, "%s", peer);
    s->seat[at].here = true;
    if (deal(s, &s->table)) changed = true;
    if (changed) s->table.version++;
    return changed ? SLOTS_CHANGED : SLOTS_SAME;
}

bool slots_leaving(struct slots *s, const char *name) {
    unsigned at = find(s, name);
    if (at == s->table.count || !s->seat[at].here) return false;
    s->seat[at].leaving = true;
    return seats(s) > 0;
}

bool slots_any_leaving(const struct slots *s) {
    for (unsigned i = 0; i < s->table.count; i++)
        if (s->seat[i].leaving) return true;
    return false;
}

void slots_lost(struct slots *s, const char *name, uint64_t now_ms) {
    unsigned at = find(s, name);
    if (at == s->table.count || !s->seat[at].here) return;
    s->seat[at].here = s->seat[at].leaving = false;
    s->seat[at].lost_ms = now_ms;
}

const char *slots_to_fence(struct slots *s, uint64_t now_ms) {
    for (unsigned i = 0; i < s->table.count; i++) {
        struct slots_seat *seat = &s->seat[i];
        if (seat->here || seat->fencing || now_ms - seat->lost_ms < SLOTS_LEASE_MS) continue;
        if (seats(s) == 0) return NULL; /* nobody could have them */
        seat->fencing = true;
        return s->table.gateway[i].name;
    }
    return NULL;
}

void slots_not_gone(struct slots *s, const char *name, uint64_t now_ms) {
    unsigned at = find(s, name);
    if (at == s->table.count || !s->seat[at].fencing) return;
    s->seat[at].fencing = false;
    s->seat[at].lost_ms = now_ms - SLOTS_LEASE_MS + 1000; /* in a second */
}

enum slots_step slots_gone(struct slots *s, const char *name) {
    unsigned at = find(s, name), last = s->table.count - 1;
    if (at == s->table.count) return SLOTS_SAME;
    for (unsigned slot = 0; slot < SLOT_CLUSTER_COUNT; slot++) {
        if (s->table.owner[slot] == at)
            s->table.owner[slot] = SLOT_TABLE_NOBODY;
        else if (s->table.owner[slot] == last)
            s->table.owner[slot] = (uint8_t)at;
    }
    s->table.gateway[at] = s->table.gateway[last];
    s->seat[at] = s->seat[last];
    s->table.count--;
    (void)deal(s, &s->table);
    s->table.version++;
    return SLOTS_CHANGED;
}

bool slots_admit(const struct slots *s, struct slice name, uint64_t version) {
    unsigned at = slot_table_find(&s->table, name);
    if (at == s->table.count) return false;
    return s->seat[at].here && !s->seat[at].fencing && version >= s->seat[at].barred;
}

/* ---- evenly ---- */

enum slots_step slots_even(const struct slots *s, struct slot_table *even) {
    unsigned owned[SLOT_TABLE_GATEWAYS] = {0}, present = seats(s);
    *even = s->table;
    if (present == 0 || s->table.count < 2) return SLOTS_SAME;
    for (unsigned i = 0; i < s->table.count; i++) owned[i] = slot_table_owned(&s->table, i);
    unsigned fair = (SLOT_CLUSTER_COUNT + present - 1) / present;
    for (unsigned slot = SLOT_CLUSTER_COUNT; slot-- > 0;) {
        unsigned owner = even->owner[slot];
        if (owner == SLOT_TABLE_NOBODY) continue;
        if (!s->seat[owner].leaving && owned[owner] <= fair) continue;
        owned[owner]--;
        even->owner[slot] = SLOT_TABLE_NOBODY;
    }
    if (!deal(s, even)) return SLOTS_SAME;
    even->version = s->table.version + 1;
    return SLOTS_CHANGED;
}

void slots_take(struct slots *s, const struct slot_table *table) {
    s->table = *table;
}
