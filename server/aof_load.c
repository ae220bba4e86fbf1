/* aof_load.c -- start from an AOF: base, then incr files, command by command. See aof.h.
 *
 * A file that ends in the middle of a command or of a MULTI block is what a crash leaves behind: of
 * the last file, with aof-load-truncated, the broken end is cut off. Anywhere else it is an error,
 * and so is anything that is no command. A power cut can leave such files: what was not synced may
 * be there in part. If that is a file that is not the last one, it counts as the last, and those
 * behind it are set aside (lost_its_end). For all else the way out is aof-load-to-the-break:
 * everything up to the break is loaded, and what lies behind it is set aside, in files NAME.aside.
 * Source: loadAppendOnlyFiles and loadSingleAppendOnlyFile in aof.c of Redis 7.0.
 */
#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "server/aof_internal.h"
#include "server/loading.h"
#include "server/resume.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES LOADING_PIECE_BYTES

#define TO_THE_BREAK                                                                               \
    "Or start with 'aof-load-to-the-break yes': what lies before the break is loaded, what lies "  \
    "behind it is set aside in files whose names end in .aside."

struct reading {
    struct aof *aof;
    const char *name;
    int fd;
    struct client *client;
    struct buf bytes;
    uint64_t read_offset;  /* of the next byte to read from the file */
    uint64_t valid_offset; /* behind the last whole command that stands outside of a MULTI block */
    bool is_last, is_broken; /* the latter: the files behind it do not count */
};

static void close_reading(struct reading *r) {
    if (r->client) client_free_fake(r->client);
    buf_close(&r->bytes);
    if (r->fd >= 0) close(r->fd);
}

/* More bytes behind those that are there; *AT_END when there are none. */
static enum err read_more(struct reading *r, size_t wanted, bool *at_end, struct why *why) {
    size_t held = buf_size(&r->bytes);
    size_t size = wanted > held + READ_BYTES ? wanted - held : READ_BYTES;
    uint8_t *room = buf_room(&r->bytes, size);
    size_t done = 0, got = 1;
    enum err err = OK;
    while (!err && done < size && got > 0) {
        size_t piece = size - done < READ_BYTES ? size - done : READ_BYTES;
        err = fs_read_at(r->fd, room + done, piece, r->read_offset, &got, r->name, why);
        if (err) return err;
        done += got;
        r->read_offset += got;
        err = loading_advance(r->aof->engine, got, why);
    }
    buf_filled(&r->bytes, done);
    *at_end = done == 0;
    return err;
}

/* The file's bytes from the last whole command on go to a file of their own. */
static enum err set_tail_aside(struct reading *r, struct why *why) {
    struct buf name = {0}, tail = {0};
    uint64_t size = 0;
    char *path = aof_path(r->aof, r->name);
    buf_printf(&name, "%s.aside", path);
    enum err err = fs_size(path, &size, why);
    size_t rest = size > r->valid_offset ? (size_t)(size - r->valid_offset) : 0, got = 0;
    if (!err && rest)
        err = fs_read_at(r->fd, buf_room(&tail, rest), rest, r->valid_offset, &got, path, why);
    if (!err) {
        buf_filled(&tail, got);
        err = fs_replace(buf_text(&name), buf_slice(&tail), why);
    }
    if (!err)
        engine_log(r->aof->engine, '#',
                   "%zu bytes of the AOF %s from offset %llu on are set aside in %s", got, r->name,
                   (unsigned long long)r->valid_offset, buf_text(&name));
    buf_close(&name);
    buf_close(&tail);
    mem_free(path);
    return err;
}

static enum err cut_at_break(struct reading *r, struct why *why) {
    enum err err = set_tail_aside(r, why);
    int fd;
    if (err) return err;
    char *path = aof_path(r->aof, r->name);
    err = fs_open(path, O_WRONLY, &fd, why);
    if (!err) {
        err = fs_truncate(fd, r->valid_offset, r->name, why);
        close(fd);
    }
    mem_free(path);
    r->is_broken = true;
    return err;
}

