/* disk_log.c -- a shared object to preload: writes down every change of files below a folder, and every
 * sync, in the order in which they were done, so that a test can ask what a power cut would have left.
 *
 *     LD_PRELOAD=disk_log.so DISK_LOG=FILE DISK_LOG_BELOW=FOLDER program ...
 *
 * FILE gets records: a header of five numbers of eight bytes (kind, file, offset, size, 0), then SIZE
 * bytes. A file is known by its inode; OPEN, RENAME and UNLINK carry paths. A record stands in the log
 * before the call that it is about is made (syncs: after), so that what an answer rests on is above it.
 * Compiled by the test that uses it: cc -shared -fPIC disk_log.c -o disk_log.so
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { RECORD_OPEN = 1, RECORD_WRITE, RECORD_SYNC, RECORD_TRUNCATE, RECORD_RENAME, RECORD_UNLINK, RECORD_SYNC_DIR };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;
static char below[PATH_MAX];
static ssize_t (*real_write)(int, const void *, size_t);

static void *next_of(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("DISK_LOG"), *folder = getenv("DISK_LOG_BELOW");
    *(void **)&real_write = next_of("write");
    if (path == NULL || folder == NULL || realpath(folder, below) == NULL) return;
    int (*real_open)(const char *, int, ...);
    *(void **)&real_open = next_of("open");
    log_fd = real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void record(uint64_t kind, uint64_t file, uint64_t offset, const void *bytes, size_t size) {
    uint64_t head[5] = {kind, file, offset, size, 0};
    if (log_fd < 0) return;
    pthread_mutex_lock(&lock);
    if (real_write(log_fd, head, sizeof head) < 0 || (size && real_write(log_fd, bytes, size) < 0)) abort();
    pthread_mutex_unlock(&lock);
}

/* The inode of a regular file below the folder; 0: none of ours. */
static uint64_t file_of(int fd) {
    char link[40], path[PATH_MAX];
    struct stat info;
    if (log_fd < 0 || fd == log_fd || fstat(fd, &info) || !S_ISREG(info.st_mode)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size <= 0) return 0;
    path[size] = '\0';
    return strncmp(path, below, strlen(below)) == 0 ? info.st_ino : 0;
}

static void absolute(const char *path, char out[PATH_MAX]) {
    char cwd[PATH_MAX] = "";
    if (path[0] == '/' || getcwd(cwd, sizeof cwd) == NULL)
        snprintf(out, PATH_MAX, "%s", path);
    else
        snprintf(out, PATH_MAX, "%.2000s/%.2000s", cwd, path);
}

static int note_open(int fd, const char *path, int flags) {
    char full[PATH_MAX];
    uint64_t file = fd >= 0 && (flags & (O_CREAT | O_TRUNC)) ? file_of(fd) : 0;
    if (file == 0) return fd;
    absolute(path, full);
    record(RECORD_OPEN, file, (flags & O_TRUNC) != 0, full, strlen(full));
    return fd;
}

int open(const char *path, int flags, ...) {
    int (*real)(const char *, int, ...);
    *(void **)&real = next_of("open");
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return note_open(real(path, flags, mode), path, flags);
}

int open64(const char *path, int flags, ...) {
    int (*real)(const char *, int, ...);
    *(void **)&real = next_of("open64");
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return note_open(real(path, flags, mode), path, flags);
}

ssize_t write(int fd, const void *bytes, size_t size) {
    uint64_t file = real_write && size ? file_of(fd) : 0;
    if (file) {
        struct stat info;
        int appends = fcntl(fd, F_GETFL) & O_APPEND;
        off_t at = lseek(fd, 0, SEEK_CUR);
        if (appends && fstat(fd, &info) == 0) at = info.st_size;
        record(RECORD_WRITE, file, (uint64_t)at, bytes, size);
    }
    if (real_write == NULL) *(void **)&real_write = next_of("write");
    return real_write(fd, bytes, size);
}

static ssize_t write_at(const char *name, int fd, const void *bytes, size_t size, off_t at) {
    ssize_t (*real)(int, const void *, size_t, off_t);
    *(void **)&real = next_of(name);
    uint64_t file = size ? file_of(fd) : 0;
    if (file) record(RECORD_WRITE, file, (uint64_t)at, bytes, size);
    return real(fd, bytes, size, at);
}
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
    return write_at("pwrite", fd, bytes, size, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
    return write_at("pwrite64", fd, bytes, size, at);
}

static int note_sync(const char *name, int fd) {
    int (*real)(int);
    *(void **)&real = next_of(name);
    struct stat info;
    uint64_t file = file_of(fd);
    int is_dir = log_fd >= 0 && fstat(fd, &info) == 0 && S_ISDIR(info.st_mode);
    int result = real(fd);
    if (result == 0 && file) record(RECORD_SYNC, file, 0, NULL, 0);
    if (result == 0 && is_dir) record(RECORD_SYNC_DIR, info.st_ino, 0, NULL, 0);
    return result;
}
int fsync(int fd) {
    return note_sync("fsync", fd);
}
int fdatasync(int fd) {
    return note_sync("fdatasync", fd);
}

static int cut(const char *name, int fd, off_t size) {
    int (*real)(int, off_t);
    *(void **)&real = next_of(name);
    uint64_t file = file_of(fd);
    if (file) record(RECORD_TRUNCATE, file, (uint64_t)size, NULL, 0);
    return real(fd, size);
}
int ftruncate(int fd, off_t size) {
    return cut("ftruncate", fd, size);
}
int ftruncate64(int fd, off64_t size) {
    return cut("ftruncate64", fd, size);
}

int rename(const char *from, const char *to) {
    int (*real)(const char *, const char *);
    *(void **)&real = next_of("rename");
    char both[2 * PATH_MAX], a[PATH_MAX], b[PATH_MAX];
    absolute(from, a);
    absolute(to, b);
    int size = snprintf(both, sizeof both, "%s\n%s", a, b);
    record(RECORD_RENAME, 0, 0, both, (size_t)size);
    return real(from, to);
}

int unlink(const char *path) {
    int (*real)(const char *);
    *(void **)&real = next_of("unlink");
    char full[PATH_MAX];
    absolute(path, full);
    record(RECORD_UNLINK, 0, 0, full, strlen(full));
    return real(path);
}
