/* side.c -- state's own connection to one side: dial, probe each second, dial again. */
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/redis/command.h"
#include "state/side_inside.h"

#include <stdio.h>

#define PROBE_MS 1000
#define REDIAL_MS 500
#define REPLY_TIMEOUT_MS 5000
#define CLIENT_LIST_EVERY 3 /* probes */
#define BYPASS_AGE_S 2      /* a younger connection may only not have its name yet */

static void dial(void *self);

static void on_down(void *self, enum err err, const struct why *why) {
    struct side_admin *admin = self;
    admin->conn = NULL;
    if (admin->facts.gate.reachable || !admin->facts.gate.error[0])
        log_warn("side.lost", LOG_S("side", side_name(admin->side)),
                 LOG_S("why", why ? why->text : err_text(err)));
    admin->facts.gate.reachable = false;
    admin->facts.gate.clients_known = admin->facts.gate.clock_known = false;
    snprintf(admin->facts.gate.error, sizeof admin->facts.gate.error, "%.150s",
             why && why->text[0] ? why->text : err_text(err));
    loop_timer_stop(&admin->probe);
    loop_timer_start(admin->loop, &admin->redial, REDIAL_MS, 0, dial, admin);
}

static void on_info(void *self, const struct resp_reply *reply, const struct why *why) {
    (void)why;
    struct side_admin *admin = self;
    if (!reply) return; /* on_down comes */
    if (resp_reply_is_error(reply)) {
        admin->facts.gate.reachable = false;
        admin->facts.gate.loading = slice_starts(reply->text, SLICE("LOADING"));
        snprintf(admin->facts.gate.error, sizeof admin->facts.gate.error, "INFO: %.*s",
                 (int)(reply->text.size < 120 ? reply->text.size : 120),
                 (const char *)reply->text.data);
        return;
    }
    bool was = admin->facts.gate.reachable;
    side_read_info(admin, reply->text);
    admin->facts.heard_ms = (int64_t)loop_now_ms(admin->loop);
    if (!was)
        log_info("side.here", LOG_S("side", side_name(admin->side)),
                 LOG_S("version", admin->facts.version),
                 LOG_B("bundled", admin->facts.gate.bundled),
                 LOG_S("run_id", admin->facts.gate.run_id));
}

static void on_time(void *self, const struct resp_reply *reply, const struct why *why) {
    (void)why;
    struct side_admin *admin = self;
    int64_t s, us;
    if (!reply || reply->count != 2 || !resp_reply_to_int(&reply->child[0], &s) ||
        !resp_reply_to_int(&reply->child[1], &us) || s < 0 || s > INT32_MAX * INT64_C(4))
        return;
    int64_t now_ms = clock_wall_ms(loop_clock(admin->loop));
    int64_t middle_ms = admin->time_asked_ms + (now_ms - admin->time_asked_ms) / 2;
    admin->facts.gate.clock_ms = s * 1000 + us / 1000 - middle_ms;
    admin->facts.gate.clock_known = true;
}

/* Who is neither one of ours, nor a replica or a master, nor too young to have said its name. */
static bool bypasses(const struct client_line *line) {
    if (slice_starts(line->name, SLICE("drawbridge-")) || line->age_s < BYPASS_AGE_S) return false;
    return !memchr(line->flags.data ? (const void *)line->flags.data : "", 'S', line->flags.size) &&
           !memchr(line->flags.data ? (const void *)line->flags.data : "", 'M', line->flags.size);
}

/* Its last command may have written. */
static bool writes(const struct client_line *line) {
    const struct command *command = command_lookup(1, &line->cmd);
    return command != NULL && (command->flags & (COMMAND_WRITE | COMMAND_MAY_REPLICATE)) != 0;
}

static void on_clients(void *self, const struct resp_reply *reply, const struct why *why) {
    (void)why;
    struct side_admin *admin = self;
    struct gates_side *gate = &admin->facts.gate;
    if (!reply) return;
    gate->clients_known = !resp_reply_is_error(reply);
    if (!gate->clients_known) {
        snprintf(gate->clients_error, sizeof gate->clients_error, "%.*s",
                 (int)(reply->text.size < 90 ? reply->text.size : 90),
                 (const char *)reply->text.data);
        return;
    }
    struct slice text = reply->text;
    struct client_line line;
    int64_t count = 0;
    gate->bypass[0] = 0;
    gate->writer[0] = 0;
    while (client_list_next(&text, &line)) {
        if (line.id.size == 0 || !bypasses(&line)) continue;
        size_t used = strlen(gate->bypass);
        if (!gate->writer[0] && writes(&line))
            snprintf(gate->writer, sizeof gate->writer, "%.*s by %.*s",
                     (int)(line.cmd.size < 32 ? line.cmd.size : 32), (const char *)line.cmd.data,
                     (int)(line.addr.size < 48 ? line.addr.size : 48),
                     (const char *)line.addr.data);
        if (count++ < 3)
            snprintf(gate->bypass + used, sizeof gate->bypass - used, "%s%.*s", used ? ", " : "",
                     (int)(line.addr.size < 48 ? line.addr.size : 48),
                     (const char *)line.addr.data);
    }
    gate->bypassing = count;
}

static void probe(void *self) {
    struct side_admin *admin = self;
    if (!admin->conn || rconn_pending(admin->conn) > 32) return;
    rconn_words(admin->conn, "INFO", on_info, admin);
    admin->time_asked_ms = clock_wall_ms(loop_clock(admin->loop));
    rconn_words(admin->conn, "TIME", on_time, admin);
    if (admin->probes++ % CLIENT_LIST_EVERY == 0)
        rconn_words(admin->conn, "CLIENT LIST", on_clients, admin);
}

static void on_ready(void *self) {
    struct side_admin *admin = self;
    admin->probes = 0;
    loop_timer_start(admin->loop, &admin->probe, 0, PROBE_MS, probe, admin);
}

static const struct rconn_events events = {.on_ready = on_ready, .on_down = on_down};

static void dial(void *self) {
    struct side_admin *admin = self;
    struct rconn_options options = {.user = admin->config->auth.user,
                                    .password = &admin->config->auth.password,
                                    .name = "drawbridge-state",
                                    .reply_timeout_ms = REPLY_TIMEOUT_MS,
                                    .max_reply_bytes = 64u << 20};
    admin->conn = rconn_dial(admin->loop, &admin->config->endpoint, &options, &events, admin);
}

struct side_admin *side_open(struct loop *loop, enum side side, const struct config_side *config) {
    struct side_admin *admin = NEW(struct side_admin);
    admin->loop = loop;
    admin->side = side;
    admin->config = config;
    dial(admin);
    return admin;
}

void side_close(struct side_admin *admin) {
    if (!admin) return;
    loop_timer_stop(&admin->redial);
    loop_timer_stop(&admin->probe);
    if (admin->conn) rconn_drop(admin->conn);
    mem_free(admin);
}

const struct side_facts *side_facts(const struct side_admin *admin) {
    return &admin->facts;
}