static enum err cut_tail(struct reading *r, struct why *why) {
    struct engine *engine = r->aof->engine;
    if (engine->settings.aof_load_to_the_break) return cut_at_break(r, why);
    if (!r->is_last || !engine->settings.aof_load_truncated)
        return why_set(
            why, ERR_CORRUPT,
            "Unexpected end of file reading the append only file %s. You can: 1) Make a backup of "
            "your AOF "
            "file, then use ./redis-check-aof --fix <filename>. 2) Alternatively you can set the "
            "'aof-load-truncated' configuration option to yes and restart the "
            "server. " TO_THE_BREAK,
            r->name);
    engine_log(engine, '#', "!!! Warning: short read while loading the AOF file %s !!!", r->name);
    engine_log(engine, '#', "Truncating the AOF %s at offset %llu", r->name,
               (unsigned long long)r->valid_offset);
    char *path = aof_path(r->aof, r->name);
    int fd;
    enum err err = fs_open(path, O_WRONLY, &fd, why);
    mem_free(path);
    if (err) return err;
    err = fs_truncate(fd, r->valid_offset, r->name, why);
    close(fd);
    return err;
}

static enum err run_command(struct reading *r, struct aof_command *command, uint64_t at,
                            struct why *why) {
    if (command->count == 0) return OK; /* an annotation */
    struct slice name = command->args[0];
    struct buf error = {0};
    bool known = command_admit(command->count, command->args, &error) != NULL;
    if (known) client_execute(r->client, (int)command->count, command->args);
    buf_close(&error);
    if (known) return loading_key(r->aof->engine, why);
    return why_set(why, ERR_CORRUPT,
                   "Unknown command '%.*s' reading the append only file %s, at offset %llu",
                   name.size > 128 ? 128 : (int)name.size, (const char *)name.data, r->name,
                   (unsigned long long)at);
}

/* From the file's offset START on. */
static enum err run_commands(struct reading *r, uint64_t start, struct why *why) {
    struct aof_command command = {0};
    uint64_t at = start;
    bool at_end = false;
    enum err err = OK;
    r->read_offset = r->valid_offset = start;
    while (!err) {
        size_t used = 0, wanted = 0;
        enum step step = aof_next(buf_slice(&r->bytes), &command, &used, &wanted, why);
        if (step == STEP_FAIL) {
            err = why_add(why, ERR_CORRUPT,
                          "Bad file format reading the append only file %s, at offset %llu: make a "
                          "backup of your AOF "
                          "file, then use ./redis-check-aof --fix <filename>. " TO_THE_BREAK,
                          r->name, (unsigned long long)at);
        } else if (step == STEP_DONE) {
            err = run_command(r, &command, at, why);
            buf_consume(&r->bytes, used);
            at += used;
            if (!(r->client->flags & CLIENT_MULTI)) r->valid_offset = at;
        } else if (at_end) {
            break;
        } else {
            err = read_more(r, wanted, &at_end, why);
        }
    }
    aof_command_close(&command);
    if (err == ERR_CORRUPT && r->aof->engine->settings.aof_load_to_the_break)
        return cut_at_break(r, why);
    if (!err && (r->valid_offset != at || buf_size(&r->bytes))) err = cut_tail(r, why);
    return err;
}

static enum err load_file(struct aof *aof, const struct aof_file *file, bool is_last,
                          bool *is_broken, struct why *why) {
    struct reading r = {.aof = aof, .name = file->name, .fd = -1, .is_last = is_last};
    char *path = aof_path(aof, file->name);
    uint64_t rdb_bytes = 0;
    char magic[5];
    size_t got = 0;
    enum err err = fs_open(path, O_RDONLY, &r.fd, why);
    if (err == ERR_ABSENT)
        (void)why_set(why, err,
                      "can't open the append log file %s for reading: No such file or directory",
                      file->name);
    if (!err) err = fs_read_at(r.fd, magic, sizeof magic, 0, &got, path, why);
    if (!err && got == sizeof magic && memcmp(magic, "REDIS", sizeof magic) == 0) {
        struct rdb_place place;
        err = rdb_load_file(aof->engine, path, RDB_LOAD_KEEP_EXPIRED, &place, &rdb_bytes, why);
    }
    mem_free(path);
    if (!err) {
        r.client = client_new_fake(aof->engine, CLIENT_FAKE | CLIENT_MUTE | CLIENT_LOADING);
        err = run_commands(&r, rdb_bytes, why);
    }
    *is_broken = r.is_broken;
    close_reading(&r);
    return err;
}

static uint64_t size_of(struct aof *aof, const struct aof_file *file) {
    struct why why;
    uint64_t size = 0;
    char *path = aof_path(aof, file->name);
    if (fs_size(path, &size, &why)) size = 0;
    mem_free(path);
    return size;
}

