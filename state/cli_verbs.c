/* cli_verbs.c -- the verbs that change something: plan, ask, do, wait. */
#include "state/cli_inside.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POLL_MS 100

static json_t *body_of(const struct cli *cli) {
    char who[64];
    const struct passwd *login = getpwuid(getuid());
    const char *sudo = getenv("SUDO_USER");
    snprintf(who, sizeof who, "cli:%.50s", sudo ? sudo : login ? login->pw_name : "?");
    json_t *body =
        json_pack("{s:s, s:s, s:b}", "who", who, "reason", cli->reason, "dry_run", cli->dry_run);
    if (cli->max_hold_ms) json_object_set_new(body, "max_hold_ms", json_integer(cli->max_hold_ms));
    if (cli->rehearse) json_object_set_new(body, "rehearse", json_true());
    if (cli->baseline) json_object_set_new(body, "baseline", json_string(cli->baseline));
    if (cli->ops >= 0) json_object_set_new(body, "ops", json_integer(cli->ops));
    if (cli->bytes >= 0) json_object_set_new(body, "bytes", json_integer(cli->bytes));
    return body;
}

static int post(struct cli *cli, const char *path, json_t *body, json_t **answer) {
    int code = cli_call(cli, "POST", path, body, answer);
    json_decref(body);
    return code;
}

static void print_plan(const struct cli *cli, const json_t *plan) {
    if (cli->json) {
        cli_print_json(plan);
        return;
    }
    size_t i;
    json_t *step;
    printf("%s would do:\n", json_text(plan, "verb"));
    json_array_foreach(json_object_get(plan, "steps"), i, step)
        printf("  %zu. %s\n", i + 1, json_string_value(step));
    if (json_double(plan, "last_hold_ms") > 0)
        printf("predicted hold  %.0f ms, as the last one\n", json_double(plan, "last_hold_ms"));
    if (json_object_get(plan, "drain_ms"))
        printf("dirty keys      %" PRId64 ": about %" PRId64 " ms of the hold\n",
               json_number(plan, "dirty_keys"), json_number(plan, "drain_ms"));
    if (json_text(plan, "undo")[0]) printf("undo            %s\n", json_text(plan, "undo"));
    if (!json_truth(plan, "possible")) printf("NOT NOW         %s\n", json_text(plan, "why_not"));
}

static void print_findings(const struct cli *cli, const json_t *answer) {
    size_t i;
    json_t *f;
    if (cli->json) return;
    json_array_foreach(json_object_get(answer, "findings"), i, f) {
        const char *level = json_text(f, "level"), *fix = json_text(f, "fix");
        if (strcmp(level, "good") == 0) continue;
        printf("  %-5s %s\n", level, json_text(f, "text"));
        if (fix[0]) printf("        fix: %s\n", fix);
    }
}

/* ---- waiting ---- */

enum wait { WAIT_MORE, WAIT_DONE };

/* Polls the status until JUDGE says done. A state that is gone for a while is waited for, too. */
static int wait_status(struct cli *cli,
                       enum wait (*judge)(void *self, const json_t *status, int *code), void *self,
                       json_t **last) {
    struct progress progress = {0};
    int64_t until = cli_now_ms() + cli->wait_ms, reached_ms = cli_now_ms();
    int code = EXIT_DONE;
    *last = NULL;
    cli_watch_interrupt();
    for (;;) {
        json_t *status;
        int called = cli_call(cli, "GET", "/v1/status", NULL, &status);
        json_decref(*last);
        *last = status;
        if (cli_gone(called, &reached_ms)) {
            cli_print_error(cli, status);
            code = EXIT_UNREACHABLE;
            break;
        }
        if (called == EXIT_DONE) {
            if (judge(self, status, &code) == WAIT_DONE) break;
            cli_progress(cli, &progress, status);
        }
        if (cli_interrupted()) {
            fprintf(stderr, "detached; the work goes on. `drawbridge status` shows it\n");
            code = EXIT_DETACHED;
            break;
        }
        if (cli_now_ms() >= until) {
            fprintf(stderr, "the wait ran out; the work goes on. `drawbridge status` shows it\n");
            code = EXIT_WAIT_OVER;
            break;
        }
        cli_sleep(cli->terminal ? 250 : POLL_MS);
    }
    cli_progress_end(cli, &progress);
    return code;
}

/* ---- start ---- */

static enum wait judge_start(void *self, const json_t *status, int *code) {
    (void)self;
    const char *phase = json_text(status, "phase");
    if (strcmp(phase, "aborted") == 0) *code = EXIT_RESTORED;
    return strcmp(phase, "copying") == 0 || strcmp(phase, "checked") == 0 ||
                   strcmp(phase, "planned") == 0
               ? WAIT_MORE
               : WAIT_DONE;
}

