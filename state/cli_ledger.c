/* cli_ledger.c -- ledger: events, checkpoints, barriers, verify, export. */
#include "state/cli_inside.h"

#include <inttypes.h>
#include <string.h>

#define PAGE 1000

/* All events after AFTER, page by page; *ALL is an array. */
static int all_events(const struct cli *cli, int64_t after, json_t **all, json_t **error) {
    *all = json_array();
    for (;;) {
        char path[96];
        json_t *answer;
        snprintf(path, sizeof path, "/v1/events?after=%" PRId64 "&limit=%d", after, PAGE);
        int code = cli_call(cli, "GET", path, NULL, &answer);
        if (code) {
            *error = answer;
            return code;
        }
        json_t *page = json_object_get(answer, "events");
        size_t count = json_array_size(page);
        if (count) after = json_number(json_array_get(page, count - 1), "seq");
        json_array_extend(*all, page);
        json_decref(answer);
        if (count < PAGE) return EXIT_DONE;
    }
}

static int events(struct cli *cli) {
    json_t *all, *error = NULL, *e;
    size_t i;
    int code = all_events(cli, cli->after, &all, &error);
    if (code)
        cli_print_error(cli, error);
    else if (cli->json) {
        json_t *json = json_pack("{s:s, s:O}", "schema", "drawbridge.events.v1", "events", all);
        cli_print_json(json);
        json_decref(json);
    } else {
        json_array_foreach(all, i, e) {
            char at[32];
            printf("%5" PRId64 "  %s  %-17s %-12s %s\n", json_number(e, "seq"),
                   cli_clock(json_number(e, "at_ms"), at), json_text(e, "kind"),
                   json_text(e, "who"), json_text(e, "text"));
        }
    }
    json_decref(all);
    json_decref(error);
    return code;
}

static int checkpoints(struct cli *cli) {
    json_t *answer, *c;
    size_t i;
    int code = cli_call(cli, "GET", "/v1/checkpoints", NULL, &answer);
    if (code)
        cli_print_error(cli, answer);
    else if (cli->json)
        cli_print_json(answer);
    else {
        json_array_foreach(json_object_get(answer, "checkpoints"), i, c) {
            char at[32];
            printf("barrier %-3" PRId64 " %s  epoch %-4" PRId64 " %-7s %s %" PRId64 "  %s\n",
                   json_number(c, "barrier"), cli_clock(json_number(c, "at_ms"), at),
                   json_number(c, "epoch"), json_text(c, "side"), json_text(c, "replid"),
                   json_number(c, "offset"), json_text(c, "meaning"));
        }
    }
    json_decref(answer);
    return code;
}

static int barriers(struct cli *cli) {
    json_t *answer, *b;
    size_t i;
    int code = cli_call(cli, "GET", "/v1/barriers", NULL, &answer);
    if (code)
        cli_print_error(cli, answer);
    else if (cli->json)
        cli_print_json(answer);
    else {
        json_array_foreach(json_object_get(answer, "barriers"), i, b) {
            char at[32];
            printf("barrier %-3" PRId64 " %s  %s -> %s  %-9s held %.1f ms  %s\n",
                   json_number(b, "barrier"), cli_clock(json_number(b, "began_ms"), at),
                   json_text(b, "from"), json_text(b, "to"), json_text(b, "outcome"),
                   json_double(b, "hold_ms"), json_text(b, "why"));
        }
    }
    json_decref(answer);
    return code;
}

static int verify(struct cli *cli) {
    json_t *answer;
    int code = cli_call(cli, "GET", "/v1/ledger/verify", NULL, &answer);
    if (code)
        cli_print_error(cli, answer);
    else {
        if (cli->json)
            cli_print_json(answer);
        else
            printf("%s%s\n", json_text(answer, "text"),
                   json_truth(answer, "ok") ? "" : ": somebody changed the ledger");
        code = json_truth(answer, "ok") ? EXIT_DONE : EXIT_FAILED;
    }
    json_decref(answer);
    return code;
}

/* Everything, as one JSON document: the record for afterwards. */
static int export(struct cli *cli) {
    static const char *const parts[][2] = {{"status", "/v1/status"},
                                           {"checkpoints", "/v1/checkpoints"},
                                           {"barriers", "/v1/barriers"},
                                           {"verify", "/v1/ledger/verify"},
                                           {"differences", "/v1/audit/differences"}};
    json_t *all, *error = NULL, *json = json_pack("{s:s}", "schema", "drawbridge.export.v1");
    int code = all_events(cli, 0, &all, &error);
    json_object_set_new(json, "events", all);
    for (size_t i = 0; !code && i < sizeof parts / sizeof *parts; i++) {
        json_t *answer;
        code = cli_call(cli, "GET", parts[i][1], NULL, &answer);
        if (code)
            error = answer;
        else
            json_object_set_new(json, parts[i][0], answer);
    }
    if (code)
        cli_print_error(cli, error);
    else if (!cli->output_file)
        cli_print_json(json);
    else if (json_dump_file(json, cli->output_file, JSON_INDENT(1)) != 0) {
        fprintf(stderr, "drawbridge ledger export: cannot write %s\n", cli->output_file);
        code = EXIT_FAILED;
    }
    json_decref(error);
    json_decref(json);
    return code;
}

int cli_ledger(struct cli *cli) {
    if (!cli->sub[0] || strcmp(cli->sub, "events") == 0) return events(cli);
    if (strcmp(cli->sub, "checkpoints") == 0) return checkpoints(cli);
    if (strcmp(cli->sub, "barriers") == 0) return barriers(cli);
    if (strcmp(cli->sub, "verify") == 0) return verify(cli);
    if (strcmp(cli->sub, "export") == 0) return export(cli);
    fprintf(stderr, "drawbridge ledger [events|checkpoints|barriers|verify|export]\n");
    return EXIT_USAGE;
}