/* A file behind the break: under another name, and out of the manifest. */
static enum err set_file_aside(struct aof *aof, size_t index, struct why *why) {
    struct aof_file *file = &aof->manifest.files[index];
    struct buf name = {0};
    char *path = aof_path(aof, file->name);
    buf_printf(&name, "%s.aside", path);
    enum err err = fs_rename(path, buf_text(&name), why);
    if (!err)
        engine_log(aof->engine, '#', "The AOF %s lies behind the break: it is set aside as %s",
                   file->name, buf_text(&name));
    buf_close(&name);
    mem_free(path);
    if (!err) aof_manifest_remove(&aof->manifest, index);
    return err;
}

/* How long the file before FILE was when FILE began; 0: it does not say. */
static uint64_t size_before(struct aof *aof, const struct aof_file *file) {
    char line[64] = "";
    struct why why;
    int fd;
    size_t got = 0, skip = sizeof AOF_FOLLOWS - 1;
    char *path = aof_path(aof, file->name);
    if (fs_open(path, O_RDONLY, &fd, &why) == OK) {
        if (fs_read_at(fd, line, sizeof line - 1, 0, &got, path, &why)) got = 0;
        close(fd);
    }
    mem_free(path);
    bool says = got > skip && memcmp(line, AOF_FOLLOWS, skip) == 0;
    return says ? strtoull(line + skip, NULL, 10) : 0;
}

/* Whether a power cut took the end of the incr file at INDEX. Files are synced in their order: of
 * those behind it nothing was promised to anybody then, and there is a gap in between. */
static bool lost_its_end(struct aof *aof, size_t index) {
    for (size_t next = index + 1; next < aof->manifest.count; next++) {
        if (aof->manifest.files[next].type != AOF_INCR) continue;
        const struct aof_file *file = &aof->manifest.files[index];
        bool lost = size_of(aof, file) < size_before(aof, &aof->manifest.files[next]);
        if (lost)
            engine_log(aof->engine, '#',
                       "The AOF %s is shorter than it was when %s began: a power cut took its end",
                       file->name, aof->manifest.files[next].name);
        return lost;
    }
    return false;
}

enum err aof_load_files(struct aof *aof, struct why *why) {
    struct engine *engine = aof->engine;
    struct persistence *p = persistence_of(engine);
    const struct aof_file *base = aof_manifest_base(&aof->manifest),
                          *last = aof_manifest_last_incr(&aof->manifest);
    if (!last) last = base;
    uint64_t total_bytes = 0;
    for (size_t i = 0; i < aof->manifest.count; i++)
        if (aof->manifest.files[i].type != AOF_HISTORY)
            total_bytes += size_of(aof, &aof->manifest.files[i]);
    loading_begin(engine, total_bytes);
    bool is_broken = false;
    enum err err = base ? load_file(aof, base, base == last, &is_broken, why) : OK;
    for (size_t i = 0; i < aof->manifest.count && !err; i++) {
        const struct aof_file *file = &aof->manifest.files[i];
        if (file->type != AOF_INCR) continue;
        if (is_broken) {
            err = set_file_aside(aof, i--, why);
            continue;
        }
        bool is_short = lost_its_end(aof, i);
        err = load_file(aof, file, file == last || is_short, &is_broken, why);
        is_broken |= is_short;
    }
    if (!err && is_broken) err = aof_write_manifest(aof, &aof->manifest, why);
    loading_end(engine);
    if (!err)
        engine_log(engine, '*', "DB loaded from append only file: %.3f seconds",
                   (double)(engine->now_ms - p->loading_began_ms) / 1000);
    base = aof_manifest_base(&aof->manifest);
    aof->base_size = base ? size_of(aof, base) : 0;
    return err;
}

static enum err save_base(struct aof *aof, const char *path, struct why *why) {
    struct rdb_save_options options = {
        .scope = SNAPSHOT_ALL, .version = RDB_VERSION_WRITTEN, .aof_base = true};
    if (aof->engine->settings.aof_use_rdb_preamble)
        return rdb_save_file(aof->engine, path, &options, why);
    struct buf temp = {0};
    struct why ignored;
    struct aof_base_want want = {.stamp_s = aof_base_stamp(aof)};
    buf_printf(&temp, "temp-rewriteaof-bg-%d.aof", (int)getpid());
    want.rdb_path = mem_strdup(buf_text(&temp));
    want.path = mem_strdup(path);
    enum err err = rdb_save_file(aof->engine, want.rdb_path, &options, why);
    if (!err) err = aof_base_write(&want, why);
    if (fs_remove(want.rdb_path, &ignored)) engine_log(aof->engine, '#', "%s", ignored.text);
    mem_free(want.rdb_path);
    mem_free(want.path);
    buf_close(&temp);
    return err;
}

