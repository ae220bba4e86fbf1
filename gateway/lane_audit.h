/* lane_audit.h -- an audit in the lanes: both sides of every key, read at the same place (C29).
 *
 *   IDLE --start--> AT_P --------------> AT_F -------------> LATE ---------> DONE
 *                   SCAN of P, page by   SCAN of F; what P   keys that were
 *                   page: each name is   has not is compared not clean, or
 *                   compared             (extra keys)        were not answered
 *
 * A name is compared by a read in its lane (lane_read.h): P's value at its place, F's at the same
 * place. Values become canonical digests (C31), so that encodings do not matter; only then are they
 * compared. A key that is not clean there is left for later: it is read again when it is clean, or
 * behind its next copy, at the copy's place. What does not become comparable in `late_ms`, what is
 * too large and what has no canonical form is undecided, and never equal (C30). Keys whose deadline
 * passes by any of the clocks before the comparison ends count as absent on both sides.
 *
 * With a witness (C22) a difference counts when it was seen twice, the same, with two of its fences
 * between: what a script wrote behind the lane's back is dirty by then, and no difference.
 *
 * Values above whole_bytes_max are read in pieces (lane_pieces.h). Of a module's value only the bytes
 * are known that DUMP gives: the same ones are equal, others differ if both sides' modules write the
 * same version of the type; else it is undecided. It is always read whole.
 *
 * Memory: a page of names, late_max keys, LANE_AUDIT_NAMED differences by name, REPAIR_BYTES of
 * names for the repair. Rates are limited; the numbers of reads on their way, too.
 *
 * Decided without I/O, over the lanes of one loop. The listing goes over connections that write
 * nothing. At the end of every callback: lane_audit_turn().
 *
 * Hostile input: answers may be anything; what is not understood is undecided, or ends the audit
 * with an error.
 */
#ifndef GATEWAY_LANE_AUDIT_H
#define GATEWAY_LANE_AUDIT_H

#include "gateway/lane_read.h"

#include "lib/redis/digest.h"

#define LANE_AUDIT_NAMED 1000u
#define LANE_AUDIT_REPAIR_BYTES (16u << 20)
#define LANE_AUDIT_BUCKETS 4096u
#define LANE_AUDIT_MODULE_MAX (64u << 20) /* bytes, as P estimates, of a value of a module's type */
#define LANE_MODULE_VERSION_BITS 10       /* of struct lane_seen's `module`, the last ones */

enum lane_audit_state {
    LANE_AUDIT_IDLE,
    LANE_AUDIT_AT_P,
    LANE_AUDIT_AT_F,
    LANE_AUDIT_LATE,
    LANE_AUDIT_DONE
};

enum lane_audit_asked {
    LANE_AUDIT_NOTHING,
    LANE_AUDIT_KEYSPACE, /* which databases there are */
    LANE_AUDIT_DATABASE, /* whether P has it, too */
    LANE_AUDIT_PAGE,
    LANE_AUDIT_SIZES, /* of the page's keys at P */
};

enum lane_differs {
    LANE_EQUAL,
    LANE_DIFFERS_MISSING, /* at F */
    LANE_DIFFERS_EXTRA,   /* at F */
    LANE_DIFFERS_TYPE,
    LANE_DIFFERS_EXPIRY,
    LANE_DIFFERS_VALUE,
    LANE_UNDECIDED,
};
const char *lane_differs_text(enum lane_differs differs); /* as docs/CONTROL.md: "missing" ... */

struct lane_audit_rules {
    uint64_t keys_per_s, bytes_per_s; /* of P's answers; 0: no limit */
    size_t reads_max;                 /* on their way */
    size_t late_max;
    uint64_t late_ms;         /* a key that is not comparable for so long is undecided */
    uint64_t stuck_ms;        /* nothing at all happened for so long: the audit fails */
    uint64_t whole_bytes_max; /* larger values are read in pieces */
    int64_t slack_ms;         /* between any of the clocks, twice (C12a) */
};
extern const struct lane_audit_rules lane_audit_rules_default;

/* What a side said of a key. */
struct lane_seen {
    bool present;
    enum value_type type; /* of no module's */
    uint64_t module;      /* its module's id of the type, with the version that it writes; 0: none */
    int64_t deadline_ms;  /* 0: it does not expire */
    struct digest digest;
};

