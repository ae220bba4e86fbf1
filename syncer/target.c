/* target.c -- the server that a link writes to. See target.h. */
#include "syncer/target.h"

#include "lib/base/fs.h"
#include "lib/base/log.h"
#include "lib/control/rblock.h"
#include "lib/redis/reply.h"
#include "syncer/apply.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define GRACE_MS 5000 /* where CLIENT KILL is refused */
#define PATH_BYTES 4352

struct rblock_options side_options(const struct config_side *side, const char *name) {
    return (struct rblock_options){.user = side->auth.user, .password = &side->auth.password, .name = name};
}

/* One call whose error reply is an error of ours. */
static enum err call(struct rblock *conn, const char *words, const struct resp_reply **reply, struct why *why) {
    enum err err = rblock_words(conn, reply, why, words);
    if (err != OK) return err;
    if (!resp_reply_is_error(*reply)) return OK;
    struct slice e = (*reply)->text;
    return why_set(why, ERR_REFUSED, "%s: %.*s", words, (int)(e.size < 200 ? e.size : 200), (const char *)e.data);
}

static unsigned parse_version(struct slice text) {
    unsigned part[3] = {0}, at = 0;
    for (size_t i = 0; i < text.size && at < 3; i++) {
        if (text.data[i] == '.') at++;
        else if (text.data[i] >= '0' && text.data[i] <= '9' && part[at] < 1000) part[at] = part[at] * 10 + (unsigned)(text.data[i] - '0');
    }
    return part[0] << 16 | (part[1] & 255) << 8 | (part[2] & 255);
}

bool side_counts_streams(struct rblock *conn) {
    const struct resp_reply *reply = NULL;
    struct slice version;
    struct why why;
    return rblock_words(conn, &reply, &why, "INFO server") == OK && reply->kind == RESP_BULK &&
           resp_info_field(reply->text, "redis_version", &version) && parse_version(version) >= 0x070000;
}

/* RDB versions as the table in protocol-facts.md has them. */
static unsigned rdb_version_of(unsigned version, bool valkey) {
    if (valkey) return 11;
    if (version >= 0x070200) return 11;
    if (version >= 0x070000) return 10;
    if (version >= 0x050000) return 9;
    return version >= 0x040000 ? 8 : version >= 0x030200 ? 7 : 6;
}

static enum err learn(struct target *target, struct why *why) {
    const struct resp_reply *reply = NULL;
    struct slice value;
    enum err err = call(target->conn, "INFO", &reply, why);
    if (err != OK) return err;
    bool valkey = resp_info_field(reply->text, "valkey_version", &value);
    unsigned valkey_version = valkey ? parse_version(value) : 0;
    if (resp_info_field(reply->text, "redis_version", &value)) target->version = parse_version(value);
    target->bundled = resp_info_field(reply->text, "drawbridge_version", &value);
    if (!target->bundled && target->version > 0 && target->version < 0x050000)
        return why_set(why, ERR_REFUSED, "version %u.%u.%u cannot be written to: CLIENT ID and RESTORE ABSTTL came with 5.0",
                       target->version >> 16, target->version >> 8 & 255, target->version & 255);
    target->rdb_version = target->bundled ? 11 : rdb_version_of(target->version, valkey);
    target->import_mode = target->bundled || valkey_version >= 0x080100;
    target->persistent_aof = resp_info_field(reply->text, "aof_enabled", &value) && slice_equal(value, SLICE("1"));
    if (resp_info_field(reply->text, "role", &value) && !slice_equal(value, SLICE("master")))
        return why_set(why, ERR_STATE, "the target is a replica; links write to a primary");
    if (resp_info_field(reply->text, "cluster_enabled", &value) && slice_equal(value, SLICE("1")))
        return why_set(why, ERR_REFUSED, "the target is a Cluster, which links of this version cannot write to");
    if (!resp_info_field(reply->text, "run_id", &value) || value.size >= sizeof target->run_id)
        return why_set(why, ERR_PROTO, "the target's INFO has no run_id");
    memcpy(target->run_id, value.data, value.size);
    target->run_id[value.size] = '\0';
    return OK;
}

/* ---- older connections (C21) ---- */

