/* disk.h -- the few things that links do with files, each with its error in a sentence and
 * with a place where tests inject faults (fault.h: FAULT_WRITE, FAULT_SYNC).
 *
 * A full disk (ENOSPC, EDQUOT, EFBIG) is ERR_DISK_FULL, so that callers can wait for room; all
 * else is ERR_IO. Nothing here follows a symbolic link, and files are made with mode 0600.
 */
#ifndef SYNCER_DISK_H
#define SYNCER_DISK_H

#include "lib/base/buf.h"
#include "lib/base/why.h"

/* Make the folder PATH, with mode 0700, and its missing parents. It may be there already. */
MUST_CHECK enum err disk_make_folder(const char *path, struct why *why);

/* Open PATH for appending, made if it is missing. *SIZE is its length in bytes. */
MUST_CHECK enum err disk_open_append(const char *path, int *fd, uint64_t *size, struct why *why);
MUST_CHECK enum err disk_open_read(const char *path, int *fd, uint64_t *size, struct why *why);

/* Append BYTES. On failure *WRITTEN bytes are in the file all the same: count them. */
MUST_CHECK enum err disk_write(int fd, struct slice bytes, size_t *written, struct why *why);

/* Read up to SIZE bytes at OFFSET; *GOT may be smaller only at the end of the file. */
MUST_CHECK enum err disk_read(int fd, uint64_t offset, void *data, size_t size, size_t *got, struct why *why);

/* The data, and the length, are on the disk when this returns. */
MUST_CHECK enum err disk_sync(int fd, struct why *why);
MUST_CHECK enum err disk_sync_folder(const char *path, struct why *why);

/* Replace the file PATH by one with CONTENT: a reader, and a crash, see the old or the new one. */
MUST_CHECK enum err disk_replace(const char *path, struct slice content, struct why *why);

/* Append all of PATH, which may have LIMIT bytes at most, to CONTENT. ERR_ABSENT if it is missing. */
MUST_CHECK enum err disk_load(const char *path, size_t limit, struct buf *content, struct why *why);

/* Remove PATH; it is fine if it is not there. */
void disk_remove(const char *path);

/* Remove the folder PATH and the plain files in it (no sub-folders). */
void disk_remove_folder(const char *path);

/* What the kernel calls this boot (36 characters), or "unknown". */
void disk_boot_id(char text[40]);

#endif
