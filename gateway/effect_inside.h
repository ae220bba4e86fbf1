/* effect_inside.h -- what the files of effect share: the rule of each command, a command that is
 * being prepared, and an answer that is being told.
 *
 *     effect.c          the life of an effect, its keys, its bytes, blocks
 *     effect_answer.c   taking answers apart: heads, blocks, the client's part
 *     effect_prepare.c  what is changed before a command leaves (C3, C17)
 *     effect_tell.c     from an answer to items; the rules that need few words
 *     effect_string.c   strings and expiry times
 *     effect_types.c    lists, sets, sorted sets, hashes
 *     effect_stream.c   streams
 *     effect_simple.c   which commands need none of all that
 *     effect_rules.c    the table: one row for each command that may write
 */
#ifndef GATEWAY_EFFECT_INSIDE_H
#define GATEWAY_EFFECT_INSIDE_H

#include "gateway/effect.h"
#include "lib/base/mem.h"
#include "lib/redis/resp.h"

/* The first line of a reply. */
struct effect_head {
    enum resp_kind kind;
    bool error, null;
    int64_t number;    /* of an integer; of an aggregate how many trees; -1 for the rest */
    struct slice text; /* of an error, a status, a double: the line */
};

/* Which successful answers say that nothing was done. */
enum effect_nothing {
    NOTHING_NEVER = 0,
    NOTHING_ZERO = 1,     /* an integer 0 */
    NOTHING_NEGATIVE = 2, /* an integer below 0 */
    NOTHING_NULL = 4,
    NOTHING_EMPTY = 8, /* an aggregate without elements */
};

struct effect_draft;
struct effect_teller;

/* Where the command table, which says what Redis says of keys, does not say what a lane must know.
 */
enum effect_keys {
    KEYS_AS_TOLD,
    KEYS_REPLACED,       /* RW there, but the old value does not matter: GETSET, GETDEL */
    KEYS_FIRST_REPLACED, /* only of the first one: SINTERSTORE */
    KEYS_FIRST_MOVED,    /* RM there, but its value goes elsewhere: RENAME */
    KEYS_WRITTEN,        /* RO there: XREADGROUP */
    KEYS_OF_SET,         /* by the options */
    KEYS_OF_RESTORE,
    KEYS_OF_COPY,   /* the second one in another database */
    KEYS_OF_MOVE,   /* one more, in another database */
    KEYS_OF_PFMERGE /* without a source Redis cannot tell them, but does it */
};

struct effect_rule {
    const char *name;
    uint8_t nothing;                             /* enum effect_nothing */
    uint8_t needs;                               /* enum effect_needs */
    void (*prepare)(struct effect_draft *draft); /* NULL: it goes as it is */
    void (*tell)(struct effect_teller *teller);
    enum effect_keys keys;
};

/* NULL: the command never writes. */
const struct effect_rule *effect_rule_of(const struct command *command);

enum effect_option {
    OPTION_NX = 1,
    OPTION_XX = 2,
    OPTION_GET = 4,
    OPTION_KEEPTTL = 8,
    OPTION_PERSIST = 16,
    OPTION_CH = 32,
    OPTION_INCR = 64,
    OPTION_REPLACE = 128,
    OPTION_EXPIRY = 256, /* deadline_ms is set */
    OPTION_APPROX = 512, /* trims about so much */
    OPTION_JUSTID = 1024,
    OPTION_FORCE = 2048,
    OPTION_LASTID = 4096,
    OPTION_ABSTTL = 8192,
    OPTION_LEFT = 16384,
};

/* What goes along in the same MULTI, behind the command. */
enum effect_extra { EXTRA_NONE, EXTRA_XLEN, EXTRA_PEXPIREAT };

#define EFFECT_FEW_KEYS 2u

