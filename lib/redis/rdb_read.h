/* rdb_read.h -- read an RDB file or stream, checking everything, in bounded memory.
 *
 *     struct rdb_reader *reader = rdb_reader_open(source, limits, &handler);
 *     err = rdb_reader_run(reader, &why);     calls the handler until the end of the file
 *     rdb_reader_close(reader);
 *
 * Blocking: for helper threads only. The source is read in pieces of up to 256 KB. One thread at a
 * time; readers share nothing.
 *
 * Accepts RDB versions 1 to 11. Always checked: every length, LZF, listpacks, ziplists, zipmaps
 * and intsets item by item, no element twice, scores are numbers, ids of streams ascend, every
 * pending entry has exactly one consumer, the checksum. Module values, module aux data, functions
 * from before Redis 7.0 and unknown opcodes are refused with a sentence.
 *
 * Errors: ERR_CORRUPT (the sentence has the byte's offset, the key, and what was found), ERR_LIMIT
 * (a string above value_bytes_max, a database above databases_max), what the source returned, what
 * a callback returned. A source that ends too early is ERR_CORRUPT. After an error the key that
 * was being read has had no key_end() and no value_raw().
 *
 * Memory: twice the largest single string, raw_bytes_max, twins_bytes_max, 17 bytes for each
 * pending entry of one consumer group; nothing is allocated for a length before its bytes came.
 */
#ifndef LIB_REDIS_RDB_READ_H
#define LIB_REDIS_RDB_READ_H

#include "lib/redis/rdb.h"

/* Where bytes come from; embed it in a struct of yours. */
struct rdb_source {
    /* Wait for at least one byte and put up to SIZE at INTO. *GOT == 0: the end, for good. */
    enum err (*read)(struct rdb_source *source, void *into, size_t size, size_t *got,
                     struct why *why);
};

struct rdb_source_memory {
    struct rdb_source source;
    struct slice left; /* owned by the caller */
};

struct rdb_source_file {
    struct rdb_source source;
    int fd; /* owned by the caller; read from where it stands */
};

void rdb_source_memory_init(struct rdb_source_memory *source, struct slice bytes);
void rdb_source_file_init(struct rdb_source_file *source, int fd);

struct rdb_reader;

/* SOURCE and HANDLER must outlive the reader. */
struct rdb_reader *rdb_reader_open(struct rdb_source *source, struct rdb_limits limits,
                                   const struct rdb_handler *handler)
    __attribute__((returns_nonnull));
void rdb_reader_close(struct rdb_reader *reader);

/* Where a reader can start in the middle: behind a key (end_offset of it), in its database. */
struct rdb_position {
    uint64_t offset;
    uint32_t db;
    unsigned version;
};

/* Before rdb_reader_run(): the source begins at this position of the file. The checksum at the
 * end cannot be verified then, and end() says so; it can after rdb_reader_know_sum(): SUM is that
 * of all bytes before the position. */
void rdb_reader_resume(struct rdb_reader *reader, struct rdb_position position);
void rdb_reader_know_sum(struct rdb_reader *reader, uint64_t sum);

/* Read all. Once. */
MUST_CHECK enum err rdb_reader_run(struct rdb_reader *reader, struct why *why);

/* After rdb_reader_resume(), instead of the run: read one key, with all that stands before it. */
MUST_CHECK enum err rdb_reader_key(struct rdb_reader *reader, struct why *why);

/* The same for BYTES that are in memory, as often as wanted: whole keys, or whole parts between
 * keys, as rdb_skim.h cuts them. The reader was opened without a source (NULL). SUM (may be NULL):
 * the checksum of all bytes of the file but itself, if BYTES are its end. */
MUST_CHECK enum err rdb_reader_part(struct rdb_reader *reader, struct slice bytes,
                                    struct rdb_position position, const uint64_t *sum,
                                    struct why *why);

/* During and after the run. */
uint64_t rdb_reader_sum(struct rdb_reader *reader); /* of the bytes up to the offset */
unsigned rdb_reader_version(const struct rdb_reader *reader);
uint64_t rdb_reader_offset(const struct rdb_reader *reader);  /* bytes of the file consumed */
uint64_t rdb_reader_skipped(const struct rdb_reader *reader); /* empty keys dropped */

/* After the run: what was read from the source behind the end of the RDB (an AOF's tail). */
struct slice rdb_reader_rest(const struct rdb_reader *reader);

#endif
