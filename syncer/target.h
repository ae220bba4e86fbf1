/* target.h -- the server that a link writes to: what it is, what it can, and the proof that no older
 * connection of this link can still write there (C21).
 *
 * Blocking; for the apply thread.
 */
#ifndef SYNCER_TARGET_H
#define SYNCER_TARGET_H

#include "lib/control/config.h"
#include "syncer/checkpoint.h"

struct rblock;
struct apply_rules;

struct target {
    struct rblock *conn;
    char run_id[48];
    int64_t client_id;
    unsigned version;     /* 7.0.15 is 0x07000f */
    bool bundled;         /* our own server: checkpoints outside the keyspace */
    bool import_mode;     /* keys do not expire while we feed it (C8) */
    bool persistent_aof;  /* INFO persistence: aof_enabled */
    bool weak_fence;      /* CLIENT KILL was refused: old connections are gone only by patience (C21) */
    unsigned rdb_version; /* the highest version of a payload that RESTORE takes */
};

/* Dial SIDE, name the connection, learn what the server is, note the connection's id in
 * FOLDER/connections durably, and end those noted before at the same server.
 * ERR_REFUSED: wrong password, or no permission; ERR_STATE: it is a replica. */
MUST_CHECK enum err target_open(struct target *target, const struct config_side *side, const char *name,
                                const char *folder, struct why *why);
void target_close(struct target *target); /* a zeroed or closed one is fine */

/* Close the connection and prove that the server has ended it. */
MUST_CHECK enum err target_retire(struct target *target, const struct config_side *side, const char *folder,
                                  struct why *why);

/* Import mode on (a server that knows it) or off. */
MUST_CHECK enum err target_import(struct target *target, bool on, struct why *why);

/* The checkpoint of LINK; kind NONE when there is none. */
MUST_CHECK enum err target_read_checkpoint(struct target *target, const char *link, struct checkpoint *checkpoint,
                                           struct why *why);
MUST_CHECK enum err target_write_checkpoint(struct target *target, const struct apply_rules *rules,
                                            const struct checkpoint *checkpoint, struct why *why);
MUST_CHECK enum err target_remove_checkpoint(struct target *target, const char *link, struct why *why);

/* Keys in all databases, without checkpoints. */
MUST_CHECK enum err target_count_keys(struct target *target, uint64_t *keys, struct why *why);

/* Whether the server of CONN counts what was ever added to streams and deleted from them (7.0 and later); false if it does
 * not tell its version. */
bool side_counts_streams(struct rblock *conn);

/* An option set for rblock_open() to SIDE. */
struct rblock_options side_options(const struct config_side *side, const char *name);

#endif
