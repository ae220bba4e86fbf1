/* preflight_ask.c -- asks both sides what preflight.c judges. Blocking, and reads only. */
#include "lib/base/clock.h"
#include "lib/control/rblock.h"
#include "lib/redis/reply.h"
#include "state/preflight.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#define ASK_TIMEOUT_MS 5000
#define DATABASES_MAX 16384 /* more are not looked for */

static void copy(struct slice from, char *to, size_t size) {
    size_t n = from.size < size - 1 ? from.size : size - 1;
    for (size_t i = 0; i < n; i++)
        to[i] = from.data[i] >= 0x20 && from.data[i] < 0x7f ? (char)from.data[i] : '?';
    to[n] = 0;
}

static void info_text(struct slice info, const char *name, char *to, size_t size) {
    struct slice value;
    if (resp_info_field(info, name, &value)) copy(value, to, size);
}

static int64_t info_int(struct slice info, const char *name) {
    struct slice value;
    int64_t number = 0;
    return resp_info_field(info, name, &value) && slice_to_int(value, &number) ? number : 0;
}

/* Of the databases that SELECT knows. */
static void count_keys(struct slice info, struct preflight_side *side) {
    int64_t known = side->databases > 0 ? side->databases : 16;
    for (int64_t db = 0; db < known; db++) {
        char name[32], text[96] = "";
        long long keys = 0;
        snprintf(name, sizeof name, "db%" PRId64, db);
        info_text(info, name, text, sizeof text);
        if (sscanf(text, "keys=%lld", &keys) != 1 || keys <= 0) continue;
        side->keys += keys;
        side->top_db = db;
    }
}

static void read_info(struct slice info, struct preflight_side *side) {
    struct slice value;
    info_text(info, "redis_version", side->version, sizeof side->version);
    info_text(info, "redis_mode", side->mode, sizeof side->mode);
    info_text(info, "role", side->role, sizeof side->role);
    info_text(info, "maxmemory_policy", side->policy, sizeof side->policy);
    side->bundled = resp_info_field(info, "drawbridge_version", &value);
    side->used_memory = info_int(info, "used_memory");
    side->max_memory = info_int(info, "maxmemory");
    side->system_memory = info_int(info, "total_system_memory");
    side->loading = info_int(info, "loading") != 0;
    side->aof = info_int(info, "aof_enabled") != 0;
}

/* A command that may be refused: NULL then. Dead with the next one. */
static const struct resp_reply *ask(struct rblock *client, const char *words) {
    const struct resp_reply *reply;
    struct why why;
    if (rblock_words(client, &reply, &why, words) || resp_reply_is_error(reply)) return NULL;
    return reply;
}

static bool can_select(struct rblock *client, int64_t db) {
    char words[32];
    snprintf(words, sizeof words, "SELECT %" PRId64, db);
    return ask(client, words) != NULL;
}

/* By SELECT, since CONFIG may be hidden. Ends in database 0. */
static void ask_databases(struct rblock *client, struct preflight_side *side) {
    int64_t there = 0, not_there = 1;
    if (!can_select(client, 0)) return;
    for (; not_there < DATABASES_MAX && can_select(client, not_there); not_there *= 2)
        there = not_there;
    while (not_there - there > 1) {
        int64_t middle = there + (not_there - there) / 2;
        *(can_select(client, middle) ? &there : &not_there) = middle;
    }
    side->databases = there + 1;
    (void)can_select(client, 0);
}

/* What takes more than one look at INFO: how many databases there are, and what they hold. */
static void ask_keys(struct rblock *client, struct preflight_side *side) {
    ask_databases(client, side);
    const struct resp_reply *reply = ask(client, "INFO keyspace");
    if (reply) count_keys(reply->text, side);
}

static void read_rest(struct rblock *client, struct preflight_side *side) {
    const struct resp_reply *reply = ask(client, "TIME");
    int64_t s, us;
    if (reply && reply->count == 2 && resp_reply_to_int(&reply->child[0], &s) &&
        resp_reply_to_int(&reply->child[1], &us))
        side->clock_ms = s * 1000 + us / 1000 - clock_wall_ms(clock_real());
    reply = ask(client, "MODULE LIST");
    side->modules = reply ? (int64_t)reply->count : -1;
    if (reply && reply->count) {
        const struct resp_reply *name = resp_reply_field(&reply->child[0], "name");
        if (name) copy(name->text, side->module, sizeof side->module);
    }
    reply = ask(client, "FUNCTION LIST");
    side->functions = reply ? (int64_t)reply->count : -1;
    struct why why;
    if (rblock_words(client, &reply, &why, "CLIENT TRACKING OFF") == OK) {
        side->tracking = !resp_reply_is_error(reply);
        if (!side->tracking) copy(reply->text, side->tracking_error, sizeof side->tracking_error);
    }
    reply = ask(client, "CONFIG GET repl-diskless-sync");
    side->diskless = reply && reply->count == 2 && resp_reply_is(&reply->child[1], "yes");
}

/* A user who may not ask for ACL: from 7.0 on, a PSYNC whose offset is no number is refused as such
 * when it is allowed, and begins nothing (syncCommand in replication.c). Before 7.0 it would. */
static void ask_psync_wrongly(struct rblock *client, const char *name,
                              struct preflight_side *side) {
    const struct resp_reply *reply;
    struct why why;
    char words[160];
    snprintf(words, sizeof words, "%.100s ? none", name);
    if (strtol(side->version, NULL, 10) < 7 || rblock_words(client, &reply, &why, words) ||
        !resp_reply_is_error(reply))
        return;
    if (slice_starts(reply->text, SLICE("NOPERM")) ||
        slice_starts(reply->text, SLICE("ERR unknown command")))
        copy(reply->text, side->psync_error, sizeof side->psync_error);
}

