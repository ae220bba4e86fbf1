/* side_steps.c -- the barrier's steps at one side: read the place, fence, sync, open as primary. */
#include "lib/base/mem.h"
#include "state/side_inside.h"

#include <inttypes.h>
#include <stdio.h>

#define FENCE_ROUNDS 20 /* of CLIENT LIST and KILL before we give up */

/* One step under way. It lives until its result was given. */
struct op {
    struct side_admin *admin;
    side_on_result *on_result;
    void *self;
    bool (*keep)(void *self, const char *name, size_t bytes);
    unsigned rounds;
    int64_t killed;
    int64_t own_replicas, replicas;
    uint32_t budget_ms;
};

static struct op *op_new(struct side_admin *admin, side_on_result *on_result, void *self) {
    struct op *op = NEW(struct op);
    *op = (struct op){.admin = admin, .on_result = on_result, .self = self};
    return op;
}

static void give(struct op *op, struct side_result result) {
    if (!result.why) result.why = "";
    op->on_result(op->self, &result);
    mem_free(op);
}

static void give_error(struct op *op, const char *doing, const struct resp_reply *reply,
                       const struct why *why) {
    char text[256];
    const char *side = side_name(op->admin->side);
    if (reply && reply->text.size)
        snprintf(text, sizeof text, "%s at %s: %.*s", doing, side,
                 (int)(reply->text.size < 160 ? reply->text.size : 160),
                 (const char *)reply->text.data);
    else
        snprintf(text, sizeof text, "%s at %s: %.160s", doing, side, why ? why->text : "no answer");
    give(op, (struct side_result){.err = ERR_REFUSED, .why = text, .refused = reply != NULL});
}

/* False when nobody is connected; the result has been given then. */
static bool connected(struct op *op, const char *doing) {
    if (op->admin->conn && rconn_is_ready(op->admin->conn)) return true;
    struct why why;
    why_set(&why, ERR_CLOSED, "not connected");
    give_error(op, doing, NULL, &why);
    return false;
}

/* ---- place ---- */

static void on_place(void *self, const struct resp_reply *reply, const struct why *why) {
    struct op *op = self;
    if (!reply || resp_reply_is_error(reply)) {
        give_error(op, "INFO", reply, why);
        return;
    }
    struct side_result result = {0};
    char role[16], text[96];
    side_info_text(reply->text, "role", role, sizeof role);
    side_info_replid(reply->text, result.place.replid);
    bool known = side_info_int(reply->text, "master_repl_offset", &result.place.offset) &&
                 strlen(result.place.replid) == 40;
    if (strcmp(role, "master") != 0 || !known) {
        snprintf(text, sizeof text, "%s %s", side_name(op->admin->side),
                 known ? "is not a master" : "does not tell its replication offset");
        result.err = ERR_STATE;
        result.why = text;
    }
    give(op, result);
}

void side_read_place(struct side_admin *admin, side_on_result *on_result, void *self) {
    struct op *op = op_new(admin, on_result, self);
    if (connected(op, "INFO"))
        rconn_words(admin->conn, "INFO", on_place, op);
}

/* ---- fence: LIST, KILL what is left, LIST again until none is ---- */

static void on_fence_list(void *self, const struct resp_reply *reply, const struct why *why);

static void fence_list(struct op *op) {
    if (connected(op, "CLIENT LIST"))
        rconn_words(op->admin->conn, "CLIENT LIST", on_fence_list, op);
}

static void on_kill(void *self, const struct resp_reply *reply, const struct why *why) {
    (void)self; /* the LIST that follows tells whether it helped */
    (void)reply;
    (void)why;
}

static size_t kill_strangers(struct op *op, struct slice list) {
    struct client_line line;
    struct slice name;
    size_t found = 0;
    while (client_list_next(&list, &line)) {
        if (!client_gateway_name(line.name, &name) || line.id.size == 0) continue;
        if (op->keep(op->self, (const char *)name.data, name.size)) continue;
        const struct slice argv[] = {SLICE("CLIENT"), SLICE("KILL"), SLICE("ID"), line.id};
        rconn_command(op->admin->conn, 4, argv, on_kill, NULL);
        found++;
    }
    return found;
}

