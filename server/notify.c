/* notify.c -- keyspace notifications: published like any message. */
#include "server/notify.h"

#include "lib/base/buf.h"
#include "server/engine.h"
#include "server/pubsub.h"

static void publish(struct db *db, const char *prefix, struct slice subject, struct slice message) {
    struct buf channel = {0};
    buf_printf(&channel, "__%s@%d__:", prefix, db->id);
    buf_add(&channel, subject);
    (void)pubsub_publish(db->engine, buf_slice(&channel), message, false);
    buf_close(&channel);
}

void notify_key(struct db *db, enum notify_class class, const char *event, struct slice key) {
    int64_t wanted = db->engine->settings.notify_keyspace_events;
    if (!(wanted & class) || db->engine->loading) return;
    if (wanted & NOTIFY_KEYSPACE) publish(db, "keyspace", key, slice_text(event));
    if (wanted & NOTIFY_KEYEVENT) publish(db, "keyevent", slice_text(event), key);
}
