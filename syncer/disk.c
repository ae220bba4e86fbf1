/* disk.c -- the few things that links do with files. See disk.h. */
#include "syncer/disk.h"

#include "lib/base/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err failed(struct why *why, int code, const char *what, const char *path) {
    bool full = code == ENOSPC || code == EDQUOT || code == EFBIG;
    return why_set(why, full ? ERR_DISK_FULL : ERR_IO, "%s%s%s: %s", what, *path ? " " : "", path, strerror(code));
}

static int make_one(const char *path) { return mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : -1; }

enum err disk_make_folder(const char *path, struct why *why) {
    char part[PATH_MAX];
    size_t size = strlen(path);
    if (size == 0 || size >= sizeof part) return why_set(why, ERR_CONFIG, "folder '%s': the name is too long", path);
    memcpy(part, path, size + 1);
    for (size_t i = 1; i < size; i++) {
        if (part[i] != '/') continue;
        part[i] = '\0';
        if (make_one(part) != 0) return failed(why, errno, "make folder", part);
        part[i] = '/';
    }
    if (make_one(part) != 0) return failed(why, errno, "make folder", part);
    return OK;
}

static enum err open_file(const char *path, int flags, int *fd, uint64_t *size, struct why *why) {
    struct stat st;
    int file = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) {
        if (errno == ENOENT) return why_set(why, ERR_ABSENT, "open %s: no such file", path);
        return failed(why, errno, "open", path);
    }
    if (fstat(file, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(file);
        return why_set(why, ERR_IO, "open %s: not a plain file", path);
    }
    *fd = file;
    *size = (uint64_t)st.st_size;
    return OK;
}

enum err disk_open_append(const char *path, int *fd, uint64_t *size, struct why *why) {
    return open_file(path, O_RDWR | O_APPEND | O_CREAT, fd, size, why);
}

enum err disk_open_read(const char *path, int *fd, uint64_t *size, struct why *why) {
    return open_file(path, O_RDONLY, fd, size, why);
}

enum err disk_write(int fd, struct slice bytes, size_t *written, struct why *why) {
    *written = 0;
    while (*written < bytes.size) {
        if (fault_now(FAULT_WRITE)) return failed(why, ENOSPC, "write", "");
        ssize_t n = write(fd, bytes.data + *written, bytes.size - *written);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed(why, errno, "write", "");
        *written += (size_t)n;
    }
    return OK;
}

enum err disk_read(int fd, uint64_t offset, void *data, size_t size, size_t *got, struct why *why) {
    size_t total = 0;
    while (total < size) {
        ssize_t n = pread(fd, (uint8_t *)data + total, size - total, (off_t)(offset + total));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed(why, errno, "read", "");
        if (n == 0) break;
        total += (size_t)n;
    }
    *got = total;
    return OK;
}

enum err disk_sync(int fd, struct why *why) {
    if (fault_now(FAULT_SYNC)) return failed(why, EIO, "sync", "");
    return fdatasync(fd) == 0 ? OK : failed(why, errno, "sync", "");
}

enum err disk_sync_folder(const char *path, struct why *why) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return failed(why, errno, "open folder", path);
    enum err err = fault_now(FAULT_SYNC) ? failed(why, EIO, "sync folder", path)
                   : fsync(fd) == 0      ? OK
                                         : failed(why, errno, "sync folder", path);
    close(fd);
    return err;
}

static enum err sync_parent(const char *path, struct why *why) {
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path) return OK;
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
    return disk_sync_folder(folder, why);
}

enum err disk_replace(const char *path, struct slice content, struct why *why) {
    char other[PATH_MAX];
    size_t written = 0;
    if (snprintf(other, sizeof other, "%s.new", path) >= (int)sizeof other)
        return why_set(why, ERR_CONFIG, "the name %s is too long", path);
    int fd = open(other, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return failed(why, errno, "open", other);
    enum err err = disk_write(fd, content, &written, why);
    if (err == OK) err = disk_sync(fd, why);
    close(fd);
    if (err == OK && rename(other, path) != 0) err = failed(why, errno, "rename to", path);
    if (err == OK) return sync_parent(path, why);
    unlink(other);
    return why_add(why, err, "replace %s", path);
}

enum err disk_load(const char *path, size_t limit, struct buf *content, struct why *why) {
    int fd = -1;
    uint64_t size = 0;
    size_t got = 0;
    enum err err = disk_open_read(path, &fd, &size, why);
    if (err != OK) return err;
    if (size > limit) err = why_set(why, ERR_CORRUPT, "%s has more than %zu bytes", path, limit);
    if (err == OK && size > 0) {
        err = disk_read(fd, 0, buf_room(content, (size_t)size), (size_t)size, &got, why);
        if (err == OK) buf_filled(content, got);
    }
    close(fd);
    return err;
}

void disk_remove(const char *path) { (void)unlink(path); }

void disk_remove_folder(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) return;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.') (void)unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    (void)rmdir(path);
}

void disk_boot_id(char text[40]) {
    size_t got = 0;
    struct why why;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || disk_read(fd, 0, text, 36, &got, &why) != OK || got != 36) {
        memcpy(text, "unknown", 8);
    } else {
        text[36] = '\0';
    }
    if (fd >= 0) close(fd);
}
