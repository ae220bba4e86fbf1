/* fs.h -- files, as carefully as data deserves: whole writes, syncs, atomic replacement.
 *
 * Nothing here follows a symbolic link in the last part of a path; files are made with mode 0600
 * and folders with 0700. Every write passes fault_now(FAULT_WRITE), every sync FAULT_SYNC.
 * A full disk, quota or limit of a file's size is ERR_DISK_FULL, a file that is not there
 * ERR_ABSENT, the rest ERR_IO.
 * Messages name the path and the system's reason. All of it blocks: not for loops.
 */
#ifndef LIB_BASE_FS_H
#define LIB_BASE_FS_H

#include "lib/base/buf.h"
#include "lib/base/why.h"

#include <stdint.h>
#include <sys/types.h>

/* open(2) with O_CLOEXEC and O_NOFOLLOW added. */
MUST_CHECK enum err fs_open(const char *path, int flags, int *fd, struct why *why);

/* All of BYTES, or an error; what was written before an error stays. NAME is for messages. */
MUST_CHECK enum err fs_write(int fd, struct slice bytes, const char *name, struct why *why);
MUST_CHECK enum err fs_write_at(int fd, struct slice bytes, uint64_t at, const char *name,
                                struct why *why);
/* Up to SIZE bytes; *GOT is less only at the end of the file. */
MUST_CHECK enum err fs_read_at(int fd, void *bytes, size_t size, uint64_t at, size_t *got,
                               const char *name, struct why *why);

/* fdatasync(2). After an error the file's state is unknown: do not sync again and hope. */
MUST_CHECK enum err fs_sync(int fd, const char *name, struct why *why);
MUST_CHECK enum err fs_sync_dir(const char *dir, struct why *why);
MUST_CHECK enum err fs_truncate(int fd, uint64_t size, const char *name, struct why *why);

/* PATH holds BYTES afterwards, or what it held before, whatever happens: a temporary file beside
 * it, synced, renamed, the folder synced. */
MUST_CHECK enum err fs_replace(const char *path, struct slice bytes, struct why *why);
/* Rename and sync the folder of TO. */
MUST_CHECK enum err fs_rename(const char *from, const char *to, struct why *why);
/* It is no error when there is nothing to remove. The folder is not synced. */
MUST_CHECK enum err fs_remove(const char *path, struct why *why);

/* The whole file, appended to OUT; ERR_LIMIT when it has more than LIMIT bytes. A regular file
 * only. */
MUST_CHECK enum err fs_read_file(const char *path, size_t limit, struct buf *out, struct why *why);
MUST_CHECK enum err fs_size(const char *path, uint64_t *size, struct why *why);

/* The folder and its parents, as far as they are missing. */
MUST_CHECK enum err fs_make_dirs(const char *dir, struct why *why);

/* Bytes that we may still write in DIR's file system. */
MUST_CHECK enum err fs_free_bytes(const char *dir, uint64_t *bytes, struct why *why);

/* ERRNO as one of our codes. */
enum err fs_err(int error);

#endif