static void on_fence_list(void *self, const struct resp_reply *reply, const struct why *why) {
    struct op *op = self;
    if (!reply || resp_reply_is_error(reply)) {
        give_error(op, "CLIENT LIST", reply, why);
        return;
    }
    size_t found = kill_strangers(op, reply->text);
    if (found == 0) {
        give(op, (struct side_result){.count = op->killed});
        return;
    }
    if (op->rounds++ == 0) op->killed = (int64_t)found;
    if (op->rounds > FENCE_ROUNDS) {
        give(op, (struct side_result){.err = ERR_TIMEOUT,
                                      .refused = true,
                                      .why = "connections of gateways stay, whatever is killed"});
        return;
    }
    fence_list(op); /* answered after the KILLs: they go down the same connection */
}

void side_fence(struct side_admin *admin, bool (*keep)(void *self, const char *name, size_t bytes),
                side_on_result *on_result, void *self) {
    if (strcmp(admin->facts.mode, "cluster") == 0) {
        side_fence_nodes(admin, keep, on_result, self);
        return;
    }
    struct op *op = op_new(admin, on_result, self);
    op->keep = keep;
    fence_list(op);
}

/* ---- sync: fsync, then replicas ---- */

static void on_replicas(void *self, const struct resp_reply *reply, const struct why *why) {
    struct op *op = self;
    int64_t count = 0;
    if (!reply || resp_reply_is_error(reply) || !resp_reply_to_int(reply, &count)) {
        give_error(op, "WAIT", reply, why);
        return;
    }
    if (count < op->replicas) {
        char text[128];
        snprintf(text, sizeof text,
                 "%" PRId64 " of %" PRId64 " replicas of %s have what was applied", count,
                 op->replicas, side_name(op->admin->side));
        give(op, (struct side_result){.err = ERR_TIMEOUT, .why = text});
        return;
    }
    give(op, (struct side_result){.count = 1});
}

/* Our own links are replicas too; only where there are others does it matter who has what. */
static void wait_replicas(struct op *op) {
    op->replicas = op->admin->facts.connected_replicas;
    if (op->replicas <= op->own_replicas) {
        give(op, (struct side_result){.count = 1});
        return;
    }
    char words[64];
    snprintf(words, sizeof words, "WAIT %" PRId64 " %u", op->replicas, op->budget_ms / 2 + 1);
    rconn_words(op->admin->conn, words, on_replicas, op);
}

static void on_fsync(void *self, const struct resp_reply *reply, const struct why *why) {
    struct op *op = self;
    if (!reply) {
        give_error(op, "WAITAOF", NULL, why);
        return;
    }
    bool refused =
        resp_reply_is_error(reply); /* before 7.2, or appendonly no: a gate told so before */
    int64_t local = 0;
    if (!refused &&
        (reply->count < 1 || !resp_reply_to_int(&reply->child[0], &local) || local < 1)) {
        give(op, (struct side_result){.err = ERR_TIMEOUT,
                                      .why = "what was applied is not fsynced in time"});
        return;
    }
    wait_replicas(op);
}

void side_sync(struct side_admin *admin, int64_t own_replicas, uint32_t budget_ms,
               side_on_result *on_result, void *self) {
    struct op *op = op_new(admin, on_result, self);
    op->own_replicas = own_replicas;
    op->budget_ms = budget_ms;
    if (!connected(op, "WAITAOF")) return;
    if (!admin->facts.aof) {
        wait_replicas(op);
        return;
    }
    char words[64];
    snprintf(words, sizeof words, "WAITAOF 1 0 %u", budget_ms / 2 + 1);
    rconn_words(admin->conn, words, on_fsync, op);
}

/* ---- open as primary ---- */

static void on_import_off(void *self, const struct resp_reply *reply, const struct why *why) {
    struct op *op = self;
    if (!reply || resp_reply_is_error(reply))
        give_error(op, "CONFIG SET import-mode no", reply, why);
    else
        give(op, (struct side_result){0});
}

static void on_epoch(void *self, const struct resp_reply *reply, const struct why *why) {
    struct op *op = self;
    if (!reply || resp_reply_is_error(reply))
        give_error(op, "DRAWBRIDGE EPOCH", reply, why);
    else if (connected(op, "CONFIG SET import-mode no"))
        rconn_words(op->admin->conn, "CONFIG SET import-mode no", on_import_off, op);
}

void side_open_primary(struct side_admin *admin, uint64_t epoch, side_on_result *on_result,
                       void *self) {
    struct op *op = op_new(admin, on_result, self);
    if (!connected(op, "DRAWBRIDGE EPOCH")) return;
    if (!admin->facts.gate.bundled) {
        give(op, (struct side_result){0});
        return;
    }
    char words[64];
    snprintf(words, sizeof words, "DRAWBRIDGE EPOCH %" PRIu64, epoch);
    rconn_words(admin->conn, words, on_epoch, op);
}