static enum err note_connection(const struct target *target, const char *folder, const struct buf *old, struct why *why) {
    char path[PATH_BYTES];
    struct buf text = {0};
    snprintf(path, sizeof path, "%s/connections", folder);
    buf_printf(&text, "%s %" PRId64 "\n", target->run_id, target->client_id);
    buf_add(&text, buf_slice(old));
    enum err err = fs_replace(path, buf_slice(&text), why);
    buf_close(&text);
    return err == OK ? OK : why_add(why, err, "note the connection's id");
}

static enum err is_gone(struct target *target, int64_t id, bool *gone, struct why *why) {
    char words[64];
    const struct resp_reply *reply = NULL;
    snprintf(words, sizeof words, "CLIENT LIST ID %" PRId64, id);
    enum err err = rblock_words(target->conn, &reply, why, words);
    if (err != OK) return err;
    *gone = resp_reply_is_error(reply) || reply->text.size == 0;
    return OK;
}

static void sleep_ms(int64_t ms) {
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static enum err end_connection(struct target *target, int64_t id, struct why *why) {
    char words[64];
    const struct resp_reply *reply = NULL;
    bool gone = false;
    if (id == target->client_id) return OK;
    snprintf(words, sizeof words, "CLIENT KILL ID %" PRId64, id);
    enum err err = rblock_words(target->conn, &reply, why, words);
    if (err != OK) return err;
    if (resp_reply_is_error(reply) && !slice_starts(reply->text, SLICE("ERR No such client"))) {
        target->weak_fence = true;
        log_warn("link.weak_fence", LOG_SL("answer", reply->text));
        sleep_ms(GRACE_MS);
        return call(target->conn, "PING", &reply, why);
    }
    for (int i = 0; i < 100 && err == OK && !gone; i++) {
        err = is_gone(target, id, &gone, why);
        if (err == OK && !gone) sleep_ms(20);
    }
    if (err != OK) return err;
    return gone ? OK : why_set(why, ERR_TIMEOUT, "connection %" PRId64 " of ours is still at the target after CLIENT KILL", id);
}

static enum err end_older(struct target *target, struct slice noted, struct why *why) {
    while (noted.size > 0) {
        char line[128], run_id[48];
        int64_t id = 0;
        const uint8_t *nl = memchr(noted.data, '\n', noted.size);
        size_t size = nl ? (size_t)(nl - noted.data) : noted.size;
        snprintf(line, sizeof line, "%.*s", (int)(size < 100 ? size : 100), (const char *)noted.data);
        noted = slice_drop(noted, nl ? size + 1 : size);
        if (sscanf(line, "%47s %" SCNd64, run_id, &id) != 2 || strcmp(run_id, target->run_id) != 0) continue;
        enum err err = end_connection(target, id, why);
        if (err != OK) return err;
    }
    return OK;
}

/* The order matters: our own id is durable before the first write, old ones are gone before we read. */
static enum err fence(struct target *target, const char *folder, struct why *why) {
    char path[PATH_BYTES];
    struct buf old = {0}, none = {0};
    const struct resp_reply *reply = NULL;
    snprintf(path, sizeof path, "%s/connections", folder);
    enum err err = fs_read_file(path, 1 << 20, &old, why);
    if (err == ERR_ABSENT) err = OK;
    if (err == OK) err = call(target->conn, "CLIENT ID", &reply, why);
    if (err == OK && !resp_reply_to_int(reply, &target->client_id)) err = why_set(why, ERR_PROTO, "CLIENT ID is no number");
    if (err == OK) err = note_connection(target, folder, &old, why);
    if (err == OK) err = end_older(target, buf_slice(&old), why);
    if (err == OK) err = note_connection(target, folder, &none, why);
    buf_close(&old);
    return err;
}

enum err target_open(struct target *target, const struct config_side *side, const char *name, const char *folder,
                     struct why *why) {
    struct target made = {0};
    struct rblock_options options = side_options(side, name);
    enum err err = rblock_open(&made.conn, &side->endpoint, &options, why);
    if (err == OK) err = learn(&made, why);
    if (err == OK) err = fence(&made, folder, why);
    if (err != OK) {
        target_close(&made);
        return err;
    }
    *target = made;
    return OK;
}

void target_close(struct target *target) {
    if (target->conn) rblock_close(target->conn);
    target->conn = NULL;
}

enum err target_retire(struct target *target, const struct config_side *side, const char *folder, struct why *why) {
    struct target next = {0};
    target_close(target);
    enum err err = target_open(&next, side, NULL, folder, why); /* ends the one before by its id */
    target_close(&next);
    return err;
}

enum err target_import(struct target *target, bool on, struct why *why) {
    const struct resp_reply *reply = NULL;
    if (!target->import_mode) return OK;
    enum err err = call(target->conn, on ? "CONFIG SET import-mode yes" : "CONFIG SET import-mode no", &reply, why);
    if (err == OK && on) err = call(target->conn, "CLIENT IMPORT-SOURCE ON", &reply, why);
    if (err == ERR_REFUSED && !target->bundled) {
        target->import_mode = false; /* a Valkey that does not let us: as any foreign target */
        return OK;
    }
    return err;
}

/* ---- checkpoints ---- */

static void checkpoint_words(const struct target *target, const char *verb, const char *link, char words[160]) {
    if (target->bundled) snprintf(words, 160, "DRAWBRIDGE CHECKPOINT %s %s", verb, link);
    else snprintf(words, 160, "%s " CHECKPOINT_PREFIX "%s", verb, link);
}

enum err target_read_checkpoint(struct target *target, const char *link, struct checkpoint *checkpoint, struct why *why) {
    char words[160];
    const struct resp_reply *reply = NULL;
    enum err err = OK;
    if (!target->bundled) err = call(target->conn, "SELECT 0", &reply, why);
    checkpoint_words(target, "GET", link, words);
    if (err == OK) err = call(target->conn, words, &reply, why);
    if (err != OK) return err;
    *checkpoint = (struct checkpoint){0};
    if (reply->kind == RESP_NULL) return OK;
    return checkpoint_read(reply->text, checkpoint, why);
}

enum err target_write_checkpoint(struct target *target, const struct apply_rules *rules, const struct checkpoint *checkpoint,
                                 struct why *why) {
    struct buf out = {0};
    const struct resp_reply *reply = NULL;
    size_t commands = 0;
    int db = -1;
    apply_write_checkpoint(rules, checkpoint, &db, &out, &commands);
    rblock_append_raw(target->conn, buf_slice(&out));
    buf_close(&out);
    enum err err = rblock_flush(target->conn, why);
    while (err == OK && commands-- > 0) {
        err = rblock_read(target->conn, &reply, why);
        if (err == OK && resp_reply_is_error(reply))
            err = why_set(why, ERR_REFUSED, "write the checkpoint: %.*s", (int)(reply->text.size < 200 ? reply->text.size : 200),
                          (const char *)reply->text.data);
    }
    return err;
}

enum err target_remove_checkpoint(struct target *target, const char *link, struct why *why) {
    char words[160];
    const struct resp_reply *reply = NULL;
    enum err err = OK;
    if (!target->bundled) err = call(target->conn, "SELECT 0", &reply, why);
    checkpoint_words(target, "DEL", link, words);
    return err == OK ? call(target->conn, words, &reply, why) : err;
}

/* Lines "dbN:keys=K,..." of INFO keyspace. Keys of ours stand in database 0 and are few: they are
 * looked for one by one. */
enum err target_count_keys(struct target *target, uint64_t *keys, struct why *why) {
    const struct resp_reply *reply = NULL;
    uint64_t total = 0;
    enum err err = call(target->conn, "INFO keyspace", &reply, why);
    if (err != OK) return err;
    struct slice text = reply->text;
    while (text.size > 0) {
        char line[128];
        unsigned db = 0;
        uint64_t count = 0;
        const uint8_t *nl = memchr(text.data, '\n', text.size);
        size_t size = nl ? (size_t)(nl - text.data) : text.size;
        snprintf(line, sizeof line, "%.*s", (int)(size < 100 ? size : 100), (const char *)text.data);
        if (sscanf(line, "db%u:keys=%" SCNu64, &db, &count) == 2) total += count;
        text = slice_drop(text, nl ? size + 1 : size);
    }
    static const char *const links[] = {"forward", "reverse"};
    for (size_t i = 0; i < 2 && !target->bundled && total > 0; i++) {
        char words[160];
        checkpoint_words(target, "EXISTS", links[i], words);
        err = call(target->conn, "SELECT 0", &reply, why);
        if (err == OK) err = call(target->conn, words, &reply, why);
        if (err != OK) return err;
        if (reply->number == 1) total--;
    }
    *keys = total;
    return OK;
}
