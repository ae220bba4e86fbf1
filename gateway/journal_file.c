/* journal_file.c -- a journal in a mapped file. See journal_file.h. */
#include "gateway/journal_file.h"

#include "lib/base/fs.h"
#include "lib/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#define BOOT_PATH "/proc/sys/kernel/random/boot_id"

enum err journal_boot(char boot[JOURNAL_BOOT_SIZE + 1], struct why *why) {
    char text[JOURNAL_BOOT_SIZE + 1] = "";
    size_t got = 0;
    int fd;
    enum err err = fs_open(BOOT_PATH, O_RDONLY, &fd, why);
    if (err != OK) return why_add(why, err, "which boot this is");
    err = fs_read_at(fd, text, JOURNAL_BOOT_SIZE, 0, &got, BOOT_PATH, why);
    close(fd);
    if (err != OK) return why_add(why, err, "which boot this is");
    if (got != JOURNAL_BOOT_SIZE) return why_set(why, ERR_CORRUPT, "%s is too short", BOOT_PATH);
    memcpy(boot, text, sizeof text);
    return OK;
}

static enum err make_path(char *path, size_t size, const char *folder, const char *name,
                          const char *ending, struct why *why) {
    int length = snprintf(path, size, "%s/%s%s", folder, name, ending);
    if (length < 0 || (size_t)length >= size)
        return why_set(why, ERR_LIMIT, "the path %s/%s is too long", folder, name);
    return OK;
}

static enum err take_lock(struct journal_file *file, const char *folder, const char *name,
                          struct why *why) {
    char path[sizeof file->path];
    enum err err = make_path(path, sizeof path, folder, name, ".lock", why);
    if (err == OK) err = fs_open(path, O_RDWR | O_CREAT, &file->lock_fd, why);
    if (err != OK) return err;
    if (flock(file->lock_fd, LOCK_EX | LOCK_NB) == 0) return OK;
    int error = errno;
    close(file->lock_fd);
    file->lock_fd = -1;
    if (error == EWOULDBLOCK) return why_set(why, ERR_STATE, "%s: another process has it", path);
    return why_set(why, ERR_IO, "lock %s: %s", path, strerror(error));
}

/* Every block now, so that no store can find the disk full. */
static enum err reserve(int fd, size_t size, const char *path, struct why *why) {
    int error;
    do error = posix_fallocate(fd, 0, (off_t)size);
    while (error == EINTR);
    if (error == 0) return OK;
    return why_set(why, fs_err(error), "%zu bytes for %s: %s", size, path, strerror(error));
}

static enum err map_fresh(struct journal_file *file, size_t size, struct why *why) {
    int fd;
    enum err err = fs_remove(file->fresh, why);
    if (err == OK) err = fs_open(file->fresh, O_RDWR | O_CREAT | O_EXCL, &fd, why);
    if (err != OK) return err;
    err = reserve(fd, size, file->fresh, why);
    void *memory = MAP_FAILED;
    if (err == OK) {
        memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (memory == MAP_FAILED)
            err = why_set(why, fs_err(errno), "map %s: %s", file->fresh, strerror(errno));
    }
    close(fd);
    if (err != OK) {
        unlink(file->fresh);
        return err;
    }
    journal_init(&file->journal, memory, size, file->boot);
    return OK;
}

enum err journal_file_open(struct journal_file *file, const char *folder, const char *name,
                           size_t size_bytes, struct why *why) {
    ASSERT(size_bytes >= JOURNAL_SIZE_MIN && size_bytes <= JOURNAL_SIZE_MAX);
    struct journal_file made = {.lock_fd = -1};
    if (strlen(folder) >= sizeof made.folder)
        return why_set(why, ERR_LIMIT, "the folder %s is too long", folder);
    memcpy(made.folder, folder, strlen(folder));
    enum err err = journal_boot(made.boot, why);
    if (err == OK) err = fs_make_dirs(folder, why);
    if (err == OK) err = make_path(made.path, sizeof made.path, folder, name, ".journal", why);
    if (err == OK) err = take_lock(&made, folder, name, why);
    if (err != OK) return why_add(why, err, "journal %s", name);
    snprintf(made.fresh, sizeof made.fresh, "%s.new", made.path);
    err = map_fresh(&made, size_bytes, why);
    if (err != OK) {
        close(made.lock_fd);
        return why_add(why, err, "journal %s", name);
    }
    *file = made;
    return OK;
}

enum journal_found journal_file_read(const struct journal_file *file, const char *name,
                                     const struct journal_reader *reader, struct why *why) {
    char path[sizeof file->path];
    struct buf bytes = {0};
    struct why reason;
    enum err err = make_path(path, sizeof path, file->folder, name, ".journal", &reason);
    if (err == OK) err = fs_read_file(path, JOURNAL_SIZE_MAX, &bytes, &reason);
    if (err == ERR_ABSENT) return JOURNAL_MISSING;
    enum journal_found found = JOURNAL_CORRUPT;
    if (err == OK)
        found = journal_read(buf_slice(&bytes), file->boot, reader);
    else
        *why = reason;
    buf_close(&bytes);
    return found;
}

enum err journal_file_commit(struct journal_file *file, struct why *why) {
    ASSERT(!file->committed);
    if (rename(file->fresh, file->path) != 0)
        return why_set(why, fs_err(errno), "rename %s: %s", file->fresh, strerror(errno));
    file->committed = true;
    return OK;
}

void journal_file_close(struct journal_file *file) {
    munmap(file->journal.memory, file->journal.size);
    journal_close(&file->journal);
    if (!file->committed) unlink(file->fresh);
    close(file->lock_fd);
}

enum err journal_file_remove(const char *folder, const char *name, struct why *why) {
    char path[1024];
    enum err err = make_path(path, sizeof path, folder, name, ".journal", why);
    if (err == OK) err = fs_remove(path, why);
    return err;
}
