/* preflight.c -- judges what preflight_ask.c has seen; each finding with its fix. */
#include "state/preflight.h"

#include "lib/base/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLOCK_LIMIT_MS 1000

const char *finding_level_name(enum finding_level level) {
    static const char *const names[] = {"good", "note", "warn", "fail"};
    return names[level];
}

static void PRINTF(5, 6) add(struct preflight *p, enum finding_level level, const char *id,
                             const char *fix, const char *fmt, ...) {
    if (p->count == FINDINGS_MAX) return;
    struct finding *f = &p->findings[p->count++];
    f->level = level;
    snprintf(f->id, sizeof f->id, "%s", id);
    snprintf(f->fix, sizeof f->fix, "%s", fix);
    va_list args;
    va_start(args, fmt);
    vsnprintf(f->text, sizeof f->text, fmt, args);
    va_end(args);
}

bool preflight_passed(const struct preflight *p) {
    for (size_t i = 0; i < p->count; i++)
        if (p->findings[i].level == FINDING_FAIL) return false;
    return true;
}

static const char *id_of(char id[32], bool legacy, const char *what) {
    snprintf(id, 32, "%s.%s", legacy ? "legacy" : "target", what);
    return id;
}

static bool has(const char *text, const char *part) {
    return strcasestr(text, part) != NULL;
}

/* What a failure to connect means, told by its words. */
static void judge_unreached(struct preflight *p, bool legacy, const struct preflight_side *side) {
    char id[32];
    const char *name = legacy ? "legacy" : "target";
    if (has(side->error, "WRONGPASS") || has(side->error, "invalid password") ||
        has(side->error, "NOAUTH") || has(side->error, "invalid username") ||
        has(side->error, "without any password")) {
        p->not_authorised = true;
        add(p, FINDING_FAIL, id_of(id, legacy, "password"),
            "set auth.user and auth.password of this side (file: or env:)",
            "%s refuses our user or password: %s", name, side->error);
    } else if (side->err == ERR_CONFIG || has(side->error, "certificate") ||
               has(side->error, "tls") || has(side->error, "ssl")) {
        p->misconfigured |= side->err == ERR_CONFIG;
        add(p, FINDING_FAIL, id_of(id, legacy, "tls"),
            "set tls.ca to the certificate authority of this side, tls.server_name to the name in "
            "its certificate, or leave tls out if the port has none",
            "%s: %s", name, side->error);
    } else if (side->loading) {
        add(p, FINDING_FAIL, id_of(id, legacy, "loading"), "wait until it has loaded its data",
            "%s is loading its data", name);
    } else {
        add(p, FINDING_FAIL, id_of(id, legacy, "reachable"),
            "check address and port, security groups and firewalls", "%s cannot be reached: %s",
            name, side->error);
    }
}

const char *preflight_promise(enum capture capture) {
    if (capture == CAPTURE_LANE)
        return "capture lane: the gateway writes to both sides in one order, so they are equal but "
               "for the keys that it knows to be dirty; what scripts write without naming it (as BullMQ's "
               "do), and who writes past the gateway, is seen where a side has CLIENT TRACKING";
    return "capture stream: legacy's own replication stream is followed, so every write that legacy "
           "keeps is applied exactly once, whoever made it";
}

/* `auto`: stream where PSYNC is given out, under whatever name; else lanes. */
static void judge_psync(struct preflight *p, const struct preflight_side *side) {
    if (!side->psync_asked) return;
    bool stream = side->psync_ok && strcmp(side->mode, "cluster") != 0;
    bool lanes = p->wanted == CAPTURE_LANE || (p->wanted == CAPTURE_AUTO && !stream);
    p->capture = lanes ? CAPTURE_LANE : CAPTURE_STREAM;
    if (side->psync_ok)
        add(p, FINDING_GOOD, "legacy.psync", "", "legacy allows PSYNC");
    else
        add(p, lanes ? FINDING_NOTE : FINDING_FAIL, "legacy.psync",
            "a cloud may give PSYNC out under another name (set legacy.commands.psync), or to another "
            "user (+psync +replconf); without it set gateway.capture: lane, or auto",
            "legacy refuses PSYNC: %s", side->psync_error);
    add(p, FINDING_NOTE, "capture", "", "%s", preflight_promise(p->capture));
}

