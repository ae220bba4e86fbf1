/* oom.c -- the process's place in the kernel's list of victims. See oom.h. */
#include "server/oom.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OOM_FILE "/proc/self/oom_score_adj"
#define KERNEL_MAX 1000
#define VALUE_MAX 2000

/* One in a process, as the file is. */
static struct {
    bool is_ours; /* we have written it; `base` is what was there before */
    int64_t base, written;
} score;

static bool read_score(int64_t *value) {
    char text[32] = "";
    int fd = open(OOM_FILE, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    if (size <= 0) return false;
    *value = strtol(text, NULL, 10);
    return true;
}

static bool write_score(int64_t value) {
    char text[32];
    int size = snprintf(text, sizeof text, "%lld\n", (long long)value);
    int fd = open(OOM_FILE, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write(fd, text, (size_t)size) == size;
    if (fd >= 0) close(fd);
    return good;
}

static enum err fail(struct why *why) {
    return why_set(why, ERR_IO,
                   "Failed to apply new oom_score_adj configuration: " OOM_FILE ": %s",
                   strerror(errno));
}

static int64_t clamp(int64_t value) {
    if (value > KERNEL_MAX) return KERNEL_MAX;
    return value < -KERNEL_MAX ? -KERNEL_MAX : value;
}

static enum err give_back(struct why *why) {
    if (!score.is_ours) return OK;
    if (!write_score(score.base)) return fail(why);
    score.is_ours = false;
    return OK;
}

enum err oom_apply(struct engine *engine, struct why *why) {
    const struct settings *s = &engine->settings;
    if (s->oom_score_adj == OOM_NO) return give_back(why);
    if (!score.is_ours && !read_score(&score.base)) return fail(why);
    int64_t wanted = s->oom_score_adj_values[engine->role == ROLE_REPLICA];
    if (s->oom_score_adj != OOM_ABSOLUTE) wanted += score.base;
    wanted = clamp(wanted);
    if (score.is_ours && score.written == wanted) return OK;
    if (!write_score(wanted)) return fail(why);
    score.is_ours = true;
    score.written = wanted;
    return OK;
}

void oom_role_changed(struct engine *engine) {
    struct why why;
    if (oom_apply(engine, &why) != OK) engine_log(engine, '#', "%s", why.text);
}

enum err oom_read_values(struct engine *engine, int argc, const struct slice *argv,
                         struct why *why) {
    int64_t values[OOM_VALUES];
    if (argc != OOM_VALUES) return why_set(why, ERR_CONFIG, "wrong number of arguments");
    for (int i = 0; i < OOM_VALUES; i++)
        if (!slice_to_int(argv[i], &values[i]) || values[i] < -VALUE_MAX || values[i] > VALUE_MAX)
            return why_set(why, ERR_CONFIG,
                           "Invalid oom-score-adj-values, elements must be between -2000 and 2000");
    memcpy(engine->settings.oom_score_adj_values, values, sizeof values);
    return OK;
}

void oom_write_values(struct engine *engine, struct buf *out) {
    const int64_t *values = engine->settings.oom_score_adj_values;
    buf_printf(out, "%lld %lld %lld", (long long)values[0], (long long)values[1],
               (long long)values[2]);
}
