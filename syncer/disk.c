/* disk.c -- what links do with files beyond lib/base/fs.h. See disk.h. */
#include "syncer/disk.h"

#include "lib/base/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err open_file(const char *path, int flags, int *fd, uint64_t *size, struct why *why) {
    struct stat st;
    int file = -1;
    enum err err = fs_open(path, flags, &file, why);
    if (err != OK) return err;
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
        ssize_t n = -1;
        errno = ENOSPC;
        if (!fault_now(FAULT_WRITE)) n = write(fd, bytes.data + *written, bytes.size - *written);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return why_set(why, fs_err(errno), "write: %s", strerror(errno));
        *written += (size_t)n;
    }
    return OK;
}

void disk_remove(const char *path) { (void)unlink(path); }

static void remove_files(const char *folder, const char *ending) {
    DIR *dir = opendir(folder);
    size_t size = strlen(ending);
    if (!dir) return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        size_t length = strlen(entry->d_name);
        if (entry->d_name[0] != '.' && length > size && strcmp(entry->d_name + length - size, ending) == 0)
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    }
    closedir(dir);
}

void disk_remove_folder(const char *path) {
    remove_files(path, "");
    (void)rmdir(path);
}

void disk_sweep(const char *folder) { remove_files(folder, ".tmp"); }

void disk_boot_id(char text[40]) {
    size_t got = 0;
    struct why why;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fs_read_at(fd, text, 36, 0, &got, "boot_id", &why) != OK || got != 36) {
        memcpy(text, "unknown", 8);
    } else {
        text[36] = '\0';
    }
    if (fd >= 0) close(fd);
}