/* RESTORE takes absolute times since 5.0 (C13). */
static void judge_lanes(struct preflight *p, const struct preflight_side *legacy,
                        const struct preflight_side *target) {
    if (p->capture != CAPTURE_LANE) return;
    if (strtol(target->version, NULL, 10) < 5)
        add(p, FINDING_FAIL, "target.lanes", "take a target of version 5.0 or later",
            "target has version %s, and lanes need 5.0", target->version);
    long major = strtol(legacy->version, NULL, 10);
    if (major == 1 || major == 2)
        add(p, FINDING_FAIL, "legacy.lanes", "move legacy to 3.2 or later first",
            "legacy has version %s, and lanes need 3.2", legacy->version);
    else if (major < 5)
        add(p, FINDING_WARN, "legacy.lanes", "cut over only when you will not want to go back",
            "legacy has version %s: lanes cannot bring writes back to it after a cutover",
            legacy->version);
    else if (major < 7 && strtol(target->version, NULL, 10) >= 7)
        add(p, FINDING_NOTE, "legacy.lanes", "load no functions before you are sure of the target",
            "legacy has version %s: after a cutover, what it has no command for is brought back as copies "
            "of whole keys; functions cannot be, and close the way back until they are deleted",
            legacy->version);
}

/* C22: who tells which keys change. */
static void judge_witness(struct preflight *p, bool legacy, const struct preflight_side *side) {
    char id[32];
    const char *name = legacy ? "legacy" : "target";
    if (side->tracking)
        add(p, FINDING_GOOD, id_of(id, legacy, "witness"), "",
            "%s tells which keys change (CLIENT TRACKING)", name);
    else
        add(p, FINDING_WARN, id_of(id, legacy, "witness"),
            "take Redis 6.0 or later and allow this user CLIENT and HELLO; else run no scripts that write "
            "keys which they do not name, while clients are at this side",
            "%s does not tell which keys change: %.90s", name,
            side->tracking_error[0] ? side->tracking_error : "no answer");
}

static void judge_version(struct preflight *p, bool legacy, const struct preflight_side *side) {
    char id[32];
    int major = 0, minor = 0;
    if (sscanf(side->version, "%d.%d", &major, &minor) < 1)
        add(p, FINDING_WARN, id_of(id, legacy, "version"), "make INFO readable for this user",
            "the version is not told");
    else if (major < 5 && !legacy)
        add(p, FINDING_FAIL, id_of(id, legacy, "version"), "take a target of version 5.0 or later",
            "version %s cannot be a target: it has neither CLIENT ID nor RESTORE ABSTTL", side->version);
    else if (major < 5)
        add(p, FINDING_WARN, id_of(id, legacy, "version"),
            "move to 5.0 or later if you can; else cut over only when you will not want to go back",
            "version %s streams scripts as they are, not what they did; and there is no way back to it (CLIENT ID and "
            "RESTORE ABSTTL came with 5.0)", side->version);
    else if (legacy && major > 7)
        add(p, FINDING_WARN, id_of(id, legacy, "version"), "try it with a copy of your data first",
            "version %s is newer than what this program was tested with (Redis 7.2, Valkey 8.0)", side->version);
    else if (legacy && major < 7)
        add(p, FINDING_NOTE, id_of(id, legacy, "version"), "",
            "version %s streams spans of time (SETEX, EXPIRE), not deadlines: at the target they may be some milliseconds "
            "later, two seconds at most, and audits allow that", side->version);
    else
        add(p, FINDING_GOOD, id_of(id, legacy, "version"), "", "version %s%s", side->version,
            side->bundled ? " (bundled server)" : "");
}

