/* debug_data.c -- DEBUG's subcommands that look at all data or load it anew, and BGREWRITEAOF. */
#include "server/aof.h"
#include "server/args.h"
#include "server/digest.h"
#include "server/loading.h"
#include "server/function.h"
#include "server/persistence.h"
#include "server/reply.h"
#include "server/tracking.h"

#include <stdlib.h>

static void reply_digest(struct client *c, const struct sha_digest *digest) {
    char text[2 * DIGEST_BYTES + 1];
    for (size_t i = 0; i < DIGEST_BYTES; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", digest->bytes[i]);
    reply_simple(c, text);
}

static void debug_digest(struct client *c) {
    struct sha_digest digest = digest_of_dbs(c->engine->dbs, c->engine->db_count);
    reply_digest(c, &digest);
}

static void debug_digest_value(struct client *c) {
    reply_array(c, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++) {
        struct entry *e = db_find(c->db, c->argv[i]);
        struct sha_digest digest = {{0}};
        if (e && !entry_is_expired(c->engine, e)) digest = digest_of_entry(e);
        reply_digest(c, &digest);
    }
}

static void empty_all(struct engine *engine) {
    for (int i = 0; i < engine->db_count; i++) (void)db_clear(&engine->dbs[i], false);
    functions_flush(engine);
    checkpoints_clear(&persistence_of(engine)->checkpoints);
    tracking_flushed(engine);
}

/* DEBUG RELOAD [MERGE] [NOFLUSH] [NOSAVE] */
static void debug_reload(struct client *c) {
    struct engine *engine = c->engine;
    bool save = true, flush = true, merge = false;
    struct rdb_place place;
    struct why why;
    propagate_nothing(c);
    for (int i = 2; i < c->argc; i++) {
        if (arg_is(c->argv[i], "nosave"))
            save = false;
        else if (arg_is(c->argv[i], "noflush"))
            flush = false;
        else if (arg_is(c->argv[i], "merge"))
            merge = true;
        else {
            reply_error(c, "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.");
            return;
        }
    }
    if (save && save_now(engine, &why)) {
        reply_error(c, "ERR %s", why.text);
        return;
    }
    if (flush) empty_all(engine);
    loading_begin(engine, 0);
    enum err err = rdb_load_file(engine, engine->settings.dbfilename, merge ? RDB_LOAD_MERGE : 0,
                                 &place, NULL, &why);
    loading_end(engine);
    if (err) {
        engine_log(engine, '#', "DEBUG RELOAD: %s", why.text);
        reply_error(c, "ERR Error trying to load the RDB dump, check server logs.");
        return;
    }
    engine_log(engine, '#', "DB reloaded by DEBUG RELOAD");
    reply_ok(c);
}

static void debug_loadaof(struct client *c) {
    struct engine *engine = c->engine;
    struct aof *aof = persistence_of(engine)->aof;
    struct why why;
    propagate_nothing(c);
    aof_write_all(aof);
    empty_all(engine);
    if (aof_load_again(aof, &why)) {
        engine_log(engine, '#', "DEBUG LOADAOF: %s", why.text);
        exit(1); /* as Redis: what is in memory is not what was promised */
    }
    engine->dirty = 0;
    engine_log(engine, '#', "Append Only File loaded by DEBUG LOADAOF");
    reply_ok(c);
}

static void debug_skip_checksum(struct client *c) {
    int64_t on;
    if (c->argc != 3) {
        reply_wrong_arity(c);
        return;
    }
    if (!arg_int_range(c, c->argv[2], 0, 1, &on, NULL)) return;
    persistence_of(c->engine)->skip_checksums = on == 1;
    reply_ok(c);
}

static void debug_flush_sleep(struct client *c) {
    int64_t sleep_us;
    if (c->argc != 3) {
        reply_wrong_arity(c);
        return;
    }
    if (!arg_int_range(c, c->argv[2], 0, 10000000, &sleep_us, NULL)) return;
    aof_set_flush_sleep(persistence_of(c->engine)->aof, sleep_us);
    reply_ok(c);
}

static void bgrewriteaof_command(struct client *c) {
    struct aof *aof = persistence_of(c->engine)->aof;
    struct why why;
    if (c->flags & CLIENT_EXECUTING || !snapshot_may_start(c->engine)) {
        aof_rewrite_later(aof);
        reply_simple(c, "Background append only file rewriting scheduled");
    } else if (aof_rewrite(aof, &why)) {
        reply_error(c, "ERR %s", why.text);
    } else {
        reply_simple(c, "Background append only file rewriting started");
    }
}

void debug_data_open(struct engine *engine) {
    static const struct command_binding bindings[] = {{"bgrewriteaof", bgrewriteaof_command}};
    command_bind(engine, bindings, COUNT(bindings));
    engine_debug_add(engine, "digest", debug_digest,
                     "DIGEST: Output a hex signature representing the current DB content.");
    engine_debug_add(engine, "digest-value", debug_digest_value,
                     "DIGEST-VALUE <key> [<key> ...]: Output a hex signature of the values of all "
                     "the specified keys.");
    engine_debug_add(
        engine, "reload", debug_reload,
        "RELOAD [MERGE] [NOFLUSH] [NOSAVE]: Save the RDB on disk and reload it back to memory.");
    engine_debug_add(engine, "loadaof", debug_loadaof,
                     "LOADAOF: Flush the AOF buffers on disk and reload the AOF in memory.");
    engine_debug_add(engine, "aof-flush-sleep", debug_flush_sleep,
                     "AOF-FLUSH-SLEEP <microsec>: Server will sleep before flushing the AOF, this "
                     "is used for testing.");
    engine_debug_add(engine, "set-skip-checksum-validation", debug_skip_checksum,
                     "SET-SKIP-CHECKSUM-VALIDATION <0|1>: Enable or disable checksum checks for "
                     "RDB files and RESTORE's payload.");
}
