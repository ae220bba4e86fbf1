/* cli_options.c -- reading the arguments of the command line. */
#include "lib/base/options.h"
#include "state/cli_inside.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void cli_usage(FILE *out) {
    fputs("drawbridge moves a live Redis, and back, without its clients noticing.\n"
          "\n"
          "  drawbridge up FILE                     every role of FILE on this machine; Ctrl-C "
          "stops in order\n"
          "  drawbridge gateway|syncer|state FILE   one role\n"
          "  drawbridge server [REDIS.CONF] [--OPTION VALUE ...]\n"
          "  drawbridge check [FILE]                preflight: reaches both sides, writes nothing\n"
          "  drawbridge start [--baseline FILE|scan]   begin to copy and follow; FILE: an RDB of "
          "legacy, for capture lane\n"
          "  drawbridge status [--watch] [--gate ID]\n"
          "  drawbridge pause | resume | throttle --ops N --bytes N\n"
          "  drawbridge reads [--target 10%|shadow|primary]   which side answers them\n"
          "  drawbridge audit [start|show|diff|repair|stop]\n"
          "  drawbridge cutover [--dry-run|--rehearse] [--max-hold 500ms]\n"
          "  drawbridge rollback [--dry-run|--rehearse] [--max-hold 500ms]\n"
          "  drawbridge capture stream|lane [--dry-run] [--max-hold 500ms]\n"
          "  drawbridge complete                    give up the way back\n"
          "  drawbridge abort                       end the migration; legacy stays primary\n"
          "  drawbridge gates waive ID --reason TEXT [--for 1h]\n"
          "  drawbridge ledger [events|checkpoints|barriers|verify|export]\n"
          "  drawbridge config [check|example] [FILE]\n"
          "  drawbridge completion bash\n"
          "\n"
          "  --api PATH|URL     where state listens ($DRAWBRIDGE_API, or state.api of the file)\n"
          "  --config FILE      the file ($DRAWBRIDGE_CONFIG, ./drawbridge.yaml, "
          "/etc/drawbridge/drawbridge.yaml)\n"
          "  --output table|json   --dry-run   --reason TEXT   --yes   --wait[=TIME]\n"
          "\n"
          "Exit codes: 0 done, 1 failed, 2 usage, 3 not ready, 4 not authorised, 5 differences or "
          "no claim,\n"
          "6 the wait ran out, 7 state moved on, 8 aborted and restored, 9 state is unreachable, "
          "130 detached.\n",
          out);
}

static bool complain(const char *option, const char *text) {
    fprintf(stderr, "drawbridge: %s: %s\n", option, text);
    return false;
}

/* Options with a value; where it goes. */
static bool take_value(struct cli *cli, const char *name, const char *value) {
    struct why why;
    enum err err = OK;
    if (strcmp(name, "--reason") == 0)
        cli->reason = value;
    else if (strcmp(name, "--api") == 0)
        cli->api = value;
    else if (strcmp(name, "--config") == 0)
        cli->config_path = value;
    else if (strcmp(name, "--gate") == 0)
        cli->gate = value;
    else if (strcmp(name, "--target") == 0)
        cli->target = value;
    else if (strcmp(name, "--baseline") == 0)
        cli->baseline = value;
    else if (strcmp(name, "--file") == 0)
        cli->output_file = value;
    else if (strcmp(name, "--max-hold") == 0)
        err = option_parse_duration(value, &cli->max_hold_ms, &why);
    else if (strcmp(name, "--for") == 0)
        err = option_parse_duration(value, &cli->for_ms, &why);
    else if (strcmp(name, "--timeout") == 0)
        err = option_parse_duration(value, &cli->wait_ms, &why);
    else if (strcmp(name, "--ops") == 0)
        err = option_parse_size(value, &cli->ops, &why);
    else if (strcmp(name, "--bytes") == 0)
        err = option_parse_size(value, &cli->bytes, &why);
    else if (strcmp(name, "--after") == 0)
        err = option_parse_size(value, &cli->after, &why);
    else if (strcmp(name, "--limit") == 0)
        err = option_parse_size(value, &cli->limit, &why);
    else if (strcmp(name, "--output") == 0) {
        cli->json = strcmp(value, "json") == 0;
        if (!cli->json && strcmp(value, "table") != 0) return complain(name, "table or json");
    } else
        return complain(name, "there is no such option");
    return err ? complain(name, why.text) : true;
}

static bool take_flag(struct cli *cli, const char *name) {
    if (strcmp(name, "--yes") == 0 || strcmp(name, "-y") == 0)
        cli->yes = true;
    else if (strcmp(name, "--dry-run") == 0)
        cli->dry_run = true;
    else if (strcmp(name, "--rehearse") == 0)
        cli->rehearse = true;
    else if (strcmp(name, "--wait") == 0)
        cli->wait = true;
    else if (strcmp(name, "--watch") == 0)
        cli->watch = true;
    else if (strcmp(name, "--help") == 0)
        cli->help = true;
    else
        return false;
    return true;
}

static bool take_wait(struct cli *cli, const char *value) {
    struct why why;
    cli->wait = true;
    return option_parse_duration(value, &cli->wait_ms, &why) ? complain("--wait", why.text) : true;
}

static bool take_option(struct cli *cli, int argc, char **argv, int *at) {
    char *word = argv[*at], *equals = strchr(word, '=');
    if (strncmp(word, "--wait=", 7) == 0) return take_wait(cli, word + 7);
    if (take_flag(cli, word)) return true;
    if (equals) {
        *equals = 0;
        return take_value(cli, word, equals + 1);
    }
    if (*at + 1 >= argc) return complain(word, "there is no such option, or its value is missing");
    return take_value(cli, word, argv[++*at]);
}

bool cli_parse(struct cli *cli, int argc, char **argv) {
    *cli = (struct cli){.program = argv[0],
                        .verb = argv[1],
                        .sub = "",
                        .reason = "",
                        .ops = -1,
                        .bytes = -1,
                        .wait_ms = 24 * 3600 * 1000,
                        .for_ms = 3600 * 1000,
                        .limit = 1000};
    cli->terminal = isatty(STDOUT_FILENO) == 1;
    cli->colour = cli->terminal && !getenv("NO_COLOR");
    bool has_sub = strcmp(cli->verb, "capture") == 0 || strcmp(cli->verb, "audit") == 0 || strcmp(cli->verb, "ledger") == 0 ||
                   strcmp(cli->verb, "gates") == 0 || strcmp(cli->verb, "config") == 0 ||
                   strcmp(cli->verb, "completion") == 0;
    for (int i = 2; i < argc; i++) {
        if (argv[i][0] == '-') {
            if (!take_option(cli, argc, argv, &i)) return false;
        } else if (has_sub && !cli->sub[0]) {
            cli->sub = argv[i];
        } else if (cli->word_count < sizeof cli->words / sizeof *cli->words) {
            cli->words[cli->word_count++] = argv[i];
        } else
            return complain(argv[i], "too many words");
    }
    return true;
}

const char *cli_config_path(const struct cli *cli) {
    if (cli->config_path) return cli->config_path;
    if (cli->word_count) return cli->words[0];
    const char *env = getenv("DRAWBRIDGE_CONFIG");
    if (env && env[0]) return env;
    if (access("drawbridge.yaml", R_OK) == 0) return "drawbridge.yaml";
    return "/etc/drawbridge/drawbridge.yaml";
}

enum err cli_load_config(const struct cli *cli, struct drawbridge_config *config, struct why *why) {
    return config_load(config, cli_config_path(cli), NULL, why);
}