/* Lanes find its nodes and follow its slots; nothing else works with one yet. */
static void judge_cluster(struct preflight *p, bool legacy) {
    if (legacy) p->cluster = true;
    if (!legacy)
        add(p, FINDING_FAIL, "target.cluster", "take one server as the target",
            "target is a Cluster, and nothing can be moved into one yet");
    else if (p->capture != CAPTURE_LANE)
        add(p, FINDING_FAIL, "legacy.cluster",
            "set gateway.capture: lane, or auto; or move one shard at a time, each as a migration of "
            "its own",
            "legacy is a Cluster, and capture stream follows one server");
    else
        add(p, FINDING_WARN, "legacy.cluster",
            "cut over only when you will not want to go back, and look for evictions and for clients "
            "past the gateway at every node",
            "legacy is a Cluster: lanes follow its slots, and clients see one server with one "
            "database, in which a request has keys of one slot; way back: none by lanes");
}

void preflight_judge_side(struct preflight *p, bool legacy, const struct preflight_side *side,
                          bool first_time) {
    char id[32];
    const char *name = legacy ? "legacy" : "target";
    if (!side->reached || side->loading) {
        judge_unreached(p, legacy, side);
        return;
    }
    add(p, FINDING_GOOD, id_of(id, legacy, "reachable"), "", "%s answers", name);
    judge_version(p, legacy, side);
    if (!legacy && strcmp(side->role, "master") != 0)
        add(p, FINDING_FAIL, id_of(id, legacy, "role"), "give the address of the master",
            "%s is a replica", name);
    if (legacy && strcmp(side->role, "master") != 0)
        add(p, FINDING_FAIL, id_of(id, legacy, "role"),
            "give the address of the master: clients write there", "legacy is a replica");
    if (side->modules > 0)
        add(p, FINDING_WARN, id_of(id, legacy, "modules"),
            "keys of module types cannot be moved; remove them or leave them behind",
            "%s has %" PRId64 " modules loaded (%s)", name, side->modules, side->module);
    if (legacy) judge_psync(p, side);
    if (strcmp(side->mode, "cluster") == 0) judge_cluster(p, legacy);
    if (!legacy && first_time && side->keys > 0)
        add(p, FINDING_FAIL, "target.empty",
            "empty it (FLUSHALL) if nobody needs what is there, or take another target",
            "target is not empty: %" PRId64 " keys", side->keys);
    else if (!legacy && first_time)
        add(p, FINDING_GOOD, "target.empty", "", "target is empty");
    if (!legacy && side->max_memory > 0 && strncmp(side->policy, "allkeys", 7) == 0)
        add(p, FINDING_FAIL, "target.eviction",
            "CONFIG SET maxmemory-policy noeviction at the target",
            "target may evict any key (%s), the link's checkpoint too", side->policy);
    if (!legacy && !side->bundled && !side->aof)
        add(p, FINDING_WARN, "target.durable", "CONFIG SET appendonly yes at the target",
            "target keeps no append-only file: after its restart everything has to be copied anew");
}

static void judge_memory(struct preflight *p, const struct preflight_side *legacy,
                         const struct preflight_side *target) {
    int64_t limit = target->max_memory ? target->max_memory : target->system_memory;
    int64_t room = limit - target->used_memory;
    if (strcmp(legacy->mode, "cluster") == 0)
        add(p, FINDING_NOTE, "target.memory", "",
            "one node of legacy uses %" PRId64 " MB, target has room for %" PRId64
            " MB: it needs room for all nodes",
            legacy->used_memory >> 20, room >> 20);
    else if (limit == 0)
        add(p, FINDING_NOTE, "target.memory", "",
            "nobody tells how much memory target has; legacy uses %" PRId64 " MB",
            legacy->used_memory >> 20);
    else if (room < legacy->used_memory)
        add(p, FINDING_FAIL, "target.memory", "raise maxmemory at the target",
            "target has room for %" PRId64 " MB, legacy uses %" PRId64 " MB", room >> 20,
            legacy->used_memory >> 20);
    else if (room < legacy->used_memory * 5 / 4)
        add(p, FINDING_WARN, "target.memory", "raise maxmemory at the target",
            "target has room for %" PRId64 " MB, legacy uses %" PRId64 " MB: tight", room >> 20,
            legacy->used_memory >> 20);
    else
        add(p, FINDING_GOOD, "target.memory", "",
            "target has room for %" PRId64 " MB, legacy uses %" PRId64 " MB", room >> 20,
            legacy->used_memory >> 20);
}

