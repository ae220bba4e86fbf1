/* snapshot.c -- a point in time of a server. See snapshot.h. */
#include "syncer/snapshot.h"

#include "lib/base/clock.h"
#include "syncer/greet.h"
#include "syncer/wire.h"

#define SILENCE_MS 120000
#define READ_BYTES (256u << 10)

static uint64_t now_ms(void) { return clock_mono_ms(clock_real()); }

/* Feed what came until a piece of the RDB, the begin, the end, or nothing more. */
static enum err advance(struct snapshot *s, struct why *why) {
    for (;;) {
        size_t used = 0;
        buf_consume(&s->in, s->taken);
        s->taken = 0;
        enum psync_event event = psync_feed(&s->psync, buf_slice(&s->in), &used, &s->out, why);
        s->taken = used;
        switch (event) {
        case PSYNC_EV_MORE: return OK;
        case PSYNC_EV_SEND: {
            enum err err = wire_write(s->wire, buf_slice(&s->out), why);
            buf_clear(&s->out);
            if (err != OK) return err;
            break;
        }
        case PSYNC_EV_FULL:
            s->begun = true;
            s->offset = (uint64_t)s->psync.offset;
            return OK;
        case PSYNC_EV_BYTES: s->left = s->psync.rdb; return OK;
        case PSYNC_EV_RDB_END: s->ended = true; return OK;
        case PSYNC_EV_CONTINUE: return why_set(why, ERR_PROTO, "the server continues a stream that was not asked for");
        case PSYNC_EV_LATER: return ERR_STATE;
        case PSYNC_EV_REFUSED: return ERR_REFUSED;
        }
    }
}

static enum err read_some(struct snapshot *s, int timeout_ms, size_t *got, struct why *why) {
    buf_consume(&s->in, s->taken);
    s->taken = 0;
    enum err err = wire_read(s->wire, buf_room(&s->in, READ_BYTES), READ_BYTES, timeout_ms, got, why);
    if (err == OK) buf_filled(&s->in, *got);
    return err;
}

static enum err read_rdb(struct rdb_source *source, void *into, size_t size, size_t *got, struct why *why) {
    struct snapshot *s = (struct snapshot *)source;
    uint64_t heard = now_ms();
    *got = 0;
    while (s->left.size == 0 && !s->ended) {
        size_t came = 0;
        enum err err = advance(s, why);
        if (err != OK) return err;
        if (s->left.size > 0 || s->ended) break;
        if (atomic_load(s->stop)) return why_set(why, ERR_STOPPED, "the audit was stopped");
        err = read_some(s, 200, &came, why);
        if (err != OK) return err;
        if (came > 0) heard = now_ms();
        else if (now_ms() - heard > SILENCE_MS) return why_set(why, ERR_TIMEOUT, "the snapshot does not go on");
    }
    *got = s->left.size < size ? s->left.size : size;
    if (*got) memcpy(into, s->left.data, *got);
    s->left = slice_drop(s->left, *got);
    atomic_fetch_add(&s->read_bytes, *got);
    return OK;
}

enum err snapshot_open(struct snapshot *snapshot, const struct config_side *side, const char *name, const _Atomic bool *stop,
                       struct why *why) {
    struct psync_config config = {.psync_command = side->commands.psync, .version = "8.1.0", .rdb_only = true,
                                  .listening_port = SNAPSHOT_PORT};
    *snapshot = (struct snapshot){.source = {.read = read_rdb}, .stop = stop};
    enum err err = wire_open(&snapshot->wire, &side->endpoint, 10000, why);
    if (err == OK) err = wire_greet(snapshot->wire, side, name, &snapshot->in, why);
    if (err == OK) {
        psync_start(&snapshot->psync, &config, &snapshot->out);
        err = wire_write(snapshot->wire, buf_slice(&snapshot->out), why);
        buf_clear(&snapshot->out);
    }
    if (err != OK) snapshot_close(snapshot);
    return err;
}

enum err snapshot_begin(struct snapshot *s, int timeout_ms, bool *begun, struct why *why) {
    uint64_t until = now_ms() + (uint64_t)timeout_ms;
    while (!s->begun) {
        size_t came = 0;
        uint64_t now = now_ms();
        if (now >= until) break;
        enum err err = read_some(s, (int)(until - now), &came, why);
        if (err == OK && came > 0) err = advance(s, why);
        if (err != OK) return err;
    }
    *begun = s->begun;
    return OK;
}

void snapshot_close(struct snapshot *s) {
    wire_close(s->wire);
    buf_close(&s->in);
    buf_close(&s->out);
    s->wire = NULL;
}
