/* snapshot.c -- a point in time by fork: the child encodes, the parent relays. See snapshot.h.
 *
 *     parent  <-- pipe: RDB bytes (batches), or nothing (a file) --  child
 *             <-- exit code; what went wrong stands in the pipe `words` --
 */
#include "server/snapshot.h"

#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "lib/redis/rdb_write.h"
#include "server/persistence.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCH_BYTES ((size_t)64 * 1024)
#define PIPE_BYTES (1 << 20)
#define CHILD_DATA_FD 3
#define CHILD_WORDS_FD 4

struct snapshot {
    struct snapshot *next; /* all that are under way */
    struct engine *engine;
    struct snapshot_want want; /* path: owned copy */
    pid_t child;
    uv_poll_t poll, words_poll; /* of the two pipes' read ends */
    uv_timer_t reaper;          /* asks for the exit code while the child takes its time to die */
    int data_fd, words_fd;
    int handles; /* not closed yet; freed at 0 */
    bool wants, data_ended, words_ended, is_over;
    struct buf words;
};

static struct snapshot *running; /* of the engine; there is one engine in a process */

unsigned snapshots_active(const struct engine *engine) {
    unsigned count = 0;
    for (struct snapshot *s = running; s; s = s->next) count += s->engine == engine;
    return count;
}

/* ---- the child ---- */

struct pipe_sink {
    struct rdb_sink sink;
};

static enum err write_to_pipe(struct rdb_sink *sink, struct slice bytes, struct why *why) {
    (void)sink;
    return fs_write(CHILD_DATA_FD, bytes, "pipe", why);
}

/* Nothing of the parent's stays open: a connection that the parent closes must be seen to close. */
static void child_keep_two(int data_fd, int words_fd) {
    int data = fcntl(data_fd, F_DUPFD, 10), words = fcntl(words_fd, F_DUPFD, 10);
    if (data < 0 || words < 0 || dup2(data, CHILD_DATA_FD) < 0 || dup2(words, CHILD_WORDS_FD) < 0)
        _exit(2);
    (void)close_range(CHILD_WORDS_FD + 1, ~0u, 0);
}

static _Noreturn void child_run(struct snapshot *s, const struct rdb_save_options *options,
                                int data_fd, int words_fd) {
    (void)prctl(PR_SET_PDEATHSIG,
                SIGKILL); /* nobody would read what a child of a dead parent makes */
    child_keep_two(data_fd, words_fd);
    (void)signal(SIGINT, SIG_IGN); /* the parent decides when it is over */
    (void)signal(SIGTERM, SIG_DFL);
    struct pipe_sink sink = {.sink.write = write_to_pipe};
    struct why why = {""};
    enum err err = s->want.path ? rdb_save_file(s->engine, s->want.path, options, &why)
                                : rdb_save_to(s->engine, &sink.sink, options, &why);
    if (err && write(CHILD_WORDS_FD, why.text, strlen(why.text)) < 0) _exit(2);
    _exit(err ? 1 : 0);
}

/* ---- the parent ---- */

static void handle_closed(uv_handle_t *handle) {
    struct snapshot *s = handle->data;
    if (--s->handles > 0) return;
    close(s->data_fd);
    close(s->words_fd);
    buf_close(&s->words);
    mem_free((void *)(uintptr_t)s->want.path);
    mem_free(s);
}

static void let_go(struct snapshot *s) {
    for (struct snapshot **at = &running; *at; at = &(*at)->next)
        if (*at == s) {
            *at = s->next;
            break;
        }
    s->is_over = true;
    uv_close((uv_handle_t *)&s->poll, handle_closed);
    uv_close((uv_handle_t *)&s->words_poll, handle_closed);
    uv_close((uv_handle_t *)&s->reaper, handle_closed);
}

/* True when the child is gone; *STATUS is its end. */
static bool reap(struct snapshot *s, int *status) {
    pid_t got = waitpid(s->child, status, WNOHANG);
    if (got < 0 && errno == EINTR) return false;
    if (got < 0) *status = -1;
    return got != 0;
}

static void check_end(uv_timer_t *timer) {
    struct snapshot *s = timer->data;
    int status;
    if (!reap(s, &status)) {
        (void)uv_timer_start(&s->reaper, check_end, 5, 0);
        return;
    }
    bool good = status == 0;
    const char *words =
        buf_size(&s->words) ? buf_text(&s->words) : "the process that writes it died";
    let_go(s);
    s->want.ended(s->want.owner, good ? OK : ERR_IO, good ? "" : words);
}

