/* cli_status.c -- the status for people: verdict first, then facts, then what is next. */
#include "state/cli_inside.h"

#include <inttypes.h>
#include <string.h>

#define BAR 20
#define REDRAW_MS 250
#define LINE_MS 10000

static const char *upper(const char *name, char text[32]) {
    size_t i = 0;
    for (; name[i] && i < 31; i++)
        text[i] = name[i] >= 'a' && name[i] <= 'z' ? (char)(name[i] - 32) : name[i];
    text[i] = 0;
    return text;
}

static bool is_closed(const json_t *gate) {
    const char *state = json_text(gate, "state");
    return json_truth(gate, "matters") &&
           (strcmp(state, "fail") == 0 || strcmp(state, "unknown") == 0);
}

static void draw_head(const struct cli *cli, const json_t *s, FILE *out) {
    char a[32], b[32], c[32];
    const char *phase = json_text(s, "phase");
    bool good = strcmp(phase, "level") == 0 || strcmp(phase, "guarded") == 0 ||
                strcmp(phase, "completed") == 0;
    int64_t since = json_number(s, "phase_since_ms");
    fprintf(out, "%s●%s %s  %s%s%s since %s (%s)   %s is primary   epoch %" PRId64 "\n",
            cli_paint(cli, good ? PAINT_GREEN : PAINT_YELLOW), cli_paint(cli, PAINT_OFF),
            json_text(s, "migration"), cli_paint(cli, PAINT_BOLD), upper(phase, a),
            cli_paint(cli, PAINT_OFF), cli_clock(since, b),
            cli_duration(json_number(s, "now_ms") - since, c), json_text(s, "primary"),
            json_number(s, "epoch"));
}

/* An ETA is said when there is something to say it by; a copy that is outrun says so. */
static void copy_rest(const json_t *copy, char *text, size_t size) {
    char a[32];
    double share = json_double(copy, "share");
    int64_t eta_ms = json_number(copy, "eta_ms");
    if (json_truth(copy, "done"))
        snprintf(text, size, "in %s",
                 cli_duration((int64_t)(json_double(copy, "seconds") * 1000), a));
    else if (share < 0.01)
        snprintf(text, size, "%s keys/s", cli_count((int64_t)json_double(copy, "keys_per_s"), a));
    else if (eta_ms < 0)
        snprintf(text, size, "NOT CONVERGING");
    else
        snprintf(text, size, "%s left", cli_duration(eta_ms, a));
}

static int draw_copy(const json_t *s, FILE *out) {
    const json_t *copy = json_object_get(s, "copy");
    char keys[32], bytes[32], rest[64], bar[BAR * 3 + 1];
    double share = json_double(copy, "share");
    if (json_number(copy, "keys") == 0 && !json_truth(copy, "done")) return 0;
    for (int i = 0; i < BAR; i++)
        memcpy(bar + i * 3, i < (int)(share * BAR + 0.5) ? "█" : "░", 4); /* three bytes and the NUL */
    copy_rest(copy, rest, sizeof rest);
    fprintf(out, "  copy    %s %.0f %%   %s keys  %s  %s\n", bar, share * 100,
            cli_count(json_number(copy, "keys"), keys),
            cli_bytes(json_number(copy, "bytes"), bytes), rest);
    return 1;
}

static int draw_links(const json_t *s, FILE *out) {
    const char *name;
    json_t *link;
    int lines = 0;
    json_object_foreach(json_object_get(s, "links"), name, link) {
        char bytes[32], spool[32];
        const char *state = json_text(link, "state"), *error = json_text(link, "error");
        fprintf(out, "  %-7s %s, lag %" PRId64 " ms, %s   spool %s%s%s\n", name, state,
                json_number(link, "lag_ms"), cli_bytes(json_number(link, "lag_bytes"), bytes),
                cli_bytes(json_number(link, "spool_bytes"), spool), error[0] ? "   ✖ " : "", error);
        lines++;
    }
    return lines;
}