struct effect_inside {
    const struct effect_rule *rule;
    struct buf bytes; /* all that is sent, unless it stands behind argv as it came */
    struct effect_key *keys;
    struct slice *argv; /* of the command as it is sent, behind this; they point to what is sent */
    size_t argc;
    struct slice request; /* the command itself, in what is sent */
    struct slice body;    /* the command and its extra, likewise */
    int64_t deadline_ms;
    int32_t primary_version, follower_version;
    int32_t db_other;      /* of COPY, MOVE, SELECT, SWAPDB; -1: could not be read */
    uint32_t options;      /* enum effect_option */
    uint32_t at;           /* argv[at] is something that the rule wants to find again */
    uint8_t extra;         /* enum effect_extra */
    bool wrapped;          /* it has a MULTI of its own */
    bool unsure;           /* if it is done, its keys are dirty */
    bool as_it_is;         /* of the usual answer: what was sent is told, with these keys */
    bool malformed;        /* where its keys are, Redis could not tell either: it refuses it */
    struct effect **parts; /* of a block */
    size_t part_count;
    struct effect_key few_keys[EFFECT_FEW_KEYS]; /* room for most. The last, and not cleared */
};

/* A request on its way to becoming an effect. Prepare functions may replace argv. */
struct effect_draft {
    const struct effect_facts *facts;
    const struct command *command;
    const struct effect_rule *rule;
    size_t argc;
    const struct slice *argv;
    size_t keys_argc;
    const struct slice *keys_argv; /* as it came; keys stand at the same places */
    struct slice *built_long; /* a long argv that is put together anew; freed with the draft */
    int64_t deadline_ms;
    int32_t db, db_other;
    uint32_t options, at;
    uint8_t extra;
    bool in_block; /* a part of the client's own MULTI */
    bool blocking; /* has to be wrapped, or answers at once in the client's MULTI */
    bool unsure;
    bool reads_only; /* although the command could write */
    bool any_key;    /* it may write keys that it does not name */
    /* not cleared */
    struct slice built[8]; /* for a short argv that is put together anew */
    char number[24];       /* text of the deadline */
};

void effect_prepare_set(struct effect_draft *draft);
void effect_prepare_setex(struct effect_draft *draft);
void effect_prepare_getex(struct effect_draft *draft);
void effect_prepare_expire(struct effect_draft *draft);
void effect_prepare_restore(struct effect_draft *draft);
void effect_prepare_copy(struct effect_draft *draft);
void effect_prepare_move(struct effect_draft *draft);
void effect_prepare_swapdb(struct effect_draft *draft);
void effect_prepare_debug(struct effect_draft *draft);
void effect_prepare_pfcount(struct effect_draft *draft);
void effect_prepare_blocking(struct effect_draft *draft);
void effect_prepare_mpop(struct effect_draft *draft);
void effect_prepare_zadd(struct effect_draft *draft);
void effect_prepare_geoadd(struct effect_draft *draft);
void effect_prepare_xadd(struct effect_draft *draft);
void effect_prepare_xtrim(struct effect_draft *draft);
void effect_prepare_xreadgroup(struct effect_draft *draft);
void effect_prepare_xclaim(struct effect_draft *draft);

/* Whether argv[at] is WORD (lower case or not). */
static inline bool effect_arg_is(const struct slice *argv, size_t at, const char *word) {
    return slice_equal_nocase(argv[at], slice_text(word));
}

/* ---- answers ---- */

/* The first line of REPLY, which may go on behind what is shown. False: not a reply. */
bool effect_head_read(struct slice reply, struct effect_head *head);

/* A successful answer that says, by RULE, that nothing was done. */
bool effect_head_is_nothing(const struct effect_rule *rule, const struct effect_head *head);

/* Take the first whole reply from the front of *REST; false when there is none. */
bool effect_reply_take(struct slice *rest, struct slice *reply);

/* Take one token from the front of *REST. */
bool effect_token_take(struct slice *rest, struct resp_token *token);
/* The same, and it must be a string of some kind. */
bool effect_text_take(struct slice *rest, struct slice *text);
/* The same, and it must be an aggregate; *COUNT trees follow in it. */
bool effect_list_take(struct slice *rest, size_t *count);

