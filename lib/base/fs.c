/* fs.c -- files with care. See fs.h. */
#include "lib/base/fs.h"

#include "lib/base/fault.h"
#include "lib/base/rand.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define WRITE_BYTES_MAX (1u << 30) /* the kernel takes less than 2 GiB at once */

enum err fs_err(int error) {
    switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return ERR_DISK_FULL;
    case ENOENT: return ERR_ABSENT;
    case EEXIST: return ERR_EXISTS;
    case ENOMEM: return ERR_NOMEM;
    default: return ERR_IO;
    }
}

static enum err fail(const char *doing, const char *name, int error, struct why *why) {
    const char *reason = strerror(error);
    if (error == ELOOP) reason = "a symbolic link, which is not followed";
    return why_set(why, fs_err(error), "%s %s: %s", doing, name, reason);
}

enum err fs_open(const char *path, int flags, int *fd, struct why *why) {
    int opened = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (opened < 0) return fail("open", path, errno, why);
    *fd = opened;
    return OK;
}

/* pwrite(2) or, with AT NULL, write(2), until all is written. */
static enum err write_all(int fd, struct slice bytes, const uint64_t *at, const char *name,
                          struct why *why) {
    if (fault_now(FAULT_WRITE)) {
        /* As a disk that fills up: a part is written, then no more. */
        if (bytes.size > 1) {
            ssize_t part = at ? pwrite(fd, bytes.data, bytes.size / 2, (off_t)*at)
                              : write(fd, bytes.data, bytes.size / 2);
            (void)part;
        }
        return fail("write", name, ENOSPC, why);
    }
    uint64_t done = 0;
    while (bytes.size) {
        size_t size = bytes.size < WRITE_BYTES_MAX ? bytes.size : WRITE_BYTES_MAX;
        ssize_t wrote =
            at ? pwrite(fd, bytes.data, size, (off_t)(*at + done)) : write(fd, bytes.data, size);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return fail("write", name, errno, why);
        done += (uint64_t)wrote;
        bytes = slice_drop(bytes, (size_t)wrote);
    }
    return OK;
}

enum err fs_write(int fd, struct slice bytes, const char *name, struct why *why) {
    return write_all(fd, bytes, NULL, name, why);
}

enum err fs_write_at(int fd, struct slice bytes, uint64_t at, const char *name, struct why *why) {
    ASSERT(at <= INT64_MAX - bytes.size);
    return write_all(fd, bytes, &at, name, why);
}

enum err fs_read_at(int fd, void *bytes, size_t size, uint64_t at, size_t *got, const char *name,
                    struct why *why) {
    ASSERT(at <= INT64_MAX - size);
    size_t done = 0;
    while (done < size) {
        ssize_t read_now = pread(fd, (uint8_t *)bytes + done, size - done, (off_t)(at + done));
        if (read_now < 0 && errno == EINTR) continue;
        if (read_now < 0) return fail("read", name, errno, why);
        if (read_now == 0) break;
        done += (size_t)read_now;
    }
    *got = done;
    return OK;
}

enum err fs_sync(int fd, const char *name, struct why *why) {
    if (fault_now(FAULT_SYNC)) return fail("sync", name, EIO, why);
    if (fdatasync(fd) != 0) return fail("sync", name, errno, why);
    return OK;
}

enum err fs_sync_dir(const char *dir, struct why *why) {
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail("open folder", dir, errno, why);
    enum err err = OK;
    if (fault_now(FAULT_SYNC))
        err = fail("sync folder", dir, EIO, why);
    else if (fsync(fd) != 0)
        err = fail("sync folder", dir, errno, why);
    close(fd);
    return err;
}

enum err fs_truncate(int fd, uint64_t size, const char *name, struct why *why) {
    ASSERT(size <= INT64_MAX);
    if (fault_now(FAULT_WRITE)) return fail("truncate", name, EIO, why);
    if (ftruncate(fd, (off_t)size) != 0) return fail("truncate", name, errno, why);
    return OK;
}

/* The folder of PATH, "." when it names none. */
static enum err folder_of(const char *path, char dir[PATH_MAX], struct why *why) {
    const char *slash = strrchr(path, '/');
    size_t size = slash ? (size_t)(slash - path) : 1;
    if (size >= PATH_MAX) return fail("open", path, ENAMETOOLONG, why);
    if (slash == NULL)
        memcpy(dir, ".", 2);
    else if (size == 0)
        memcpy(dir, "/", 2);
    else {
        memcpy(dir, path, size);
        dir[size] = '\0';
    }
    return OK;
}

