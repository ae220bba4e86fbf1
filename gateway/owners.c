/* owners.c -- whose a command is, and what a new table means. See owners.h. */
#include "gateway/owners.h"

#include <string.h>

unsigned owners_home(const struct slot_table *table, const struct effect *e, unsigned self) {
    if (e->barrier) return table->owner[0];
    for (size_t i = 0; i < e->key_count; i++)
        if (e->keys[i].use & EFFECT_WRITE) return table->owner[slot_cluster(e->keys[i].name)];
    if (e->key_count > 0) return table->owner[slot_cluster(e->keys[0].name)];
    return self;
}

bool owners_are_several(const struct slot_table *table, const struct effect *e, unsigned home) {
    if (table->count < 2 || !e->writes || e->no_data) return false;
    if (e->keys_unknown || e->barrier) return true;
    for (size_t i = 0; i < e->key_count; i++)
        if ((e->keys[i].use & EFFECT_WRITE) && table->owner[slot_cluster(e->keys[i].name)] != home)
            return true;
    return false;
}

/* A table that came between has given the slot to somebody else: the client's other commands may
 * have gone another way. */
static bool has_moved(const struct slot_table *table, const struct owners_ask *ask, unsigned home) {
    return ask->table != NULL && ask->table != table &&
           strcmp(ask->table->gateway[ask->home].name, table->gateway[home].name) != 0;
}

/* By this table it has to wait for pins at others, by the one by which it was sent it had not to: so
 * its client did not send it alone, and what comes behind it would overtake it (C11a). */
static bool would_be_overtaken(const struct slot_table *table, unsigned self,
                               const struct effect *e, const struct owners_ask *ask) {
    if (ask->own || e->blocking || !owners_are_several(table, e, self)) return false;
    if (ask->from_peer) return ask->version < table->version;
    return ask->table != NULL && ask->table != table &&
           !owners_are_several(ask->table, e, ask->home);
}

enum owners_way owners_route(const struct slot_table *table, unsigned self, const struct effect *e,
                             const struct owners_ask *ask, unsigned *home) {
    if (table == NULL || (ask->from_peer && ask->version > table->version)) return OWNERS_LATER;
    *home = ask->own ? self : owners_home(table, e, self);
    if (!ask->own && *home == table->count) *home = ask->home; /* it has no key */
    if (ask->own) return OWNERS_OURS;
    if (*home == self)
        return would_be_overtaken(table, self, e, ask) ? OWNERS_LOST : OWNERS_OURS;
    if (*home >= table->count) return OWNERS_NOBODY;
    return ask->from_peer || has_moved(table, ask, *home) ? OWNERS_LOST : OWNERS_FORWARD;
}

void owners_read(struct owners_news *news, const struct slot_table *table, struct slice name,
                 const uint64_t *had, uint64_t seen, uint64_t noted, bool good) {
    *news = (struct owners_news){.self = slot_table_find(table, name), .gained = had == NULL};
    if (news->self < table->count) news->since = table->gateway[news->self].since;
    news->missed = had != NULL && table->version > seen + 1 && news->since > seen;
    for (unsigned slot = 0; slot < LANE_SLOTS; slot++) {
        uint64_t bit = UINT64_C(1) << (slot % 64);
        if (table->owner[slot] != news->self || news->self == table->count) continue;
        news->owned[slot / 64] |= bit;
        if (had != NULL && (news->missed || (had[slot / 64] & bit) == 0)) news->gained = true;
        news->count++;
    }
    news->trusted = had == NULL && news->since == noted && good;
}
