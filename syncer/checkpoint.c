/* checkpoint.c -- the statement at the target, as text. See checkpoint.h. */
#include "syncer/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>

void checkpoint_write(const struct checkpoint *c, struct buf *text) {
    ASSERT(c->kind != CHECKPOINT_NONE);
    bool copy = c->kind == CHECKPOINT_COPY;
    buf_printf(text, "drawbridge 1 %s %s %" PRIu64 ".%" PRIu32 " db=%d lanes=1", copy ? "copy" : "stream", c->replid,
               c->place.offset, c->place.copies, copy ? (int)c->rdb_db : c->place.db);
    if (copy) buf_printf(text, " id=%s at=%" PRIu64 " rdb=%u", c->copy_id, c->rdb_offset, c->rdb_version);
}

enum err checkpoint_read(struct slice text, struct checkpoint *checkpoint, struct why *why) {
    char line[513], kind[8], id[48] = "";
    int used = -1, lanes = 0, db = 0;
    struct checkpoint c = {0};
    if (text.size >= sizeof line) return why_set(why, ERR_CORRUPT, "the checkpoint is too long");
    memcpy(line, text.data ? text.data : (const uint8_t *)"", text.size);
    line[text.size] = '\0';
    if (sscanf(line, "drawbridge 1 %7s %40s %" SCNu64 ".%" SCNu32 " db=%d lanes=%d%n", kind, c.replid, &c.place.offset,
               &c.place.copies, &db, &lanes, &used) != 6 || used < 0 || db < -1)
        return why_set(why, ERR_CORRUPT, "'%.80s' is not a checkpoint of this program", line);
    if (lanes != 1) return why_set(why, ERR_CORRUPT, "the checkpoint is of %d apply connections; this version has one", lanes);
    if (!replid_valid(slice_text(c.replid))) return why_set(why, ERR_CORRUPT, "the checkpoint has no replication id");
    c.place.db = db;
    c.kind = CHECKPOINT_STREAM;
    if (strcmp(kind, "copy") == 0) {
        c.kind = CHECKPOINT_COPY;
        if (sscanf(line + used, " id=%40s at=%" SCNu64 " rdb=%u", id, &c.rdb_offset, &c.rdb_version) != 3 || db < 0)
            return why_set(why, ERR_CORRUPT, "'%.80s' is not a checkpoint of this program", line);
        memcpy(c.copy_id, id, sizeof c.copy_id);
        c.rdb_db = (uint32_t)db;
        c.place.db = 0;
    } else if (strcmp(kind, "stream") != 0) {
        return why_set(why, ERR_CORRUPT, "a checkpoint of kind '%s'", kind);
    }
    *checkpoint = c;
    return OK;
}

bool checkpoint_is_key(struct slice key) { return slice_starts(key, SLICE(CHECKPOINT_PREFIX)); }