struct lane_difference {
    enum lane_differs differs;
    int32_t db;
    enum value_type type;     /* P's, of an extra key F's; */
    uint64_t module;          /* likewise */
    struct lane_seen seen[2]; /* enum lane_side; of an undecided one nothing */
    const char *why;          /* LANE_UNDECIDED: constant */
    uint32_t name_bytes;
    uint8_t name[];
};

struct lane_audit;

struct lane_audit_ops {
    /* REQUEST at SIDE, in database DB, on a connection that writes nothing; all REPLIES to
     * lane_audit_answered() with this ROUND, or what came of them when the connection broke. */
    void (*ask)(void *self, enum lane_side side, int32_t db, struct slice request, uint32_t replies,
                uint64_t round);
    /* The canonical digest of a payload of DUMP; false: it has none. lane_audit_digest(), but in
     * simulations. KEY has db, key, expire_at_ms; sets its type. */
    bool (*digest)(struct lane_audit *audit, struct rdb_key *key, struct slice payload,
                   enum digest_streams streams, struct digest *digest);
};

struct lane_audit_figures {
    uint64_t keys;                                 /* compared to an end: equal, different */
    uint64_t bytes;                                /* of both sides' answers */
    uint64_t listed, differences, undecided, late; /* late: had to be read again, so often */
};

struct lane_audit {
    const struct lane_audit_ops *ops;
    void *self;
    struct lane_watch watch;
    struct lane *lanes;
    unsigned count;
    const struct clock *clock;
    struct lane_audit_rules rules;
    int32_t follower_version; /* the owner's to keep right; as in effect.h */
    int32_t databases[2];     /* SCAN goes through 0 .. n-1; enum lane_side */
    uint64_t fences; /* the owner's: how many the witness had answered; UINT64_MAX: there is none */
    bool paused;              /* nothing leaves (a hold); the owner's */
    /* the listing */
    enum lane_audit_state state;
    int32_t db;
    uint64_t cursor, next_cursor, round;
    enum lane_audit_asked asked;
    bool counted, tried;                        /* the side's databases are known; P has this one */
    uint64_t ask_again_ms;                      /* the connection broke, or the page was none */
    struct list page, fresh, late, big, flying; /* struct lane_check */
    size_t page_count, fresh_count, late_count, big_count, flying_count;
    struct list *late_by_name; /* LANE_AUDIT_BUCKETS */
    struct lane_check *huge;   /* the one that is read in pieces now */
    /* rates */
    uint64_t credit_us, moved_ms; /* when credit was given; when something happened */
    int64_t key_credit, byte_credit;
    /* results */
    struct lane_audit_figures figures;
    int64_t started_ms, ended_ms; /* wall clock */
    const char *error;            /* why it ended early; NULL: it did not. Constant */
    struct lane_difference *named[LANE_AUDIT_NAMED];
    size_t named_count;
    uint64_t *seen; /* hashes of keys that differ, so that none counts twice; 0 is free */
    size_t seen_count, seen_cap;
    struct buf repair; /* keys that differ: db, size, name */
    bool repair_full;
    struct digester *digester;
    struct digest digested;
    struct buf scratch;
};

void lane_audit_init(struct lane_audit *audit, const struct lane_audit_ops *ops, void *self,
                     struct lane *lanes, unsigned count, const struct clock *clock);
/* Before the lanes are closed. */
void lane_audit_close(struct lane_audit *audit);

/* Begin, with nothing of an earlier one; RULES are copied. Returns NULL, or why not now: it runs
 * already, or a baseline goes on. */
const char *lane_audit_start(struct lane_audit *audit, const struct lane_audit_rules *rules);
void lane_audit_stop(struct lane_audit *audit, const char *why); /* WHY: constant */
static inline bool lane_audit_runs(const struct lane_audit *audit) {
    return audit->state != LANE_AUDIT_IDLE && audit->state != LANE_AUDIT_DONE;
}

void lane_audit_turn(struct lane_audit *audit);
void lane_audit_answered(struct lane_audit *audit, uint64_t round, struct slice replies);
/* A command that wrote was answered: what is read in pieces begins again. */
void lane_audit_wrote(struct lane_audit *audit, const struct effect *effect);

/* What differed becomes dirty, and so is copied in its lane (C33); how many keys. Those that found
 * no room in `repair` are left, and FULL says so. */
uint64_t lane_audit_repair(struct lane_audit *audit, bool *full);

bool lane_audit_digest(struct lane_audit *audit, struct rdb_key *key, struct slice payload,
                       enum digest_streams streams, struct digest *digest);

#endif