int cli_start(struct cli *cli) {
    json_t *answer, *status;
    if (cli->baseline && cli->baseline[0] != '/' && strcmp(cli->baseline, "scan") != 0) {
        fprintf(stderr, "drawbridge start: --baseline: a path from / on, as the gateways see it\n");
        return EXIT_USAGE;
    }
    if (!cli->dry_run &&
        !cli_confirm(cli, "Begin to copy legacy to target? It costs legacy one fork."))
        return EXIT_FAILED;
    int code = post(cli, "/v1/start", body_of(cli), &answer);
    if (cli->dry_run && json_object_get(answer, "steps"))
        print_plan(cli, answer);
    else if (code) {
        cli_print_error(cli, answer);
        print_findings(cli, answer);
    } else if (!cli->wait) {
        if (cli->json)
            cli_print_json(answer);
        else {
            print_findings(cli, answer);
            printf("started: phase %s. `drawbridge status --watch` shows how it goes\n",
                   json_text(answer, "phase"));
        }
    } else {
        code = wait_status(cli, judge_start, NULL, &status);
        if (cli->json)
            cli_print_json(status);
        else if (code == EXIT_DONE)
            cli_draw_status(cli, status, stdout);
        json_decref(status);
    }
    json_decref(answer);
    return code;
}

/* ---- cutover, rollback ---- */

struct barrier_wait {
    int64_t after;
};

static enum wait judge_barrier(void *self, const json_t *status, int *code) {
    struct barrier_wait *wait = self;
    const json_t *barrier = json_object_get(status, "barrier");
    const char *outcome = json_text(barrier, "outcome");
    if (!json_is_object(barrier) || json_number(barrier, "barrier") <= wait->after)
        return WAIT_MORE;
    if (json_truth(status, "barrier_running")) return WAIT_MORE;
    *code = strcmp(outcome, "completed") == 0 || json_truth(barrier, "ready") ? EXIT_DONE
                                                                              : EXIT_RESTORED;
    return strcmp(outcome, "open") == 0 || strcmp(outcome, "committed") == 0 ? WAIT_MORE
                                                                             : WAIT_DONE;
}

static void print_barrier(const struct cli *cli, const json_t *status) {
    const json_t *b = json_object_get(status, "barrier");
    const char *outcome = json_text(b, "outcome");
    if (cli->json) {
        json_t *json = json_pack(
            "{s:s, s:s, s:O, s:O, s:O, s:O, s:O, s:O, s:O, s:O}", "schema", "drawbridge.barrier.v1",
            "verb", cli->verb, "outcome", json_object_get(b, "outcome"), "why",
            json_object_get(b, "why"), "hold_ms", json_object_get(b, "hold_ms"), "barrier",
            json_object_get(b, "barrier"), "primary", json_object_get(status, "primary"), "epoch",
            json_object_get(status, "epoch"), "phase", json_object_get(status, "phase"),
            "next_steps", json_object_get(status, "next_steps"));
        cli_print_json(json);
        json_decref(json);
    } else if (strcmp(outcome, "completed") == 0) {
        printf("%s done: %s is primary, epoch %" PRId64 "; clients were held %.1f ms\n", cli->verb,
               json_text(status, "primary"), json_number(status, "epoch"),
               json_double(b, "hold_ms"));
    } else if (json_truth(b, "ready")) {
        printf("rehearsal done, nothing changed: %s\n", json_text(b, "why"));
    } else {
        printf("%s was aborted, %s goes on as primary: %s\n", cli->verb,
               json_text(status, "primary"), json_text(b, "why"));
    }
}

/* POST BODY (which is taken) to PATH and, with --wait, wait for the barrier's end, which PRINT tells. */
static int barrier_asked(struct cli *cli, const char *path, json_t *body, const char *what,
                         void (*print)(const struct cli *cli, const json_t *status)) {
    json_t *answer, *status;
    int code = post(cli, path, body, &answer);
    if (cli->dry_run && json_object_get(answer, "steps")) {
        print_plan(cli, answer);
    } else if (code) {
        cli_print_error(cli, answer);
    } else if (!cli->wait) {
        if (cli->json)
            cli_print_json(answer);
        else
            printf("%s begins; `drawbridge status` shows how it ended\n", what);
    } else {
        struct barrier_wait wait = {json_number(answer, "after_barrier")};
        code = wait_status(cli, judge_barrier, &wait, &status);
        if (code == EXIT_DONE || code == EXIT_RESTORED) print(cli, status);
        json_decref(status);
    }
    json_decref(answer);
    return code;
}

