/* spool.h -- a link's relay log on disk: what was received and may not be applied yet (C4).
 *
 *     folder/meta                          what is here (spool_meta.h), replaced as a whole
 *     folder/synced                        how far the stream is on the disk for certain
 *     folder/<generation>.rdb              the RDB of a full copy
 *     folder/<generation>-<offset>.stream  segments of the stream, named by their first offset
 *
 * One thread writes (the receiver), others read behind it. A full copy or a new attachment
 * begins a generation, and drops everything older: readers of an older one get ERR_STATE.
 *
 * Crashes. kill -9: the files hold every byte that was written, the end is where they end.
 * Power loss: another boot id in `meta`; the stream is cut back to `synced`, which the source has
 * been told at most. An RDB that was not complete is of no use and is dropped.
 *
 * Full. Above the limit spool_has_room() is false: stop reading from the source. A disk without
 * room is ERR_DISK_FULL: nothing is lost, *taken says how much went in, try the rest again later.
 *
 * Every function may be called from any thread; those of the writer by one thread at a time.
 */
#ifndef SYNCER_SPOOL_H
#define SYNCER_SPOOL_H

#include "syncer/spool_meta.h"

struct spool;

struct spool_options {
    uint64_t limit_bytes;   /* of all files together */
    uint64_t segment_bytes; /* a segment that is longer is closed */
};

struct spool_info {
    enum spool_kind kind;
    uint64_t generation;
    char replid[REPLID_SIZE + 1]; /* of the end of the stream; "" when EMPTY */
    char copy_id[REPLID_SIZE + 1];
    uint64_t copy_offset;  /* COPY: the offset at which the RDB was taken */
    uint64_t rdb_received; /* bytes of the RDB that are here */
    uint64_t begin, end;   /* offsets of the stream */
    int begin_db;
    uint64_t synced; /* offset: on the disk for certain */
    uint64_t bytes, limit_bytes;
    bool discarded_rdb; /* opening found an RDB that was not complete, and dropped it */
};

MUST_CHECK enum err spool_open(const char *folder, const struct spool_options *options, struct spool **spool,
                               struct why *why);
void spool_close(struct spool *spool);

void spool_look(struct spool *spool, struct spool_info *info);
bool spool_has_room(struct spool *spool);

/* Whether a reader could start at OFFSET of history REPLID. */
bool spool_holds(struct spool *spool, const char *replid, uint64_t offset);

/* The replication id under which the RDB was taken; false when there is no RDB. */
MUST_CHECK bool spool_copy_replid(struct spool *spool, char replid[REPLID_SIZE + 1]);

/* What the history is called behind OFFSET; of two ids that meet there, the newer one. */
void spool_replid_at(struct spool *spool, uint64_t offset, char replid[REPLID_SIZE + 1]);

/* Writer: a full copy. spool_finish_rdb() makes it durable; only then does the stream follow. */
MUST_CHECK enum err spool_start_copy(struct spool *spool, const char *replid, uint64_t offset, struct why *why);
MUST_CHECK enum err spool_write_rdb(struct spool *spool, struct slice bytes, size_t *taken, struct why *why);
MUST_CHECK enum err spool_finish_rdb(struct spool *spool, struct why *why);

/* Writer: no copy, the stream from OFFSET on; DB is selected there (-1: not known). */
MUST_CHECK enum err spool_start_stream(struct spool *spool, const char *replid, uint64_t offset, int db,
                                       struct why *why);

/* Writer: from the end on the source calls its history REPLID (+CONTINUE with an id). */
MUST_CHECK enum err spool_rename(struct spool *spool, const char *replid, struct why *why);

MUST_CHECK enum err spool_append(struct spool *spool, struct slice bytes, size_t *taken, struct why *why);

/* Writer: everything appended so far is on the disk when this returns; *OFFSET says how far that is. */
MUST_CHECK enum err spool_sync(struct spool *spool, uint64_t *offset, struct why *why);

/* Nothing before OFFSET will be read again; DB is selected there. Whole segments before it go. */
MUST_CHECK enum err spool_keep_from(struct spool *spool, uint64_t offset, int db, struct why *why);

/* The RDB has done its service. */
MUST_CHECK enum err spool_drop_rdb(struct spool *spool, struct why *why);

/* Back to EMPTY, everything removed. */
MUST_CHECK enum err spool_clear(struct spool *spool, struct why *why);

/* Wait until something changed since *SEEN (start with 0), spool_wake() was called, or the time is over. */
void spool_wait(struct spool *spool, uint64_t *seen, int timeout_ms);
void spool_wake(struct spool *spool);

/* A place in the stream from which one thread reads. All zero is a closed one. */
struct spool_reader {
    struct spool *spool; /* borrowed; NULL when closed */
    uint64_t generation, offset;
    uint64_t segment; /* the first offset of the open file */
    int fd;
};

/* ERR_ABSENT: OFFSET is not between begin and end. */
MUST_CHECK enum err spool_reader_open(struct spool_reader *reader, struct spool *spool, uint64_t offset,
                                      struct why *why);
void spool_reader_close(struct spool_reader *reader);

/* Read what is there, up to SIZE bytes, and move on; *GOT is 0 at the end.
 * ERR_STATE: another generation has begun. ERR_ABSENT: trimmed away. */
MUST_CHECK enum err spool_read(struct spool_reader *reader, void *data, size_t size, size_t *got, struct why *why);

/* Read the RDB of GENERATION at POSITION; *FD is -1 at first, kept between calls, closed by the caller.
 * *GOT 0 and *COMPLETE: the end of the file; 0 alone: nothing is there yet. */
MUST_CHECK enum err spool_read_rdb(struct spool *spool, uint64_t generation, int *fd, uint64_t position, void *data,
                                   size_t size, size_t *got, bool *complete, struct why *why);

#endif
