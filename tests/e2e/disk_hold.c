/* disk_hold.c -- a shared object to preload: a disk that stands still, for as long as a test wants.
 *
 *     LD_PRELOAD=disk_hold.so DISK_HOLD_BELOW=FOLDER program ...
 *
 * While FOLDER.hold is there, calls that change files below FOLDER and whose path has the text in it that
 * the file holds do not return: "incr.aof" holds those of the AOF, "" all. With "CALL TEXT" only that call:
 * write, fsync, rename. "TEXT$" is what the path ends with. The name of each call that is held is appended to FOLDER.held, with the number of
 * the thread that makes it; the process is FOLDER's, and its first thread the engine.
 * Held: open to create, write, pwrite, fsync, fdatasync, ftruncate, rename, unlink.
 * Compiled by the test that uses it: cc -shared -fPIC disk_hold.c -o disk_hold.so
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static char below[PATH_MAX / 2], hold[PATH_MAX], held[PATH_MAX];

static void *next_of(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

__attribute__((constructor)) static void start(void) {
    const char *folder = getenv("DISK_HOLD_BELOW");
    char full[PATH_MAX];
    if (folder == NULL || realpath(folder, full) == NULL || strlen(full) >= sizeof below) return;
    strcpy(below, full);
    snprintf(hold, sizeof hold, "%s.hold", below);
    snprintf(held, sizeof held, "%s.held", below);
}

static int is_in(const char *path, const char *part) {
    size_t size = strlen(part), length = strlen(path);
    if (size == 0 || part[size - 1] != '$') return strstr(path, part) != NULL;
    return length >= size - 1 && strncmp(path + length - (size - 1), part, size - 1) == 0;
}

static int is_held(const char *call, const char *path) {
    char text[200] = "", only[16] = "";
    FILE *file = fopen(hold, "r");
    if (file == NULL) return 0;
    size_t got = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[got] = '\0';
    const char *part = text;
    char *space = strchr(text, ' ');
    if (space) {
        snprintf(only, sizeof only, "%.*s", (int)(space - text), text);
        part = space + 1;
    }
    return (!only[0] || strcmp(only, call) == 0) && is_in(path, part);
}

static void note(const char *call, const char *path) {
    char line[PATH_MAX + 100];
    int size = snprintf(line, sizeof line, "%s %s %s\n", call,
                        syscall(SYS_gettid) == getpid() ? "engine" : "thread", path);
    int (*real)(const char *, int, ...);
    *(void **)&real = next_of("open");
    int fd = real(held, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return;
    (void)!syscall(SYS_write, fd, line, (size_t)size);
    close(fd);
}

static void wait_for_release(const char *call, const char *path) {
    if (!is_held(call, path)) return;
    note(call, path);
    while (is_held(call, path)) usleep(2000);
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
        if (flags & O_CREAT && is_ours(path)) wait_for_release("open", path);                      \
        return real(path, flags, mode);                                                            \
    }
OPENS(open)
OPENS(open64)

ssize_t write(int fd, const void *bytes, size_t size) {
    ssize_t (*real)(int, const void *, size_t);
    char path[PATH_MAX];
    *(void **)&real = next_of("write");
    if (ours(fd, path)) wait_for_release("write", path);
    return real(fd, bytes, size);
}

#define PWRITES(name, offset)                                                                      \
    ssize_t name(int fd, const void *bytes, size_t size, offset at) {                              \
        ssize_t (*real)(int, const void *, size_t, offset);                                        \
        char path[PATH_MAX];                                                                       \
        *(void **)&real = next_of(#name);                                                          \
        if (ours(fd, path)) wait_for_release("pwrite", path);                                      \
        return real(fd, bytes, size, at);                                                          \
    }
PWRITES(pwrite, off_t)
PWRITES(pwrite64, off64_t)

#define SYNCS(name)                                                                                \
    int name(int fd) {                                                                             \
        int (*real)(int);                                                                          \
        char path[PATH_MAX];                                                                       \
        *(void **)&real = next_of(#name);                                                          \
        if (ours(fd, path)) wait_for_release("fsync", path);                                       \
        return real(fd);                                                                           \
    }
SYNCS(fsync)
SYNCS(fdatasync)

#define TRUNCATES(name, offset)                                                                    \
    int name(int fd, offset size) {                                                                \
        int (*real)(int, offset);                                                                  \
        char path[PATH_MAX];                                                                       \
        *(void **)&real = next_of(#name);                                                          \
        if (ours(fd, path)) wait_for_release("ftruncate", path);                                   \
        return real(fd, size);                                                                     \
    }
TRUNCATES(ftruncate, off_t)
TRUNCATES(ftruncate64, off64_t)

int rename(const char *from, const char *to) {
    int (*real)(const char *, const char *);
    *(void **)&real = next_of("rename");
    if (is_ours(to)) wait_for_release("rename", to);
    return real(from, to);
}

int unlink(const char *path) {
    int (*real)(const char *);
    *(void **)&real = next_of("unlink");
    if (is_ours(path)) wait_for_release("unlink", path);
    return real(path);
}
