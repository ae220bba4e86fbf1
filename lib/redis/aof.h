/* aof.h -- the files of Redis 7's multi-part AOF: the manifest, and the commands inside.
 *
 *     appendonlydir/appendonly.aof.manifest      file appendonly.aof.1.base.rdb seq 1 type b
 *     appendonlydir/appendonly.aof.1.base.rdb    file appendonly.aof.1.incr.aof seq 1 type i
 *     appendonlydir/appendonly.aof.1.incr.aof
 *
 * Pure: bytes in, bytes out. The owner reads and writes the files.
 * Hostile input: a name that is not a plain file name is refused, every length is checked before
 * it is used, and an error names its line (manifest) or what was found (commands).
 * Source: aof.c of Redis 7.0 (manifest: aofLoadManifestFromFile, getAofManifestAsString; commands:
 * loadSingleAppendOnlyFile).
 */
#ifndef LIB_REDIS_AOF_H
#define LIB_REDIS_AOF_H

#include "lib/base/buf.h"
#include "lib/base/step.h"
#include "lib/base/why.h"

enum aof_type { AOF_BASE = 'b', AOF_HISTORY = 'h', AOF_INCR = 'i' };

struct aof_file {
    char *name; /* owned; a plain file name */
    int64_t seq;
    enum aof_type type;
};

/* At most one base; files of a type in the order in which they are to be loaded. All-zero is an
 * empty manifest. */
struct aof_manifest {
    struct aof_file *files; /* owned */
    size_t count;
    int64_t base_seq, incr_seq; /* the last numbers given out */
};

#define AOF_MANIFEST_SIZE_MAX (16u << 20) /* bytes; a larger one is refused */

void aof_manifest_close(struct aof_manifest *manifest);

/* Read the text of a manifest into the empty MANIFEST. ERR_CORRUPT: WHY names line and fault, and
 * MANIFEST stays empty. Fields that we do not know are skipped, as Redis does. */
MUST_CHECK enum err aof_manifest_parse(struct slice text, struct aof_manifest *manifest,
                                       struct why *why);

/* Append the text: base, history, incr, names quoted where they need it. */
void aof_manifest_format(const struct aof_manifest *manifest, struct buf *text);

void aof_manifest_copy(struct aof_manifest *to, const struct aof_manifest *from);

/* NULL when there is none. Borrowed until the manifest changes. */
const struct aof_file *aof_manifest_base(const struct aof_manifest *manifest);
const struct aof_file *aof_manifest_last_incr(const struct aof_manifest *manifest);

/* Add a file "PREFIX.N.base.rdb" (or ".base.aof"); the base so far becomes history. */
const struct aof_file *aof_manifest_new_base(struct aof_manifest *manifest, const char *prefix,
                                             bool rdb);

/* Add a file "PREFIX.N.incr.aof" at the end. */
const struct aof_file *aof_manifest_new_incr(struct aof_manifest *manifest, const char *prefix);

/* Name a file that is there already as the base: how a single AOF of older versions is taken over.
 */
void aof_manifest_adopt_base(struct aof_manifest *manifest, const char *name);

/* Forget the file at INDEX < count; the order of the others stays. */
void aof_manifest_remove(struct aof_manifest *manifest, size_t index);
/* All incr files but the last KEPT become history. */
void aof_manifest_retire_incr(struct aof_manifest *manifest, size_t kept);

/* Forget the history files. */
void aof_manifest_drop_history(struct aof_manifest *manifest);

/* One command of an AOF. The slices point into the bytes that were shown; the array is owned. */
struct aof_command {
    struct slice *args;
    size_t count, room;
};

#define AOF_ARGS_MAX (1024u * 1024)
#define AOF_ARG_SIZE_MAX (512u << 20) /* bytes */

void aof_command_close(struct aof_command *command);

/* Read one command, or one annotation ("#TS:...\r\n"), from the front of BYTES.
 *   STEP_DONE  *used_bytes are done with; count is 0 for an annotation.
 *   STEP_MORE  nothing was taken; *wanted_bytes is how many BYTES should be shown at least.
 *   STEP_FAIL  not an AOF; WHY. */
MUST_CHECK enum step aof_next(struct slice bytes, struct aof_command *command, size_t *used_bytes,
                              size_t *wanted_bytes, struct why *why);

#endif
