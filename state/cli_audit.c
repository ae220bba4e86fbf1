/* cli_audit.c -- audit: start, show, diff, repair, stop. */
#include "state/cli_inside.h"

#include <inttypes.h>
#include <string.h>

/* 5 also when equality cannot be claimed. */
static int code_of(const json_t *audit) {
    return strcmp(json_text(audit, "outcome"), "equal") == 0 ? EXIT_DONE : EXIT_DIFFERENT;
}

static int show(const struct cli *cli, const json_t *audit) {
    char a[32];
    if (!json_is_object(audit)) {
        fprintf(stderr, "no audit has ended yet; `drawbridge audit start --wait`\n");
        return EXIT_DIFFERENT;
    }
    if (cli->json)
        cli_print_json(audit);
    else {
        int64_t offset = json_number(audit, "source_offset");
        char where[48] = "in the gateways' lanes";
        if (offset) snprintf(where, sizeof where, "at offset %" PRId64, offset);
        printf("audit %" PRId64 ": %s\n  %s keys compared %s, %" PRId64 " differ, %" PRId64
               " undecided\n",
               json_number(audit, "audit"), json_text(audit, "outcome"),
               cli_count(json_number(audit, "keys"), a), where, json_number(audit, "differences"),
               json_number(audit, "undecided"));
        if (json_text(audit, "error")[0]) printf("  %s\n", json_text(audit, "error"));
        if (json_number(audit, "differences")) printf("  next: drawbridge audit diff\n");
    }
    return code_of(audit);
}

static int wait_for(struct cli *cli, int64_t id) {
    struct progress progress = {0};
    int64_t until = cli_now_ms() + cli->wait_ms, reached_ms = cli_now_ms();
    cli_watch_interrupt();
    for (;;) {
        json_t *status;
        int called = cli_call(cli, "GET", "/v1/status", NULL, &status);
        const json_t *audit = json_object_get(status, "audit");
        if (called == EXIT_DONE && json_is_object(audit) && json_number(audit, "audit") >= id) {
            cli_progress_end(cli, &progress);
            int code = show(cli, audit);
            json_decref(status);
            return code;
        }
        if (called == EXIT_DONE) cli_progress(cli, &progress, status);
        if (cli_gone(called, &reached_ms)) {
            cli_print_error(cli, status);
            json_decref(status);
            return EXIT_UNREACHABLE;
        }
        json_decref(status);
        if (cli_interrupted()) {
            fprintf(stderr,
                    "detached; the audit goes on. `drawbridge audit show` has its result\n");
            return EXIT_DETACHED;
        }
        if (cli_now_ms() >= until) {
            fprintf(
                stderr,
                "the wait ran out; the audit goes on. `drawbridge audit show` has its result\n");
            return EXIT_WAIT_OVER;
        }
        cli_sleep(100);
    }
}

static bool capture_is_lane(struct cli *cli) {
    json_t *status = NULL;
    bool lane = cli_call(cli, "GET", "/v1/status", NULL, &status) == EXIT_DONE &&
                strcmp(json_text(status, "capture"), "lane") == 0;
    json_decref(status);
    return lane;
}

static int start(struct cli *cli) {
    json_t *answer;
    const char *cost = capture_is_lane(cli) ? "the lanes read each key at both sides"
                                            : "it costs the primary side one fork";
    json_t *body = json_pack("{s:s, s:s}", "who", "cli", "reason", cli->reason);
    int code = cli_call(cli, "POST", "/v1/audit/start", body, &answer);
    json_decref(body);
    int64_t id = json_number(answer, "audit");
    if (code)
        cli_print_error(cli, answer);
    else if (cli->wait)
        code = wait_for(cli, id);
    else if (cli->json)
        cli_print_json(answer);
    else
        printf("audit %" PRId64 " runs; %s. `drawbridge audit show` has its result\n", id, cost);
    json_decref(answer);
    return code;
}

static int diff(struct cli *cli) {
    json_t *answer;
    int code = cli_call(cli, "GET", "/v1/audit/differences", NULL, &answer);
    const json_t *list = json_object_get(answer, "differences");
    size_t i;
    json_t *d;
    if (code)
        cli_print_error(cli, answer);
    else if (cli->json)
        cli_print_json(answer);
    else {
        json_array_foreach(list, i, d)
            printf("db %-2" PRId64 " %-9s %-8s %s  (%.16s | %.16s)\n", json_number(d, "db"),
                   json_text(d, "kind"), json_text(d, "type"), json_text(d, "key"),
                   json_text(d, "source_digest"), json_text(d, "target_digest"));
        printf("%zu differences\n", json_array_size(list));
    }
    if (!code && json_array_size(list)) code = EXIT_DIFFERENT;
    json_decref(answer);
    return code;
}

static int command(struct cli *cli, const char *path, const char *said) {
    json_t *answer;
    json_t *body = json_pack("{s:s, s:s}", "who", "cli", "reason", cli->reason);
    int code = cli_call(cli, "POST", path, body, &answer);
    json_decref(body);
    if (code)
        cli_print_error(cli, answer);
    else if (cli->json)
        cli_print_json(answer);
    else
        puts(said);
    json_decref(answer);
    return code;
}

int cli_audit(struct cli *cli) {
    if (strcmp(cli->sub, "start") == 0) return start(cli);
    if (strcmp(cli->sub, "diff") == 0) return diff(cli);
    if (strcmp(cli->sub, "repair") == 0)
        return command(
            cli, "/v1/audit/repair",
            "each differing key is copied again; then run `drawbridge audit start --wait`");
    if (strcmp(cli->sub, "stop") == 0) return command(cli, "/v1/audit/stop", "stopped");
    if (cli->sub[0] && strcmp(cli->sub, "show") != 0) {
        fprintf(stderr, "drawbridge audit [start|show|diff|repair|stop]\n");
        return EXIT_USAGE;
    }
    json_t *status;
    int code = cli_call(cli, "GET", "/v1/status", NULL, &status);
    if (code)
        cli_print_error(cli, status);
    else
        code = show(cli, json_object_get(status, "audit"));
    json_decref(status);
    return code;
}