int cli_barrier(struct cli *cli) {
    char path[32], question[160];
    snprintf(path, sizeof path, "/v1/%s", cli->verb);
    snprintf(question, sizeof question, "%s: hold all clients for a moment and %s?", cli->verb,
             cli->rehearse ? "rehearse the change of primary side" : "change the primary side");
    if (!cli->dry_run && !cli_confirm(cli, question)) return EXIT_FAILED;
    return barrier_asked(cli, path, body_of(cli), cli->verb, print_barrier);
}

static void print_capture(const struct cli *cli, const json_t *status) {
    const json_t *b = json_object_get(status, "barrier");
    if (cli->json || strcmp(json_text(b, "outcome"), "completed") != 0)
        print_barrier(cli, status);
    else
        printf("capture %s: done, epoch %" PRId64 "; clients were held %.1f ms; phase %s\n",
               json_text(status, "capture"), json_number(status, "epoch"),
               json_double(b, "hold_ms"), json_text(status, "phase"));
}

int cli_capture(struct cli *cli) {
    char what[32];
    bool known = strcmp(cli->sub, "stream") == 0 || strcmp(cli->sub, "lane") == 0;
    if (!known || cli->word_count > 0) {
        fprintf(stderr, "drawbridge capture stream|lane [--dry-run] [--max-hold 500ms]\n");
        return EXIT_USAGE;
    }
    if (!cli->dry_run &&
        !cli_confirm(cli, "capture: hold all clients for a moment and change how their writes are "
                          "carried over?"))
        return EXIT_FAILED;
    json_t *body = body_of(cli);
    json_object_set_new(body, "capture", json_string(cli->sub));
    snprintf(what, sizeof what, "capture %s", cli->sub);
    return barrier_asked(cli, "/v1/capture", body, what, print_capture);
}

/* ---- complete, abort, pause, resume, throttle ---- */

/* The phase is a fact at once; each gateway ends its lanes when it hears of it. */
static enum wait judge_lanes_ended(void *self, const json_t *status, int *code) {
    (void)self, (void)code;
    const char *name;
    json_t *lanes;
    json_object_foreach(json_object_get(json_object_get(status, "lanes"), "gateways"), name, lanes)
        if (json_truth(lanes, "open") || json_number(lanes, "follower_up") > 0) return WAIT_MORE;
    return WAIT_DONE;
}

static int wait_for_lanes(struct cli *cli) {
    json_t *status;
    if (!cli->wait || cli->dry_run) return EXIT_DONE;
    int code = wait_status(cli, judge_lanes_ended, NULL, &status);
    json_decref(status);
    return code;
}

int cli_simple(struct cli *cli) {
    json_t *answer;
    char path[32];
    bool final = strcmp(cli->verb, "complete") == 0, abort = strcmp(cli->verb, "abort") == 0;
    snprintf(path, sizeof path, "/v1/%s", cli->verb);
    if (strcmp(cli->verb, "throttle") == 0 && cli->ops < 0 && cli->bytes < 0) {
        fprintf(stderr, "drawbridge throttle: --ops N and --bytes N, per second; 0 is no limit\n");
        return EXIT_USAGE;
    }
    if (final && !cli->dry_run &&
        !cli_confirm(cli, "Complete the migration? There is no way back after it."))
        return EXIT_FAILED;
    if (abort && !cli->dry_run &&
        !cli_confirm(cli, "Abort the migration? Legacy stays primary; the copy is given up."))
        return EXIT_FAILED;
    int code = post(cli, path, body_of(cli), &answer);
    int waited = code == EXIT_DONE && (final || abort) ? wait_for_lanes(cli) : EXIT_DONE;
    if (cli->dry_run && json_object_get(answer, "steps"))
        print_plan(cli, answer);
    else if (code)
        cli_print_error(cli, answer);
    else if (waited)
        code = waited; /* and was told */
    else if (cli->json)
        cli_print_json(answer);
    else
        printf("%s: done, phase %s\n", cli->verb, json_text(answer, "phase"));
    json_decref(answer);
    return code;
}

int cli_waive(struct cli *cli) {
    json_t *answer, *body = body_of(cli);
    if (strcmp(cli->sub, "waive") != 0 || cli->word_count != 1 || !cli->reason[0]) {
        fprintf(stderr, "drawbridge gates waive ID --reason TEXT [--for 1h]\n");
        json_decref(body);
        return EXIT_USAGE;
    }
    json_object_set_new(body, "gate", json_string(cli->words[0]));
    json_object_set_new(body, "for_ms", json_integer(cli->for_ms));
    int code = post(cli, "/v1/gates/waive", body, &answer);
    if (code)
        cli_print_error(cli, answer);
    else if (cli->json)
        cli_print_json(answer);
    else
        printf("gate %s is waived\n", cli->words[0]);
    json_decref(answer);
    return code;
}