/* gateway.baseline: who waits for a file, and for which. */
static int draw_baselines(const json_t *lanes, FILE *out) {
    const char *name;
    json_t *gateway;
    int lines = 0;
    json_object_foreach(json_object_get(lanes, "gateways"), name, gateway) {
        char at[32];
        int64_t after_s = json_number(gateway, "baseline_wants_file_after_s");
        if (after_s == 0) continue;
        const char *why = json_text(gateway, "baseline_why");
        fprintf(out, "  %-7s %s waits for %s, an RDB of legacy that was begun at %s or later%s%s\n", "",
                name, json_text(gateway, "baseline"), cli_clock(after_s * 1000, at),
                why[0] ? ": " : "", why);
        lines++;
    }
    return lines;
}

/* Capture `lane`: the gateways are the link. */
static int draw_lanes(const json_t *s, FILE *out) {
    const json_t *lanes = json_object_get(s, "lanes");
    char keys[32], bytes[32];
    if (!json_is_object(lanes)) return 0;
    const char *state = json_truth(lanes, "level")               ? "level"
                        : json_number(lanes, "dirty_slots") > 0 ? "copying"
                                                                 : "following";
    const char *error = json_text(lanes, "error");
    fprintf(out,
            "  lanes   %s, lag %" PRId64 " ms, queue %s   %s keys dirty: about %" PRId64
            " ms of a hold, witness %s%s%s\n",
            state, json_number(lanes, "lag_ms"),
            cli_bytes(json_number(lanes, "queue_bytes"), bytes),
            cli_count(json_number(lanes, "dirty_keys"), keys), json_number(lanes, "drain_ms"),
            json_text(lanes, "witness"), error[0] ? "   ✖ " : "", error);
    return 1 + draw_baselines(lanes, out);
}

/* Our own cluster: how many nodes have the topology, and a line for each that has not. */
static int draw_topology(const struct cli *cli, const json_t *s, FILE *out) {
    const json_t *topology = json_object_get(s, "topology");
    size_t i;
    json_t *node;
    int lines = 1;
    if (!json_is_object(topology)) return 0;
    fprintf(out, "  cluster epoch %" PRId64 ", %" PRId64 " of %zu nodes have it",
            json_number(topology, "epoch"), json_number(topology, "confirmed"),
            json_array_size(json_object_get(topology, "nodes")));
    if (json_number(topology, "slots_without_node"))
        fprintf(out, "   %" PRId64 " slots without a node",
                json_number(topology, "slots_without_node"));
    fprintf(out, "\n");
    json_array_foreach(json_object_get(topology, "nodes"), i, node) {
        if (strcmp(json_text(node, "state"), "confirmed") == 0) continue;
        fprintf(out, "                  %s✖ %s:%s %s, %s\n", cli_paint(cli, PAINT_RED),
                json_text(node, "name"), cli_paint(cli, PAINT_OFF), json_text(node, "state"),
                json_text(node, "why"));
        lines++;
    }
    return lines;
}

static int draw_audit(const json_t *s, FILE *out) {
    const json_t *audit = json_object_get(s, "audit"),
                 *running = json_object_get(s, "audit_running");
    char a[32], b[32];
    if (json_is_object(running)) {
        fprintf(out, "  audit   running: %s, %s keys\n", json_text(running, "part"),
                cli_count(json_number(running, "keys"), a));
        return 1;
    }
    if (!json_is_object(audit)) return 0;
    const char *error = json_text(audit, "error");
    fprintf(out, "  audit   %s: %s keys, %" PRId64 " differ, %s old%s%s\n",
            json_text(audit, "outcome"), cli_count(json_number(audit, "keys"), a),
            json_number(audit, "differences"),
            cli_duration(json_number(s, "now_ms") - json_number(audit, "ended_ms"), b),
            error[0] ? "   ✖ " : "", error);
    return 1;
}

static int draw_gates(const struct cli *cli, const json_t *s, FILE *out) {
    const json_t *gates = json_object_get(s, "gates");
    size_t i, total = 0, open = 0;
    json_t *gate;
    int lines = 0;
    json_array_foreach(gates, i, gate) {
        if (!json_truth(gate, "matters")) continue;
        total++;
        open += !is_closed(gate);
    }
    if (total == 0) return 0;
    json_array_foreach(gates, i, gate) {
        if (!is_closed(gate)) continue;
        if (lines == 0)
            fprintf(out, "  gates   %zu/%zu   ", open, total);
        else
            fprintf(out, "                  ");
        fprintf(out, "%s✖ %s:%s %s\n", cli_paint(cli, PAINT_RED), json_text(gate, "id"),
                cli_paint(cli, PAINT_OFF), json_text(gate, "observed"));
        lines++;
    }
    if (lines == 0) {
        fprintf(out, "  gates   %zu/%zu   %s✔%s\n", open, total, cli_paint(cli, PAINT_GREEN),
                cli_paint(cli, PAINT_OFF));
        lines = 1;
    }
    return lines;
}

