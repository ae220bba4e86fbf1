/* disk_fail.c -- a shared object to preload: the n-th call that changes a file below a folder fails with
 * EIO, once.
 *
 *     LD_PRELOAD=disk_fail.so DISK_FAIL_BELOW=FOLDER program ...
 *
 * The count begins when FOLDER.arm is there, which holds n, and perhaps the name of a call: then only
 * those are counted ("any": all). When it has failed the name of the call stands in FOLDER.fired. With
 * the number of an error behind that name ("1 any 30") it and all that come after it fail so, until
 * FOLDER.arm is gone; then all may begin again. Counted: open to create, write, pwrite, fsync, fdatasync, ftruncate, rename.
 * Compiled by the test that uses it: cc -shared -fPIC disk_fail.c -o disk_fail.so
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char below[PATH_MAX / 2], arm[PATH_MAX], fired_at[PATH_MAX];
static char only[16]; /* empty: all */
static long left; /* calls until the one that fails; 0: not armed */
static int fired;
static int lasting; /* the error of all calls; 0: one call fails, with EIO */

static void *next_of(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

static void before_fork(void) {
    pthread_mutex_lock(&lock);
}
static void after_fork(void) {
    pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void start(void) {
    pthread_atfork(before_fork, after_fork, after_fork); /* redis-server saves in a child */
    const char *folder = getenv("DISK_FAIL_BELOW");
    char full[PATH_MAX];
    if (folder == NULL || realpath(folder, full) == NULL || strlen(full) >= sizeof below) return;
    strcpy(below, full);
    snprintf(arm, sizeof arm, "%s.arm", below);
    snprintf(fired_at, sizeof fired_at, "%s.fired", below);
}

static void look_for_arm(void) {
    FILE *file = left == 0 && !fired ? fopen(arm, "r") : NULL;
    if (file == NULL) return;
    lasting = 0;
    only[0] = '\0';
    if (fscanf(file, "%ld %15s %d", &left, only, &lasting) < 1) left = 0;
    if (strcmp(only, "any") == 0) only[0] = '\0';
    fclose(file);
}

/* Whether this call is the one. */
static int fails(const char *call, const char *path) {
    int now = 0;
    pthread_mutex_lock(&lock);
    look_for_arm();
    if ((fired || left) && lasting && access(arm, F_OK)) fired = lasting = 0, left = 0; /* well again */
    if (fired && lasting && (!only[0] || strcmp(only, call) == 0)) now = 1;
    if (left > 0 && (!only[0] || strcmp(only, call) == 0) && --left == 0) {
        now = fired = 1;
        FILE *file = fopen(fired_at, "w");
        if (file) fprintf(file, "%s %s\n", call, path), fclose(file);
    }
    pthread_mutex_unlock(&lock);
    if (now) errno = lasting ? lasting : EIO;
    return now;
}

/* The path of a file below the folder, or the folder itself; NULL: none of ours. */
static const char *ours(int fd, char path[PATH_MAX]) {
    char link[40];
    if (!below[0]) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, PATH_MAX - 1);
    if (size <= 0) return NULL;
    path[size] = '\0';
    size_t prefix = strlen(below);
    return strncmp(path, below, prefix) == 0 && (path[prefix] == '/' || !path[prefix]) ? path : NULL;
}

/* The server works in the folder: relative paths are in it. */
static int is_ours(const char *path) {
    return below[0] && (path[0] != '/' || strncmp(path, below, strlen(below)) == 0);
}

#define OPENS(name)                                                                                \
    int name(const char *path, int flags, ...) {                                                   \
        int (*real)(const char *, int, ...);                                                       \
        *(void **)&real = next_of(#name);                                                          \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;                                  \
        va_end(args);                                                                              \
        if (flags & O_CREAT && is_ours(path) && fails("open", path)) return -1;                    \
        return real(path, flags, mode);                                                            \
    }
OPENS(open)
OPENS(open64)

ssize_t write(int fd, const void *bytes, size_t size) {
    ssize_t (*real)(int, const void *, size_t);
    char path[PATH_MAX];
    *(void **)&real = next_of("write");
    if (ours(fd, path) && fails("write", path)) return -1;
    return real(fd, bytes, size);
}

#define PWRITES(name, offset)                                                                      \
    ssize_t name(int fd, const void *bytes, size_t size, offset at) {                              \
        ssize_t (*real)(int, const void *, size_t, offset);                                        \
        char path[PATH_MAX];                                                                       \
        *(void **)&real = next_of(#name);                                                          \
        if (ours(fd, path) && fails("pwrite", path)) return -1;                                    \
        return real(fd, bytes, size, at);                                                          \
    }
PWRITES(pwrite, off_t)
PWRITES(pwrite64, off64_t)

#define SYNCS(name)                                                                                \
    int name(int fd) {                                                                             \
        int (*real)(int);                                                                          \
        char path[PATH_MAX];                                                                       \
        *(void **)&real = next_of(#name);                                                          \
        if (ours(fd, path) && fails("fsync", path)) return -1;                                     \
        return real(fd);                                                                           \
    }
SYNCS(fsync)
SYNCS(fdatasync)

#define TRUNCATES(name, offset)                                                                    \
    int name(int fd, offset size) {                                                                \
        int (*real)(int, offset);                                                                  \
        char path[PATH_MAX];                                                                       \
        *(void **)&real = next_of(#name);                                                          \
        if (ours(fd, path) && fails("ftruncate", path)) return -1;                                 \
        return real(fd, size);                                                                     \
    }
TRUNCATES(ftruncate, off_t)
TRUNCATES(ftruncate64, off64_t)

int rename(const char *from, const char *to) {
    int (*real)(const char *, const char *);
    *(void **)&real = next_of("rename");
    if (is_ours(to) && fails("rename", to)) return -1;
    return real(from, to);
}
