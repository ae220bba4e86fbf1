/* spool_files.h -- the files of a spool: listing, cutting and removing segments, and the mark that
 * says how far the stream is on the disk. Used by spool.c alone; no locks here.
 */
#ifndef SYNCER_SPOOL_FILES_H
#define SYNCER_SPOOL_FILES_H

#include "lib/base/why.h"

#include <stddef.h>
#include <stdint.h>

struct spool_segment {
    uint64_t start; /* offset of the first byte */
    uint64_t bytes;
};

struct spool_segments {
    struct spool_segment *at; /* sorted, without gaps */
    size_t count, room;
};

void spool_segments_clear(struct spool_segments *segments);
void spool_segments_add(struct spool_segments *segments, uint64_t start);
void spool_segments_drop_first(struct spool_segments *segments);

/* Find the segments of GENERATION. ERR_CORRUPT: one is missing in the middle. */
MUST_CHECK enum err spool_files_list(const char *folder, uint64_t generation, struct spool_segments *segments,
                                     struct why *why);

/* Nothing at or behind OFFSET stays. */
MUST_CHECK enum err spool_files_cut(const char *folder, uint64_t generation, struct spool_segments *segments,
                                    uint64_t offset, struct why *why);

/* Remove the files of all generations but GENERATION, and of that one, too, unless KEEP. */
void spool_files_remove_others(const char *folder, uint64_t generation, bool keep);

/* The mark: generation and offset with a checksum, overwritten in place. */
MUST_CHECK enum err spool_mark_write(int fd, uint64_t generation, uint64_t offset, struct why *why);
MUST_CHECK bool spool_mark_read(int fd, uint64_t generation, uint64_t *offset);

#endif
