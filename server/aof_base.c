/* aof_base.c -- the base of an AOF in commands (aof-use-rdb-preamble no), made of an RDB file.
 *
 *     snapshot --> temporary RDB --> a thread: each key by the commands that make it --> base.aof
 *
 * It takes the disk twice for a while, and the engine does nothing for it. Checkpoints are what
 * they are in the stream: messages on their channel. Left out, as by Redis: how long a key was
 * idle, and pending entries whose entry is gone. Source: rewriteAppendOnlyFileRio in aof.c of
 * Redis 7.0.
 */
#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "lib/redis/pieces.h"
#include "lib/redis/rdb_read.h"
#include "lib/redis/resp.h"
#include "server/aof_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define PUSH_BYTES ((size_t)256 * 1024)

struct base_file {
    struct pieces pieces; /* first: it is the `self` of its callbacks, too */
    const struct aof_base_want *want;
    int fd;
    struct buf out;
};

static enum err push(struct base_file *file, size_t at_least, struct why *why) {
    if (atomic_load_explicit(&file->want->is_dropped, memory_order_relaxed))
        return why_set(why, ERR_STOPPED, "nobody wants it any more");
    if (buf_size(&file->out) < at_least || buf_size(&file->out) == 0) return OK;
    enum err err = fs_write(file->fd, buf_slice(&file->out), "AOF", why);
    buf_clear(&file->out);
    return err;
}

static enum err take_command(void *self, struct slice command, struct why *why) {
    struct base_file *file = self;
    buf_add(&file->out, command);
    return push(file, PUSH_BYTES, why);
}

static enum err put_words(struct base_file *file, size_t argc, const struct slice *argv,
                          struct why *why) {
    resp_write_command(&file->out, argc, argv);
    return push(file, PUSH_BYTES, why);
}

static enum err take_db(void *self, uint32_t db, struct why *why) {
    char number[16];
    (void)snprintf(number, sizeof number, "%u", db);
    return put_words(self, 2, (struct slice[]){SLICE("SELECT"), slice_text(number)}, why);
}

static enum err take_function(void *self, struct slice code, struct why *why) {
    return put_words(self, 3, (struct slice[]){SLICE("FUNCTION"), SLICE("LOAD"), code}, why);
}

static enum err take_aux(void *self, struct slice name, struct slice value, struct why *why) {
    struct buf message = {0};
    if (slice_equal(name, SLICE(CHECKPOINT_AUX_EPOCH)))
        buf_add(&message, SLICE(CHECKPOINT_EPOCH_NAME));
    else if (slice_starts(name, SLICE(CHECKPOINT_AUX_PREFIX)))
        buf_add(&message, slice_drop(name, sizeof CHECKPOINT_AUX_PREFIX - 1));
    else
        return OK;
    buf_byte(&message, '=');
    buf_add(&message, value);
    struct slice words[] = {SLICE("PUBLISH"), SLICE(CHECKPOINT_CHANNEL), buf_slice(&message)};
    enum err err = put_words(self, 3, words, why);
    buf_close(&message);
    return err;
}

static enum err convert(struct base_file *file, int from, struct why *why) {
    struct rdb_source_file source;
    struct rdb_limits limits = RDB_LIMITS_DEFAULT;
    limits.twins_bytes_max = 0; /* it is our own: no element is there twice */
    struct rdb_handler handler = {
        .self = file, .aux = take_aux, .function = take_function, .select_db = take_db};
    pieces_fill_handler(&handler);
    file->pieces.send = take_command;
    file->pieces.self = file;
    file->pieces.is_new = true;
    rdb_source_file_init(&source, from);
    struct rdb_reader *reader = rdb_reader_open(&source.source, limits, &handler);
    enum err err = rdb_reader_run(reader, why);
    rdb_reader_close(reader);
    if (!err) err = push(file, 0, why);
    return err ? err : fs_sync(file->fd, "AOF", why);
}

enum err aof_base_write(const struct aof_base_want *want, struct why *why) {
    struct base_file file = {.want = want, .fd = -1};
    struct why ignored;
    int from = -1;
    enum err err = fs_open(want->rdb_path, O_RDONLY, &from, why);
    if (!err) err = fs_open(want->path, O_WRONLY | O_CREAT | O_TRUNC, &file.fd, why);
    if (!err && want->stamp_s) buf_printf(&file.out, "#TS:%lld\r\n", (long long)want->stamp_s);
    if (!err) err = convert(&file, from, why);
    if (from >= 0) close(from);
    if (file.fd >= 0) close(file.fd);
    if (err && fs_remove(want->path, &ignored)) err = why_add(why, err, "it is left behind");
    pieces_close(&file.pieces);
    buf_close(&file.out);
    return err;
}

/* ---- beside the engine ---- */

struct aof_base_job {
    uv_work_t work;
    struct engine *engine;
    struct aof *aof; /* NULL: nobody waits for it */
    struct aof_base_want want;
    enum err err;
    struct why why;
};

static void job_work(uv_work_t *work) {
    struct aof_base_job *job = work->data;
    struct why why;
    job->err = aof_base_write(&job->want, &job->why);
    if (fs_remove(job->want.rdb_path, &why)) return; /* it can stay */
}

static void job_done(uv_work_t *work, int status) {
    struct aof_base_job *job = work->data;
    (void)status; /* it is never cancelled */
    if (job->aof) {
        job->aof->base_job = NULL;
        aof_base_is_ready(job->aof, job->want.path, job->err, job->why.text);
    } else if (!job->err) {
        persistence_remove_file(job->engine, job->want.path, -1);
    }
    mem_free(job->want.rdb_path);
    mem_free(job->want.path);
    mem_free(job);
}

enum err aof_base_start(struct aof *aof, const char *rdb_path, struct why *why) {
    static unsigned number; /* a file that nobody wants may still be written */
    struct aof_base_job *job = NEW(struct aof_base_job);
    struct buf name = {0};
    buf_printf(&name, "%s.%u", rdb_path, ++number);
    job->engine = aof->engine;
    job->aof = aof;
    job->want.rdb_path = mem_strdup(rdb_path);
    job->want.path = mem_strdup(buf_text(&name));
    job->want.stamp_s = aof_base_stamp(aof);
    job->work.data = job;
    buf_close(&name);
    if (uv_queue_work(aof->engine->loop, &job->work, job_work, job_done)) {
        mem_free(job->want.rdb_path);
        mem_free(job->want.path);
        mem_free(job);
        return why_set(why, ERR_NOMEM, "no thread for the base of the AOF");
    }
    aof->base_job = job;
    return OK;
}

void aof_base_drop(struct aof *aof) {
    if (aof->base_job == NULL) return;
    atomic_store_explicit(&aof->base_job->want.is_dropped, true, memory_order_relaxed);
    aof->base_job->aof = NULL;
    aof->base_job = NULL;
}

int64_t aof_base_stamp(const struct aof *aof) {
    const struct engine *engine = aof->engine;
    return engine->settings.aof_timestamp_enabled ? engine->now_ms / 1000 : 0;
}