/* No AOF yet: what there is (an RDB, or nothing) becomes the base. */
static enum err make_first_base(struct aof *aof, struct why *why) {
    enum err loaded = persistence_load_rdb(aof->engine, why);
    if (loaded) return loaded;
    const struct settings *settings = &aof->engine->settings;
    const struct aof_file *base = aof_manifest_new_base(&aof->manifest, settings->appendfilename,
                                                        settings->aof_use_rdb_preamble);
    char *path = aof_path(aof, base->name);
    enum err err = aof_make_folder(aof, why);
    if (!err) err = save_base(aof, path, why);
    if (!err) engine_log(aof->engine, '*', "Creating AOF base file %s on server start", base->name);
    if (!err) err = fs_size(path, &aof->base_size, why);
    mem_free(path);
    return err;
}

static bool exists(const char *path) {
    struct stat about;
    return stat(path, &about) == 0;
}

/* Did the last start write the manifest and die before it moved the old AOF in? */
static bool is_half_adopted(const struct aof *aof) {
    const char *name = aof->engine->settings.appendfilename;
    if (aof->manifest.count != 1 || strcmp(aof->manifest.files[0].name, name) != 0) return false;
    char *path = aof_path(aof, name);
    bool half = !exists(path) && exists(name);
    mem_free(path);
    return half;
}

/* What was loaded may not be on the disk (aof_sync.c): it is written once more, into new files,
 * before anybody is served. */
static enum err make_base_anew(struct aof *aof, struct why *why) {
    struct aof_manifest manifest;
    aof_manifest_copy(&manifest, &aof->manifest);
    const struct settings *settings = &aof->engine->settings;
    const struct aof_file *base = aof_manifest_new_base(&manifest, settings->appendfilename,
                                                        settings->aof_use_rdb_preamble);
    char *path = aof_path(aof, base->name), *mark = aof_doubt_path(aof);
    engine_log(aof->engine, '#',
               "A sync of the AOF had failed before the last process ended, and the machine has run "
               "since: a new base file %s is written before anything is served",
               base->name);
    aof_manifest_retire_incr(&manifest, 0);
    (void)aof_manifest_new_incr(&manifest, settings->appendfilename); /* BASE has moved */
    enum err err = save_base(aof, path, why);
    if (!err) err = fs_size(path, &aof->base_size, why);
    aof_manifest_close(&aof->manifest);
    aof->manifest = manifest;
    if (!err) err = aof_open_incr(aof, why); /* and the manifest */
    if (!err) err = fs_remove(mark, why);
    mem_free(path);
    mem_free(mark);
    return err;
}

static enum err start_on_files(struct aof *aof, struct why *why) {
    enum err err = aof_load_files(aof, why);
    if (err) return err;
    const struct aof_file *last = aof_manifest_last_incr(&aof->manifest);
    int64_t loaded_seq = last ? last->seq : -1;
    uint64_t loaded_size = last ? size_of(aof, last) : 0;
    err = aof_doubt_found(aof) ? make_base_anew(aof, why) : aof_open_incr(aof, why);
    if (err) return err;
    aof_attach(aof, AOF_ON);
    aof_collect_history(aof);
    bool took;
    if (loaded_seq < 0) loaded_seq = aof_manifest_last_incr(&aof->manifest)->seq;
    resume_load(aof->engine, loaded_seq, loaded_size, &took);
    return OK;
}

enum err aof_start_with_data(struct aof *aof, struct why *why) {
    bool found, is_old = false;
    enum err err = aof_read_manifest(aof, &found, why);
    if (!err && (!found || is_half_adopted(aof))) {
        aof_manifest_close(&aof->manifest);
        err = aof_adopt_old_file(aof, &is_old, why);
    }
    if (err) return err;
    if (found || is_old) return start_on_files(aof, why);
    err = make_first_base(aof, why);
    if (!err) err = aof_open_incr(aof, why);
    if (err) return err;
    aof_attach(aof, AOF_ON);
    bool took;
    resume_load(aof->engine, aof_manifest_last_incr(&aof->manifest)->seq, aof->file_size, &took);
    return OK;
}

enum err aof_load_again(struct aof *aof, struct why *why) {
    aof_manifest_close(&aof->manifest);
    bool found;
    enum err err = aof_read_manifest(aof, &found, why);
    if (err) return err;
    return aof_load_files(aof, why);
}
