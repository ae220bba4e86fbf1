/* spool_files.c -- the files of a spool. See spool_files.h. */
#include "syncer/spool_files.h"

#include "lib/base/fault.h"
#include "lib/base/mem.h"
#include "syncer/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void spool_segments_clear(struct spool_segments *segments) {
    mem_free(segments->at);
    *segments = (struct spool_segments){0};
}

void spool_segments_add(struct spool_segments *segments, uint64_t start) {
    if (segments->count == segments->room) {
        segments->room = segments->room ? segments->room * 2 : 16;
        segments->at = mem_realloc(segments->at, segments->room * sizeof *segments->at);
    }
    segments->at[segments->count++] = (struct spool_segment){.start = start};
}

void spool_segments_drop_first(struct spool_segments *segments) {
    ASSERT(segments->count > 0);
    segments->count--;
    memmove(segments->at, segments->at + 1, segments->count * sizeof *segments->at);
}

static int by_start(const void *a, const void *b) {
    const struct spool_segment *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start;
}

/* The names are ours alone: 10 digits, then ".rdb", or "-", 20 digits and ".stream". */
static bool parse_name(const char *name, uint64_t *generation, uint64_t *start, bool *stream) {
    int used = 0;
    if (sscanf(name, "%10" SCNu64 "-%20" SCNu64 ".stream%n", generation, start, &used) == 2 && used == 38 && !name[38]) {
        *stream = true;
        return true;
    }
    used = 0;
    *stream = false;
    return sscanf(name, "%10" SCNu64 ".rdb%n", generation, &used) == 1 && used == 14 && !name[14];
}

static enum err check_order(const struct spool_segments *segments, struct why *why) {
    for (size_t i = 1; i < segments->count; i++)
        if (segments->at[i - 1].start + segments->at[i - 1].bytes != segments->at[i].start)
            return why_set(why, ERR_CORRUPT, "the stream has a gap before offset %" PRIu64, segments->at[i].start);
    return OK;
}

enum err spool_files_list(const char *folder, uint64_t generation, struct spool_segments *segments, struct why *why) {
    DIR *dir = opendir(folder);
    if (!dir) return why_set(why, ERR_IO, "open folder %s: %s", folder, strerror(errno));
    for (struct dirent *entry; (entry = readdir(dir));) {
        uint64_t file_generation = 0, start = 0;
        bool stream = false;
        struct stat st;
        if (!parse_name(entry->d_name, &file_generation, &start, &stream)) continue;
        if (!stream || file_generation != generation) continue;
        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)) continue;
        spool_segments_add(segments, start);
        segments->at[segments->count - 1].bytes = (uint64_t)st.st_size;
    }
    closedir(dir);
    if (segments->count) qsort(segments->at, segments->count, sizeof *segments->at, by_start);
    return check_order(segments, why);
}

static void name_segment(char *path, size_t size, const char *folder, uint64_t generation, uint64_t start) {
    snprintf(path, size, "%s/%010" PRIu64 "-%020" PRIu64 ".stream", folder, generation, start);
}

enum err spool_files_cut(const char *folder, uint64_t generation, struct spool_segments *segments, uint64_t offset,
                         struct why *why) {
    char path[4352];
    while (segments->count > 0) {
        struct spool_segment *last = &segments->at[segments->count - 1];
        if (last->start + last->bytes <= offset) break;
        name_segment(path, sizeof path, folder, generation, last->start);
        if (last->start >= offset) {
            disk_remove(path);
            segments->count--;
            continue;
        }
        if (truncate(path, (off_t)(offset - last->start)) != 0)
            return why_set(why, ERR_IO, "truncate %s: %s", path, strerror(errno));
        last->bytes = offset - last->start;
    }
    return OK;
}

void spool_files_remove_others(const char *folder, uint64_t generation, bool keep) {
    DIR *dir = opendir(folder);
    if (!dir) return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        uint64_t file_generation = 0, start = 0;
        bool stream = false;
        if (!parse_name(entry->d_name, &file_generation, &start, &stream)) continue;
        if (file_generation == generation && keep) continue;
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    }
    closedir(dir);
}

struct mark {
    uint64_t generation, offset, check;
};

static uint64_t check_of(uint64_t generation, uint64_t offset) {
    return (generation * UINT64_C(0x9e3779b97f4a7c15)) ^ ~offset;
}

enum err spool_mark_write(int fd, uint64_t generation, uint64_t offset, struct why *why) {
    struct mark mark = {generation, offset, check_of(generation, offset)};
    if (fault_now(FAULT_WRITE)) return why_set(why, ERR_DISK_FULL, "write the mark: no space left");
    if (pwrite(fd, &mark, sizeof mark, 0) == (ssize_t)sizeof mark) return OK;
    return why_set(why, errno == ENOSPC ? ERR_DISK_FULL : ERR_IO, "write the mark: %s", strerror(errno));
}

bool spool_mark_read(int fd, uint64_t generation, uint64_t *offset) {
    struct mark mark;
    if (pread(fd, &mark, sizeof mark, 0) != (ssize_t)sizeof mark) return false;
    if (mark.generation != generation || mark.check != check_of(generation, mark.offset)) return false;
    *offset = mark.offset;
    return true;
}