static void pipe_ended(struct snapshot *s, bool *which, uv_poll_t *poll) {
    *which = true;
    (void)uv_poll_stop(poll);
    if (s->data_ended && s->words_ended) (void)uv_timer_start(&s->reaper, check_end, 0, 0);
}

static void words_readable(uv_poll_t *poll, int status, int events) {
    struct snapshot *s = poll->data;
    (void)events;
    ssize_t got = status < 0 ? 0 : read(s->words_fd, buf_room(&s->words, 512), 512);
    if (got > 0)
        buf_filled(&s->words, (size_t)got);
    else if (got == 0 || (errno != EAGAIN && errno != EINTR))
        pipe_ended(s, &s->words_ended, &s->words_poll);
}

static void data_readable(uv_poll_t *poll, int status, int events) {
    struct snapshot *s = poll->data;
    (void)events;
    static uint8_t bytes[BATCH_BYTES]; /* the engine's thread only */
    ssize_t got = status < 0 ? 0 : read(s->data_fd, bytes, sizeof bytes);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        pipe_ended(s, &s->data_ended, &s->poll);
        return;
    }
    s->wants = false;
    s->want.batch(s->want.owner,
                  slice_from(bytes, (size_t)got)); /* may call snapshot_next() or abort */
    if (!s->is_over && !s->wants) (void)uv_poll_stop(&s->poll);
}

void snapshot_next(struct snapshot *s) {
    if (s->wants || s->data_ended) return;
    s->wants = true;
    (void)uv_poll_start(&s->poll, UV_READABLE, data_readable);
}

void snapshot_abort(struct snapshot *s) {
    (void)kill(s->child, SIGKILL);
    int status;
    (void)waitpid(s->child, &status,
                  0); /* it is killed: this takes as long as its memory to be given back */
    let_go(s);
}

static enum err open_pipes(int data[2], int words[2], struct why *why) {
    if (pipe2(data, O_CLOEXEC)) return why_set(why, ERR_IO, "pipe: %s", strerror(errno));
    if (pipe2(words, O_CLOEXEC)) {
        enum err err = why_set(why, ERR_IO, "pipe: %s", strerror(errno));
        close(data[0]);
        close(data[1]);
        return err;
    }
    (void)fcntl(data[0], F_SETPIPE_SZ, PIPE_BYTES);
    (void)fcntl(data[0], F_SETFL, O_NONBLOCK);
    (void)fcntl(words[0], F_SETFL, O_NONBLOCK);
    return OK;
}

static void start_watching(struct snapshot *s) {
    uv_loop_t *loop = s->engine->loop;
    s->handles = 3;
    s->poll.data = s->words_poll.data = s->reaper.data = s;
    (void)uv_poll_init(loop, &s->poll, s->data_fd);
    (void)uv_poll_init(loop, &s->words_poll, s->words_fd);
    (void)uv_timer_init(loop, &s->reaper);
    (void)uv_poll_start(&s->words_poll, UV_READABLE, words_readable);
    snapshot_next(s);
}

enum err snapshot_start(struct engine *engine, const struct snapshot_want *want,
                        struct snapshot **snapshot, struct why *why) {
    if (snapshots_active(engine) >= SNAPSHOTS_MAX)
        return why_set(why, ERR_STATE, "%d snapshots are under way already", SNAPSHOTS_MAX);
    int data[2], words[2];
    enum err err = open_pipes(data, words, why);
    if (err) return err;
    struct snapshot *s = NEW(struct snapshot);
    s->engine = engine;
    s->want = *want;
    s->want.path = want->path ? mem_strdup(want->path) : NULL;
    struct rdb_save_options options = {.scope = want->scope, .aof_base = want->aof_base};
    if (!want->aof_base) options.place = persistence_place(engine);
    s->child = fork();
    if (s->child == 0) child_run(s, &options, data[1], words[1]);
    close(data[1]);
    close(words[1]);
    s->data_fd = data[0];
    s->words_fd = words[0];
    if (s->child < 0) {
        err = why_set(why, ERR_NOMEM, "fork: %s", strerror(errno));
        close(data[0]);
        close(words[0]);
        mem_free((void *)(uintptr_t)s->want.path);
        mem_free(s);
        return err;
    }
    s->next = running;
    running = s;
    start_watching(s);
    *snapshot = s;
    return OK;
}
