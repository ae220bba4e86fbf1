/* cli_reads.c -- reads: which side answers them, and what shadow reads found. */
#include "state/cli_inside.h"

#include <inttypes.h>
#include <string.h>

static void print_differences(const json_t *gateway) {
    const char *command;
    json_t *one;
    size_t i;
    json_object_foreach(json_object_get(gateway, "commands"), command, one) {
        if (json_number(one, "different") > 0)
            printf("    %-12s %" PRId64 " of %" PRId64 " differ\n", command,
                   json_number(one, "different"), json_number(one, "compared"));
    }
    json_array_foreach(json_object_get(gateway, "differences"), i, one) {
        if (i == 20) break;
        printf("    db %-2" PRId64 " %-10s %s\n", json_number(one, "db"),
               json_text(one, "command"), json_text(one, "key"));
    }
}

static int show(const struct cli *cli, const json_t *answer) {
    const char *name;
    json_t *gateway;
    int64_t different = 0;
    json_object_foreach(json_object_get(answer, "gateways"), name, gateway)
        different += json_number(gateway, "shadow_different");
    if (cli->json) {
        cli_print_json(answer);
        return different > 0 ? EXIT_DIFFERENT : EXIT_DONE;
    }
    if (json_text(answer, "wanted")[0])
        printf("wanted %s, in effect %s\n", json_text(answer, "wanted"),
               json_text(answer, "effective"));
    json_object_foreach(json_object_get(answer, "gateways"), name, gateway) {
        printf("  %s: %s, %" PRId64 " answered by the other side, %" PRId64
               " given back; %" PRId64 " compared equal, %" PRId64 " different, %" PRId64
               " undecided\n",
               name, json_text(gateway, "policy"), json_number(gateway, "canary_answered"),
               json_number(gateway, "canary_returned"), json_number(gateway, "shadow_same"),
               json_number(gateway, "shadow_different"), json_number(gateway, "shadow_undecided"));
        print_differences(gateway);
    }
    return different > 0 ? EXIT_DIFFERENT : EXIT_DONE;
}

int cli_reads(struct cli *cli) {
    json_t *answer;
    int code;
    if (cli->target) {
        json_t *body = json_pack("{s:s, s:s, s:s}", "who", "cli", "reason", cli->reason, "target",
                                 cli->target);
        code = cli_call(cli, "POST", "/v1/reads", body, &answer);
        json_decref(body);
    } else {
        code = cli_call(cli, "GET", "/v1/reads", NULL, &answer);
    }
    if (code)
        cli_print_error(cli, answer);
    else
        code = show(cli, answer);
    if (cli->target && code == EXIT_DIFFERENT) code = EXIT_DONE; /* it was set */
    json_decref(answer);
    return code;
}
