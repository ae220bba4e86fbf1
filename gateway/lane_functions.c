/* lane_functions.c -- P's libraries of functions, brought to F. See lane_functions.h. */
#include "gateway/lane_functions.h"

#include "lib/redis/bytes.h"
#include "lib/redis/crc64.h"
#include "lib/redis/rdb.h"
#include "lib/redis/resp.h"

#include <stdio.h>

#define FOOT_BYTES 10u
#define EMPTY_BYTES FOOT_BYTES /* a payload without a library */

static struct lane_functions *of(struct lane_read *read) {
    return (struct lane_functions *)((char *)read - offsetof(struct lane_functions, read));
}

void lane_functions_fit(struct slice payload, struct buf *out) {
    buf_add(out, payload);
    if (payload.size < FOOT_BYTES) return;
    struct slice whole = slice_take(payload, payload.size - 8);
    struct slice libraries = slice_take(payload, payload.size - FOOT_BYTES);
    uint64_t version = bytes_le(whole.data + libraries.size, 2);
    if (version <= RDB_VERSION_WRITTEN || version > RDB_VERSION_MAX) return;
    if (bytes_le(whole.data + whole.size, 8) != crc64_add(0, whole)) return;
    buf_clear(out);
    buf_add(out, libraries);
    bytes_put_le(buf_room(out, 2), RDB_VERSION_WRITTEN, 2);
    buf_filled(out, 2);
    uint64_t sum = crc64_add(0, buf_slice(out));
    bytes_put_le(buf_room(out, 8), sum, 8);
    buf_filled(out, 8);
}

/* Tried again later. */
static void failed(struct lane_functions *f) {
    f->asking = false;
    f->dirty = true;
    f->due_ms = clock_mono_ms(f->home->clock) + f->home->rules.copy_interval_ms;
    f->failed++;
}

static bool primary(struct lane_read *read, struct slice answer, bool clean, struct buf *out,
                    uint32_t *replies) {
    struct lane_functions *f = of(read);
    struct resp_token t;
    struct why why;
    size_t used = 0;
    (void)clean; /* of a key; this is none */
    if (resp_next(&resp_limits_server, answer, &t, &used, &why) != STEP_DONE ||
        (t.kind != RESP_BULK && t.kind != RESP_ERROR)) {
        failed(f);
        return false;
    }
    if (t.kind == RESP_ERROR) {
        bool has_none = slice_starts(t.text, SLICE("ERR unknown command")) ||
                        slice_starts(t.text, SLICE("NOPERM"));
        if (!has_none) failed(f);
        f->asking = false;
        f->refused = false;
        return false;
    }
    f->none = t.text.size <= EMPTY_BYTES;
    struct buf payload = {0};
    lane_functions_fit(t.text, &payload);
    struct slice argv[] = {SLICE("FUNCTION"), SLICE("RESTORE"), buf_slice(&payload), SLICE("FLUSH")};
    resp_write_command(out, 4, argv);
    buf_close(&payload);
    *replies = 1;
    return true;
}

static void follower(struct lane_read *read, struct slice answer, bool spoiled) {
    struct lane_functions *f = of(read);
    bool knows_none = f->none && slice_starts(answer, SLICE("-ERR unknown command"));
    (void)spoiled;
    if (!slice_starts(answer, SLICE("+OK")) && !knows_none) {
        f->refused = slice_starts(answer, SLICE("-"));
        failed(f);
        return;
    }
    f->asking = false;
    f->refused = false;
    f->copies++;
}

static void lost(struct lane_read *read) {
    of(read)->asking = false;
    of(read)->dirty = true;
}

static const struct lane_read_ops ops = {primary, follower, lost};

void lane_functions_init(struct lane_functions *f, struct lane *home) {
    *f = (struct lane_functions){.home = home, .dirty = true};
    struct slice name = {0};
    for (unsigned n = 0; name.size == 0 || !lane_owns(home, name); n++) {
        (void)snprintf(f->name, sizeof f->name, "drawbridge:functions:%u", n);
        name = slice_text(f->name);
    }
    f->read = (struct lane_read){.ops = &ops, .name = name};
}

void lane_functions_mark(struct lane_functions *f) {
    f->dirty = true;
    f->due_ms = 0;
}

void lane_functions_turn(struct lane_functions *f) {
    struct lane *l = f->home;
    if (!lane_keys_owns(&l->keys, 0)) return; /* it is its owner's business */
    if (!f->dirty || f->asking || !l->follower_up || !lane_may_send(l)) return;
    /* What a broken connection still holds may change them after they were read (C21). */
    if (l->primary_lost > 0 || clock_mono_ms(l->clock) < f->due_ms) return;
    f->dirty = false;
    f->asking = true;
    lane_read_send(l, &f->read, SLICE("*2\r\n$8\r\nFUNCTION\r\n$4\r\nDUMP\r\n"), 1);
}