int cli_draw_status(const struct cli *cli, const json_t *s, FILE *out) {
    draw_head(cli, s, out);
    int lines =
        1 + draw_copy(s, out) + draw_links(s, out) + draw_lanes(s, out) +
        draw_topology(cli, s, out) + draw_audit(s, out) +
        draw_gates(cli, s, out);
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(s, "events"), i, item) {
        char at[32];
        if (i + 3 < json_array_size(json_object_get(s, "events"))) continue;
        fprintf(out, "  %-7s %s  %s\n",
                i + 3 == json_array_size(json_object_get(s, "events")) || i == 0 ? "events" : "",
                cli_clock(json_number(item, "at_ms"), at), json_text(item, "text"));
        lines++;
    }
    const char *next = json_string_value(json_array_get(json_object_get(s, "next_steps"), 0));
    if (next) {
        fprintf(out, "  next    %s\n", next);
        lines++;
    }
    return lines;
}

/* ---- progress ---- */

static void erase(struct progress *progress) {
    if (progress->lines) fprintf(stdout, "\033[%dA\033[J", progress->lines);
    progress->lines = 0;
}

void cli_progress(const struct cli *cli, struct progress *progress, const json_t *status) {
    if (cli->json) return;
    if (cli->terminal) {
        erase(progress);
        progress->lines = cli_draw_status(cli, status, stdout);
    } else if (!progress->said_ms || cli_now_ms() - progress->said_ms >= LINE_MS) {
        char at[32];
        progress->said_ms = cli_now_ms();
        printf("%s  %s: %s\n", cli_clock(json_number(status, "now_ms"), at),
               json_text(status, "phase"), json_text(status, "summary"));
    }
    fflush(stdout);
}

void cli_progress_end(const struct cli *cli, struct progress *progress) {
    if (cli->terminal && !cli->json) erase(progress);
}

/* ---- status ---- */

static int show_gate(const struct cli *cli, const json_t *status) {
    size_t i;
    json_t *gate;
    json_array_foreach(json_object_get(status, "gates"), i, gate) {
        char at[32];
        if (strcmp(json_text(gate, "id"), cli->gate) != 0) continue;
        if (cli->json) {
            cli_print_json(gate);
            return EXIT_DONE;
        }
        printf(
            "%s  %s (since %s)\n  observed  %s\n  wanted    %s\n  why       %s\n  fix       %s\n",
            json_text(gate, "title"), json_text(gate, "state"),
            cli_clock(json_number(gate, "since"), at), json_text(gate, "observed"),
            json_text(gate, "wanted"), json_text(gate, "why"), json_text(gate, "fix"));
        return EXIT_DONE;
    }
    fprintf(stderr, "drawbridge status: there is no gate '%s'\n", cli->gate);
    return EXIT_USAGE;
}

static int watch(struct cli *cli) {
    struct progress progress = {0};
    cli_watch_interrupt();
    while (!cli_interrupted()) {
        json_t *answer;
        int code = cli_call(cli, "GET", "/v1/status", NULL, &answer);
        if (code)
            cli_print_error(cli, answer);
        else if (cli->json)
            cli_print_json(answer);
        else
            cli_progress(cli, &progress, answer);
        json_decref(answer);
        cli_sleep(code ? 1000 : cli->terminal ? REDRAW_MS : 1000);
    }
    return EXIT_DETACHED;
}

int cli_status(struct cli *cli) {
    json_t *answer;
    if (cli->watch) return watch(cli);
    int code = cli_call(cli, "GET", "/v1/status", NULL, &answer);
    if (code)
        cli_print_error(cli, answer);
    else if (cli->gate)
        code = show_gate(cli, answer);
    else if (cli->json)
        cli_print_json(answer);
    else
        cli_draw_status(cli, answer, stdout);
    json_decref(answer);
    return code;
}
