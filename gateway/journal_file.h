/* journal_file.h -- a journal in a mapped file. See journal.h.
 *
 *     journal_file_open(folder, name ...)   a new file beside the old one: name.journal.new
 *     journal_file_read(name ...)           what the process before us left in name.journal
 *             ... the lanes mark what they are told, and so write it into the new file ...
 *     journal_file_commit()                 the new one takes the old one's place
 *
 * A crash before the commit leaves the old file, which is read again. Only after it may anything
 * leave for a server. One process at a time: the file name.lock is locked as long as it is open.
 *
 * All blocks of the file are set aside before it is mapped, so that a full disk is an error here
 * and never a signal later. Nothing is synced: what is written survives the process, and not the
 * host; a journal of another boot is not used.
 *
 * All of it blocks for milliseconds (for a big file more): at the start, not in a loop's turn.
 */
#ifndef GATEWAY_JOURNAL_FILE_H
#define GATEWAY_JOURNAL_FILE_H

#include "gateway/journal.h"

#include "lib/base/why.h"

struct journal_file {
    struct journal journal;
    char folder[512];
    char path[1024], fresh[1032]; /* where it will be, and where it is until the commit */
    char boot[JOURNAL_BOOT_SIZE + 1];
    int lock_fd;
    bool committed;
};

/* Of this machine since it was started. */
MUST_CHECK enum err journal_boot(char boot[JOURNAL_BOOT_SIZE + 1], struct why *why);

/* SIZE_BYTES from JOURNAL_SIZE_MIN to JOURNAL_SIZE_MAX. FOLDER is made if it is missing.
 *   ERR_STATE      another process has it
 *   ERR_DISK_FULL  no room for the whole of it */
MUST_CHECK enum err journal_file_open(struct journal_file *file, const char *folder,
                                      const char *name, size_t size_bytes, struct why *why);

/* What was left under NAME (of this one, or of another that is not open any more: the number of
 * lanes may have changed). An error of the disk counts as JOURNAL_CORRUPT, and WHY is set; for
 * others WHY is not touched. */
enum journal_found journal_file_read(const struct journal_file *file, const char *name,
                                     const struct journal_reader *reader, struct why *why);

MUST_CHECK enum err journal_file_commit(struct journal_file *file, struct why *why);

/* Without a commit the new file is removed. With one it stays, for the next process. */
void journal_file_close(struct journal_file *file);

/* After an orderly end, when nothing in it matters any more. */
MUST_CHECK enum err journal_file_remove(const char *folder, const char *name, struct why *why);

#endif