/* Of the answer to a MULTI .. EXEC of COMMANDS commands: what EXEC answered, and for which error
 * it was refused as a whole (else empty). False when it is not such an answer. */
bool effect_exec_find(struct slice answer, size_t commands, struct slice *exec,
                      struct slice *refusal);

/* ---- telling ---- */

struct effect_teller {
    const struct effect *effect; /* of one command */
    const struct effect_inside *in;
    struct effect_head head;
    struct slice answer; /* its own reply; NEEDS_HEAD: maybe only the front of it */
    struct slice extra;  /* of what was sent along */
    int32_t db;
    struct effect_outcome *out;
};

/* The key that ARGV[AT] is, as an item's key. */
static inline struct slice effect_arg(const struct effect_teller *t, size_t at) {
    ASSERT(at < t->in->argc);
    return t->in->argv[at];
}

/* Open an item; then its keys; a request is written with effect_tell_command(). */
struct effect_item *effect_tell_item(struct effect_teller *t, enum effect_kind kind);
struct effect_key *effect_tell_key(struct effect_teller *t, struct slice name, unsigned use,
                                   enum effect_expiry expiry);
/* An item that is the request ARGC, ARGV; keys follow. */
void effect_tell_command(struct effect_teller *t, size_t argc, const struct slice *argv);
/* The same of one key, which stays the only one. */
void effect_tell_one(struct effect_teller *t, size_t argc, const struct slice *argv, unsigned use,
                     enum effect_expiry expiry);
/* The request with all its keys; those that are replaced lose their expiry time. */
void effect_tell_verbatim(struct effect_teller *t);
/* All keys that it writes are dirty. */
void effect_tell_dirty(struct effect_teller *t);
/* KEY as the request named it; empty and false when it is not one of its keys. */
bool effect_key_find(const struct effect_teller *t, struct slice text, struct slice *name);

#define EFFECT_READ_WRITE (EFFECT_READ | EFFECT_WRITE)
#define EFFECT_REPLACE (EFFECT_WRITE | EFFECT_WHOLE)

void effect_tell_set(struct effect_teller *t);
void effect_tell_setnx(struct effect_teller *t);
void effect_tell_getset(struct effect_teller *t);
void effect_tell_msetnx(struct effect_teller *t);
void effect_tell_getdel(struct effect_teller *t);
void effect_tell_getex(struct effect_teller *t);
void effect_tell_incrbyfloat(struct effect_teller *t);
void effect_tell_expire(struct effect_teller *t);
void effect_tell_persist(struct effect_teller *t);
void effect_tell_restore(struct effect_teller *t);
void effect_tell_rename(struct effect_teller *t);
void effect_tell_copy(struct effect_teller *t);
void effect_tell_move(struct effect_teller *t);

void effect_tell_hincrbyfloat(struct effect_teller *t);
void effect_tell_blmove(struct effect_teller *t);
void effect_tell_bpop(struct effect_teller *t);
void effect_tell_lmpop(struct effect_teller *t);
void effect_tell_spop(struct effect_teller *t);
void effect_tell_zadd(struct effect_teller *t);
void effect_tell_zincrby(struct effect_teller *t);
void effect_tell_zmpop(struct effect_teller *t);
void effect_tell_bzpop(struct effect_teller *t);
void effect_tell_store(struct effect_teller *t); /* SORT, GEORADIUS, ZUNIONSTORE ... */

void effect_tell_xadd(struct effect_teller *t);
void effect_tell_xtrim(struct effect_teller *t);
void effect_tell_xreadgroup(struct effect_teller *t);
void effect_tell_xclaim(struct effect_teller *t);
void effect_tell_xautoclaim(struct effect_teller *t);

void effect_tell_migrate(struct effect_teller *t);
void effect_tell_flushall(struct effect_teller *t);
void effect_tell_flushdb(struct effect_teller *t);
void effect_tell_swapdb(struct effect_teller *t);
void effect_tell_scripts(struct effect_teller *t);

#endif
