/* load_team.h -- threads that read the keys of an RDB file, while the engine puts them in.
 *
 *     file --> cut --> piece --> read ---+
 *              cut --> piece --> read ---+--> in the order of the file --> engine: into the index
 *              ...                       |
 *
 * A thread cuts the next piece off (one at a time does), then reads it: checks every byte, makes
 * values and entries, hashes keys. What it made waits until the engine takes it. Whenever the
 * engine has to wait, it does the same as they; with no threads it does all. So there is one way
 * to load, on one core and on many.
 *
 * Bounds: two pieces for each thread and two for the engine (load_cut.h), with what is made of
 * them. The threads touch no engine: they get what they need to know in the plan.
 * Errors: a piece says what was wrong with it, with the key and the offset, when its turn comes.
 */
#ifndef SERVER_LOAD_TEAM_H
#define SERVER_LOAD_TEAM_H

#include "server/keyspace.h"
#include "server/limits.h"
#include "server/load_cut.h"

#define LOAD_THREADS_MAX 16
#define LOAD_THREADS_AUTO 8 /* with the engine, if nobody says */

struct load_plan {
    int fd;           /* the caller's, as long as the team is there; read from where it stands */
    unsigned threads; /* beside the engine */
    struct rdb_limits limits;
    struct type_limits types;
    unsigned share_bits; /* of the databases (keyspace.h) */
    uint32_t access;     /* what entries begin with */
    /* For the engine's turns at BIG: reads FD, and may do other things between. */
    struct rdb_source *source;
};

struct load_piece {
    struct load_bytes cut;
    struct db_addition *keys; /* of KEYS and BIG; up to `taken` the engine's, then the piece's */
    size_t count, room, taken;
    uint64_t end; /* offset of what comes behind */
    uint64_t empty_count;
    struct buf empty; /* the names of some of them, each behind a byte that is its size */
    enum err err;     /* behind the keys */
    struct why why;
};

struct load_team;

struct load_team *load_team_open(const struct load_plan *plan) __attribute__((returns_nonnull));
/* Waits for its threads, which do not take long, and frees what was not taken. */
void load_team_close(struct load_team *team);

/* The next piece, in order; NULL: not yet: do something else for a moment. After a piece with an
 * error, and after END, REST and FAILED, do not ask again. */
struct load_piece *load_team_next(struct load_team *team);
/* The piece that next() answered is done with. */
void load_team_give(struct load_team *team, struct load_piece *piece);

/* For REST: put the file to where the reading goes on. */
MUST_CHECK enum err load_team_seek(struct load_team *team, struct why *why);

#endif
