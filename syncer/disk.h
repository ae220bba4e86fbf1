/* disk.h -- what links do with files beyond lib/base/fs.h: logs that grow, folders of their own.
 *
 * Errors as fs.h has them. Nothing here follows a symbolic link; files are made with mode 0600.
 */
#ifndef SYNCER_DISK_H
#define SYNCER_DISK_H

#include "lib/base/fs.h"

/* Open PATH for appending, made if it is missing; a plain file only. *SIZE is its length in bytes. */
MUST_CHECK enum err disk_open_append(const char *path, int *fd, uint64_t *size, struct why *why);
MUST_CHECK enum err disk_open_read(const char *path, int *fd, uint64_t *size, struct why *why);

/* Append BYTES; where fs_write() leaves open how much of them went in before an error, *WRITTEN bytes
 * are in the file. */
MUST_CHECK enum err disk_write(int fd, struct slice bytes, size_t *written, struct why *why);

/* Remove PATH, of which nobody needs to know whether it was there. */
void disk_remove(const char *path);

/* Remove the folder PATH and the plain files in it (no sub-folders). */
void disk_remove_folder(const char *path);

/* Remove what fs_replace() left in FOLDER when its process died. Nobody else may be writing there. */
void disk_sweep(const char *folder);

/* What the kernel calls this boot (36 characters), or "unknown". */
void disk_boot_id(char text[40]);

#endif
