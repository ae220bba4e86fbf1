/* apply_copies.c -- copies of single keys, which make dirty keys clean (C7a). See apply.h. */
#include "lib/base/mem.h"
#include "syncer/apply_inside.h"
#include "syncer/foreign.h"

#include <inttypes.h>
#include <stdio.h>

#define COPY_BYTES_MAX ((size_t)64 << 20) /* that wait for their place */

static void free_copy(struct apply_copy *copy) {
    buf_close(&copy->key);
    buf_close(&copy->payload);
    mem_free(copy);
}

/* Take the first copy off the list; its key may be asked for again. */
static void drop_first(struct apply *apply) {
    struct apply_copy *copy = apply->copies;
    struct dirty_key *key = dirty_find(&apply->dirty, copy->db, buf_slice(&copy->key));
    if (key) key->asked = false;
    apply->copies = copy->next;
    apply->copy_count--;
    apply->copy_bytes -= buf_size(&copy->payload);
    free_copy(copy);
}

void apply_drop_copies(struct apply *apply) {
    while (apply->copies) drop_first(apply);
}

/* The stream went over the place of a copy without stopping there: it is of no use. */
void apply_drop_passed_copies(struct apply *apply, uint64_t offset) {
    while (apply->copies && apply->copies->offset < offset) drop_first(apply);
}

struct apply_copy *apply_copy_at(struct apply *apply, uint32_t index) {
    struct apply_copy *copy = apply->copies;
    while (index-- > 0 && copy) copy = copy->next;
    ASSERT(copy);
    return copy;
}

size_t apply_want_copies(struct apply *apply, struct dirty_key **keys, size_t max, int64_t now_ms) {
    size_t count = 0;
    apply->now_ms = now_ms;
    struct keymap_walk walk = {0};
    if (apply->copy_bytes >= COPY_BYTES_MAX) return 0;
    for (struct dirty_key *k; count < max && (k = keymap_next(&apply->dirty.keys, &walk));) {
        if (k->asked || k->next_try_ms > now_ms) continue;
        k->asked = true;
        keys[count++] = k;
    }
    return count;
}

void apply_copy_came(struct apply *apply, const char *replid, uint64_t offset, int db, struct slice key,
                     struct slice payload, int64_t expire_ms) {
    struct dirty_key *dirty = dirty_find(&apply->dirty, db, key);
    if (!dirty) return;
    if (strcmp(replid, apply->replid) != 0 || offset < apply->place.offset) {
        dirty->asked = false; /* of another history, or of a time that is over: ask again */
        return;
    }
    struct apply_copy *copy = NEW(struct apply_copy), **at = &apply->copies;
    copy->offset = offset;
    copy->db = db;
    copy->expire_ms = expire_ms;
    buf_add(&copy->key, key);
    buf_add(&copy->payload, payload);
    while (*at && (*at)->offset <= offset) at = &(*at)->next;
    copy->next = *at;
    *at = copy;
    apply->copy_count++;
    apply->copy_bytes += payload.size;
}

void apply_copy_failed(struct apply *apply, int db, struct slice key, const char *reason, int64_t now_ms) {
    struct dirty_key *dirty = dirty_find(&apply->dirty, db, key);
    if (dirty) dirty_failed(&apply->dirty, dirty, reason, now_ms);
}

void apply_renamed(struct apply *apply, const char *replid) {
    if (strcmp(replid, apply->replid) == 0) return;
    apply_drop_copies(apply);
    snprintf(apply->replid, sizeof apply->replid, "%s", replid);
}

static void write_copy(struct apply *apply, const struct apply_copy *copy, uint32_t index) {
    char ttl[24] = "0";
    struct slice key = buf_slice(&copy->key), payload = buf_slice(&copy->payload);
    apply_select(apply, copy->db);
    apply->units = index;
    (void)apply_add_item(apply, false, copy->db);
    if (payload.size == 0) {
        resp_write_command(&apply->wire, 2, (struct slice[]){SLICE("DEL"), key});
    } else {
        if (copy->expire_ms > 0) snprintf(ttl, sizeof ttl, "%" PRId64, copy->expire_ms);
        resp_write_command(&apply->wire, 6, (struct slice[]){SLICE("RESTORE"), key, slice_text(ttl), payload,
                                                              SLICE("REPLACE"), SLICE("ABSTTL")});
    }
    apply_end_item(apply);
    foreign_put_key(&apply->deletes, copy->db, key);
    deadlines_remove(&apply->deadlines, copy->db, key);
    if (copy->expire_ms > 0 && payload.size > 0) deadlines_set(&apply->deadlines, copy->db, key, copy->expire_ms);
}

bool apply_copies_build(struct apply *apply) {
    apply_drop_passed_copies(apply, apply->place.offset);
    if (!apply->copies || apply->copies->offset != apply->place.offset) return false;
    apply_batch_begin(apply);
    apply->copy_batch = true;
    uint32_t count = 0;
    for (const struct apply_copy *c = apply->copies; c && c->offset == apply->place.offset; c = c->next) {
        if (count > 0 && buf_size(&apply->wire) + buf_size(&c->payload) > apply->rules.bytes_max) break;
        write_copy(apply, c, count++);
    }
    apply->end = apply->place;
    apply->end.copies += count;
    apply->copies_in_batch = count;
    apply_finish_wire(apply);
    return true;
}

/* The batch was answered: clean what arrived, and what failed is tried again later. Of a batch that
 * was refused whole only the failed ones are taken off. */
void apply_copies_done(struct apply *apply) {
    struct apply_copy **at = &apply->copies;
    for (uint32_t i = 0; i < apply->copies_in_batch; i++) {
        struct apply_copy *copy = *at;
        if (apply->aborted && !copy->failed) {
            at = &copy->next;
            continue;
        }
        struct dirty_key *key = dirty_find(&apply->dirty, copy->db, buf_slice(&copy->key));
        if (key && copy->failed) dirty_failed(&apply->dirty, key, copy->reason, apply->now_ms);
        else if (key) dirty_clean(&apply->dirty, apply->end, key);
        *at = copy->next;
        apply->copy_count--;
        apply->copy_bytes -= buf_size(&copy->payload);
        free_copy(copy);
    }
}
