/* rdb_aside.c -- data that are loaded beside those that are served, and then take their place. See
 * persistence.h. */
#include "server/persistence.h"

#include "lib/base/mem.h"
#include "server/function.h"
#include "server/multi.h"
#include "server/tracking.h"

struct rdb_aside *rdb_aside_new(struct engine *engine) {
    struct rdb_aside *aside = NEW(struct rdb_aside);
    aside->dbs = NEW_ARRAY(struct db, (size_t)engine->db_count);
    for (int i = 0; i < engine->db_count; i++) db_init(&aside->dbs[i], engine, i);
    return aside;
}

void rdb_aside_free(struct engine *engine, struct rdb_aside *aside) {
    for (int i = 0; i < engine->db_count; i++) db_free_partitions(aside->dbs[i].partitions, true);
    mem_free(aside->dbs);
    checkpoints_close(&aside->checkpoints);
    buf_close(&aside->functions);
    mem_free(aside);
}

void rdb_aside_add_function(struct rdb_aside *aside, struct slice code) {
    uint64_t size = code.size;
    buf_append(&aside->functions, &size, sizeof size);
    buf_add(&aside->functions, code);
}

/* What was there is freed beside the engine: it may be a lot. */
static void forget_keys(struct engine *engine) {
    for (int i = 0; i < engine->db_count; i++) {
        multi_db_changes(&engine->dbs[i], NULL);
        (void)db_clear(&engine->dbs[i], true);
    }
    checkpoints_clear(&persistence_of(engine)->checkpoints);
    tracking_flushed(engine);
}

void rdb_forget_all(struct engine *engine) {
    forget_keys(engine);
    functions_flush(engine);
}

static enum err load_functions(struct engine *engine, struct slice all, struct why *why) {
    enum err err = OK;
    functions_flush(engine);
    for (uint64_t size; !err && all.size; all = slice_drop(all, (size_t)size)) {
        memcpy(&size, all.data, sizeof size);
        all = slice_drop(all, sizeof size);
        err = functions_load(engine, slice_take(all, (size_t)size), false, why);
    }
    return err;
}

enum err rdb_aside_adopt(struct engine *engine, struct rdb_aside *aside, struct why *why) {
    enum err err = load_functions(engine, buf_slice(&aside->functions), why);
    if (err) {
        functions_flush(engine);
        return err;
    }
    forget_keys(engine);
    for (int i = 0; i < engine->db_count; i++) db_give(&aside->dbs[i], &engine->dbs[i]);
    struct checkpoints *mine = &persistence_of(engine)->checkpoints, old = *mine;
    *mine = aside->checkpoints;
    aside->checkpoints = old;
    if (mine->epoch < old.epoch) mine->epoch = old.epoch; /* it never goes back (C25) */
    return OK;
}