static void judge_databases(struct preflight *p, const struct preflight_side *legacy,
                            const struct preflight_side *target) {
    if (legacy->databases == 0 || target->databases == 0) return;
    if (legacy->top_db >= target->databases)
        add(p, FINDING_FAIL, "target.databases",
            "set `databases` in the target's configuration as legacy has it",
            "legacy has keys in database %" PRId64 ", target has only %" PRId64 " databases",
            legacy->top_db, target->databases);
    else if (legacy->databases > target->databases)
        add(p, FINDING_WARN, "target.databases",
            "set `databases` in the target's configuration as legacy has it",
            "legacy has %" PRId64 " databases, target %" PRId64
            ": what clients write to the others cannot be brought there",
            legacy->databases, target->databases);
    else
        add(p, FINDING_GOOD, "target.databases", "", "target has every database of legacy");
}

void preflight_judge_both(struct preflight *p, const struct preflight_side *legacy,
                          const struct preflight_side *target) {
    if (!legacy->reached || legacy->loading) return;
    if (p->capture == CAPTURE_LANE)
        add(p, FINDING_NOTE, "legacy.cost", "",
            "the copy costs legacy SCAN over all keys, and a DUMP of each, while its clients go on");
    else
        add(p, FINDING_NOTE, "legacy.cost", "",
            "the copy costs legacy one fork%s, up to %" PRId64
            " MB more memory while it lasts (what clients rewrite meanwhile), "
            "and a replica's output buffer; each audit costs one more fork",
            legacy->diskless ? " (diskless)" : " and a dump file on its disk",
            legacy->used_memory >> 20);
    if (!target->reached || target->loading) return;
    judge_memory(p, legacy, target);
    judge_databases(p, legacy, target);
    judge_lanes(p, legacy, target);
    if (p->capture == CAPTURE_LANE && p->witness) {
        judge_witness(p, true, legacy);
        judge_witness(p, false, target);
    }
    int64_t skew = legacy->clock_ms > target->clock_ms ? legacy->clock_ms - target->clock_ms
                                                       : target->clock_ms - legacy->clock_ms;
    if (skew >= CLOCK_LIMIT_MS)
        add(p, FINDING_FAIL, "clock", "synchronise the clocks of both hosts",
            "the clocks are %" PRId64 " ms apart", skew);
    if (legacy->functions > 0 && target->functions < 0)
        add(p, FINDING_FAIL, "target.functions",
            "take a target that knows functions (Redis 7.0, the bundled server), allow it "
            "FUNCTION, or remove them",
            "legacy has %" PRId64
            " function libraries, and the target does not answer FUNCTION LIST",
            legacy->functions);
}

void preflight_judge_disk(struct preflight *p, const char *dir, int64_t free_bytes,
                          int64_t limit_bytes, int64_t data_bytes) {
    if (free_bytes < 0)
        add(p, FINDING_WARN, "spool.disk", "run the check on the syncer's host",
            "the spool's folder %s cannot be looked at from here", dir);
    else if (free_bytes < data_bytes)
        add(p, FINDING_FAIL, "spool.disk", "give syncer.spool.dir a larger disk",
            "%" PRId64 " MB are free in %s; the copy alone may need %" PRId64 " MB",
            free_bytes >> 20, dir, data_bytes >> 20);
    else if (free_bytes < limit_bytes)
        add(p, FINDING_WARN, "spool.disk", "lower syncer.spool.limit, or give it a larger disk",
            "%" PRId64 " MB are free in %s, less than syncer.spool.limit (%" PRId64 " MB)",
            free_bytes >> 20, dir, limit_bytes >> 20);
    else
        add(p, FINDING_GOOD, "spool.disk", "", "%" PRId64 " MB are free in %s", free_bytes >> 20,
            dir);
}

json_t *preflight_json(const struct preflight *p) {
    json_t *list = json_array();
    for (size_t i = 0; i < p->count; i++) {
        const struct finding *f = &p->findings[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "level",
                                              finding_level_name(f->level), "id", f->id, "text",
                                              f->text, "fix", f->fix));
    }
    return list;
}
