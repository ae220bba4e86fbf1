/* copy_note.c -- the figures of the last copy, kept beside the spool for people who ask after a restart.
 *
 * Written once a second while a copy runs, and at its end. Nothing is decided by it.
 */
#include "lib/base/fs.h"
#include "lib/base/log.h"
#include "syncer/copy.h"

#include <inttypes.h>
#include <stdio.h>

#define NOTE_BYTES_MAX 1024

static void path_of(const struct link *link, char *path, size_t size) { snprintf(path, size, "%s/copied", link->folder); }

void copy_note_write(struct link *link) {
    char path[4352];
    struct buf text = {0};
    struct why why;
    struct link_status status;
    link_get_status(link, &status);
    const struct link_copy_status *c = &status.copy;
    buf_printf(&text, "drawbridge-copied 1 keys %" PRIu64 " of %" PRIu64 " bytes %" PRIu64 " of %" PRIu64 " from %" PRId64 " to %" PRId64
               " copies %" PRIu64 "\n", c->keys, c->keys_total, c->bytes, c->bytes_total, c->started_ms, c->ended_ms, c->copies);
    path_of(link, path, sizeof path);
    if (fs_replace(path, buf_slice(&text), &why) != OK) log_warn("copy.note", LOG_S("link", link->name), LOG_WHY(&why));
    buf_close(&text);
}

void copy_note_read(struct link *link) {
    char path[4352];
    struct buf text = {0};
    struct why why;
    struct link_copy_status c = {.eta_ms = -1};
    path_of(link, path, sizeof path);
    bool read = fs_read_file(path, NOTE_BYTES_MAX, &text, &why) == OK &&
                sscanf(buf_text(&text), "drawbridge-copied 1 keys %" SCNu64 " of %" SCNu64 " bytes %" SCNu64 " of %" SCNu64 " from %" SCNd64
                       " to %" SCNd64 " copies %" SCNu64, &c.keys, &c.keys_total, &c.bytes, &c.bytes_total, &c.started_ms, &c.ended_ms,
                       &c.copies) == 7;
    buf_close(&text);
    if (!read) return;
    c.done = c.ended_ms > 0;
    if (c.done) c.eta_ms = 0;
    pthread_mutex_lock(&link->lock);
    link->status.copy = c;
    pthread_mutex_unlock(&link->lock);
}