/* COMMAND INFO tells whether it is there; ACL DRYRUN (7.0) or the refusal of REPLCONF whether we
 * may. A PSYNC that could begin a copy is never sent. */
static void ask_psync(struct rblock *client, const struct config_side *config,
                      struct preflight_side *side) {
    const char *name = config->commands.psync ? config->commands.psync : "PSYNC";
    const struct resp_reply *reply;
    struct why why;
    char words[160];
    side->psync_asked = true;
    snprintf(words, sizeof words, "COMMAND INFO %.100s", name);
    reply = ask(client, words);
    if (reply && reply->count == 1 && reply->child[0].count == 0) {
        snprintf(side->psync_error, sizeof side->psync_error, "it does not know the command %.100s",
                 name);
        return;
    }
    if (rblock_words(client, &reply, &why, "REPLCONF capa eof")) {
        snprintf(side->psync_error, sizeof side->psync_error, "REPLCONF: %.150s", why.text);
        return;
    }
    if (resp_reply_is_error(reply)) {
        copy(reply->text, side->psync_error, sizeof side->psync_error);
        return;
    }
    snprintf(words, sizeof words, "ACL DRYRUN %.60s %.60s ? -1",
             config->auth.user ? config->auth.user : "default", name);
    if (rblock_words(client, &reply, &why, words) == OK && reply->kind == RESP_BULK) {
        copy(reply->text, side->psync_error, sizeof side->psync_error);
        return;
    }
    if (resp_reply_is_error(reply) && slice_starts(reply->text, SLICE("NOPERM")))
        ask_psync_wrongly(client, name, side);
    side->psync_ok = side->psync_error[0] == 0;
}

static void ask_side(const struct config_side *config, bool legacy, struct preflight_side *side) {
    struct rblock_options options = {.user = config->auth.user,
                                     .password = &config->auth.password,
                                     .name = "drawbridge-check",
                                     .connect_timeout_ms = ASK_TIMEOUT_MS,
                                     .io_timeout_ms = ASK_TIMEOUT_MS};
    struct rblock *client = NULL;
    const struct resp_reply *reply;
    struct why why;
    side->err = rblock_open(&client, &config->endpoint, &options, &why);
    if (!side->err) side->err = rblock_words(client, &reply, &why, "INFO");
    if (side->err) {
        /* Either side of a mistaken TLS setting waits for the other, or hangs up. */
        bool silent = side->err == ERR_TIMEOUT || side->err == ERR_CLOSED ||
                      strstr(why.text, "reset by peer");
        const char *guess = !silent          ? ""
                            : config->tls.on ? "; does this port speak TLS?"
                                             : "; if this port speaks TLS, set tls";
        snprintf(side->error, sizeof side->error, "%.240s%s", why.text, guess);
    } else if (resp_reply_is_error(reply)) {
        copy(reply->text, side->error, sizeof side->error);
        side->loading = strncmp(side->error, "LOADING", 7) == 0;
    } else {
        side->reached = true;
        read_info(reply->text, side);
        ask_keys(client, side);
        read_rest(client, side);
        if (legacy) ask_psync(client, config, side);
    }
    rblock_close(client);
}

static int64_t free_bytes(const char *dir) {
    struct statvfs fs;
    char path[512];
    snprintf(path, sizeof path, "%s", dir);
    while (statvfs(path, &fs) != 0) { /* it is made later: look at what is there */
        char *slash = strrchr(path, '/');
        if (!slash) return statvfs(".", &fs) == 0 ? (int64_t)(fs.f_bavail * fs.f_frsize) : -1;
        if (slash == path) return -1;
        *slash = 0;
    }
    return (int64_t)(fs.f_bavail * fs.f_frsize);
}

void preflight_run(const struct drawbridge_config *config, bool first_time, struct preflight *p) {
    struct preflight_side legacy = {0}, target = {0};
    *p = (struct preflight){.wanted = (enum capture)config->gateway.capture,
                            .witness = config->gateway.witness == WITNESS_AUTO,
                            .capture = CAPTURE_AUTO};
    ask_side(&config->legacy, true, &legacy);
    ask_side(&config->target, false, &target);
    preflight_judge_side(p, true, &legacy, first_time);
    preflight_judge_side(p, false, &target, first_time);
    preflight_judge_both(p, &legacy, &target);
    const char *dir = config->syncer.spool.dir;
    if (dir && p->capture != CAPTURE_LANE)
        preflight_judge_disk(p, dir, free_bytes(dir), config->syncer.spool.limit,
                             legacy.used_memory);
}

enum capture preflight_choose(const struct drawbridge_config *config, char *reason, size_t size) {
    struct preflight_side legacy = {0};
    ask_side(&config->legacy, true, &legacy);
    if (!legacy.psync_asked) {
        snprintf(reason, size, "legacy was not asked: %s", legacy.error);
        return CAPTURE_AUTO;
    }
    if (strcmp(legacy.mode, "cluster") == 0) {
        snprintf(reason, size, "legacy is a Cluster");
        return CAPTURE_LANE;
    }
    snprintf(reason, size, "%s%.150s", legacy.psync_ok ? "legacy allows PSYNC" : "legacy refuses PSYNC: ",
             legacy.psync_ok ? "" : legacy.psync_error);
    return legacy.psync_ok ? CAPTURE_STREAM : CAPTURE_LANE;
}