enum err fs_rename(const char *from, const char *to, struct why *why) {
    char dir[PATH_MAX];
    enum err err = folder_of(to, dir, why);
    if (err) return err;
    if (fault_now(FAULT_WRITE)) return fail("rename to", to, EIO, why);
    if (rename(from, to) != 0) return fail("rename to", to, errno, why);
    return fs_sync_dir(dir, why);
}

enum err fs_replace(const char *path, struct slice bytes, struct why *why) {
    char temporary[PATH_MAX], id[41];
    rand_hex40(id);
    int size = snprintf(temporary, sizeof temporary, "%s.%.8s.tmp", path, id);
    if (size < 0 || (size_t)size >= sizeof temporary) return fail("write", path, ENAMETOOLONG, why);
    int fd = -1;
    enum err err = fs_open(temporary, O_WRONLY | O_CREAT | O_EXCL, &fd, why);
    if (err) return err;
    err = fs_write(fd, bytes, path, why);
    if (err == OK) err = fs_sync(fd, path, why);
    close(fd);
    if (err == OK) err = fs_rename(temporary, path, why);
    if (err) unlink(temporary); /* gone already when only the folder's sync failed */
    return err;
}

enum err fs_remove(const char *path, struct why *why) {
    if (unlink(path) != 0 && errno != ENOENT) return fail("remove", path, errno, why);
    return OK;
}

static enum err read_all(int fd, const char *path, size_t limit, struct buf *out, struct why *why) {
    struct stat info;
    if (fstat(fd, &info) != 0) return fail("read", path, errno, why);
    if (!S_ISREG(info.st_mode)) return why_set(why, ERR_IO, "read %s: not a regular file", path);
    size_t before = buf_size(out), got = 0;
    for (;;) {
        size_t left = limit - (buf_size(out) - before);
        size_t want = left < 65536 ? left + 1 : 65536;
        ssize_t read_now = read(fd, buf_room(out, want), want);
        if (read_now < 0 && errno == EINTR) continue;
        if (read_now < 0) return fail("read", path, errno, why);
        if (read_now == 0) return OK;
        buf_filled(out, (size_t)read_now);
        got += (size_t)read_now;
        if (got > limit)
            return why_set(why, ERR_LIMIT, "read %s: it has more than %zu bytes", path, limit);
    }
}

enum err fs_read_file(const char *path, size_t limit, struct buf *out, struct why *why) {
    int fd = -1;
    enum err err = fs_open(path, O_RDONLY | O_NONBLOCK, &fd, why);
    if (err) return err;
    struct buf read_bytes = {0};
    err = read_all(fd, path, limit, &read_bytes, why);
    close(fd);
    if (err == OK) buf_add(out, buf_slice(&read_bytes));
    buf_close(&read_bytes);
    return err;
}

enum err fs_size(const char *path, uint64_t *size, struct why *why) {
    struct stat info;
    if (lstat(path, &info) != 0) return fail("look at", path, errno, why);
    if (!S_ISREG(info.st_mode)) return why_set(why, ERR_IO, "%s: not a regular file", path);
    *size = (uint64_t)info.st_size;
    return OK;
}

enum err fs_make_dirs(const char *dir, struct why *why) {
    char path[PATH_MAX];
    size_t size = strlen(dir);
    if (size == 0 || size >= sizeof path) return fail("make folder", dir, ENAMETOOLONG, why);
    memcpy(path, dir, size + 1);
    for (size_t at = 1; at <= size; at++) {
        if (path[at] != '/' && path[at] != '\0') continue;
        char was = path[at];
        path[at] = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST) return fail("make folder", path, errno, why);
        path[at] = was;
    }
    struct stat info;
    if (stat(dir, &info) != 0) return fail("make folder", dir, errno, why);
    if (!S_ISDIR(info.st_mode)) return fail("make folder", dir, ENOTDIR, why);
    return OK;
}

enum err fs_free_bytes(const char *dir, uint64_t *bytes, struct why *why) {
    struct statvfs info;
    if (statvfs(dir, &info) != 0) return fail("look at", dir, errno, why);
    *bytes = (uint64_t)info.f_bavail * (uint64_t)info.f_frsize;
    return OK;
}
