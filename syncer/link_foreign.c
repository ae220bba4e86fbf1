/* link_foreign.c -- brings the keys that others wrote to a follower side from the standby link, which saw
 * them, to the active one, which copies them again (C26, C33). See foreign.h.
 */
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "syncer/link.h"

static bool is_active(const struct link *link) {
    const struct link_orders *o = &link->orders;
    return o->role == LINK_ACTIVE && !o->take_over && !o->activate && link->status.positioned;
}

static bool has_room(struct link *link) {
    pthread_mutex_lock(&link->lock);
    bool room = is_active(link) && buf_size(&link->repair_foreign) == 0 && link->status.foreign_dirty < FOREIGN_DIRTY_MAX;
    pthread_mutex_unlock(&link->lock);
    return room;
}

static void take(struct link *from, bool itself, struct buf *keys) {
    pthread_mutex_lock(&from->lock);
    buf_add(keys, buf_slice(&from->foreign.keys));
    buf_clear(&from->foreign.keys);
    if (!itself) { /* what it was given while it was the active one */
        buf_add(keys, buf_slice(&from->repair_foreign));
        buf_clear(&from->repair_foreign);
    }
    if (buf_size(keys) > 0) from->foreign.handed = true;
    pthread_mutex_unlock(&from->lock);
}

static void give(struct link *to, const struct buf *keys) {
    if (buf_size(keys) == 0) return;
    pthread_mutex_lock(&to->lock);
    buf_add(&to->repair_foreign, buf_slice(keys));
    to->orders.repair = true;
    pthread_mutex_unlock(&to->lock);
    link_wake(to);
}

void link_hand_over(struct link *from, struct link *to) {
    struct buf keys = {0};
    if (has_room(to)) take(from, from == to, &keys);
    give(to, &keys);
    buf_close(&keys);
    pthread_mutex_lock(&to->lock);
    bool noted = is_active(to) && buf_size(&to->repair_foreign) == 0 && to->status.foreign_dirty != FOREIGN_UNKNOWN;
    bool clean = noted && to->status.foreign_dirty == 0;
    pthread_mutex_unlock(&to->lock);
    pthread_mutex_lock(&from->lock);
    bool settled = foreign_settle(&from->foreign, noted, clean, clock_mono_ms(clock_real()));
    pthread_mutex_unlock(&from->lock);
    if (settled) log_info("link.foreign_repaired", LOG_S("link", from->name));
}

void link_audited(struct link *link, uint64_t offset) {
    pthread_mutex_lock(&link->lock);
    foreign_audited(&link->foreign, offset);
    pthread_mutex_unlock(&link->lock);
}
