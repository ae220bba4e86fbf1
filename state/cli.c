/* cli.c -- the command line: the table of verbs. */
#include "state/cli.h"

#include "state/cli_inside.h"

#include <string.h>

static const struct {
    const char *name;
    int (*run)(struct cli *cli);
} verbs[] = {
    {"up", cli_up},           {"check", cli_check},
    {"start", cli_start},     {"status", cli_status},
    {"pause", cli_simple},    {"resume", cli_simple},
    {"throttle", cli_simple}, {"audit", cli_audit},
    {"cutover", cli_barrier}, {"rollback", cli_barrier},
    {"complete", cli_simple}, {"abort", cli_simple},
    {"ledger", cli_ledger},   {"gates", cli_waive},
    {"reads", cli_reads},     {"capture", cli_capture},
    {"config", cli_config},   {"completion", cli_completion},
};

int cli_main(int argc, char **argv) {
    struct cli cli;
    if (argc < 2) {
        cli_usage(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
        strcmp(argv[1], "-h") == 0) {
        cli_usage(stdout);
        return EXIT_DONE;
    }
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(argv[1], verbs[i].name) != 0) continue;
        if (!cli_parse(&cli, argc, argv)) return EXIT_USAGE;
        if (cli.help) {
            cli_usage(stdout);
            return EXIT_DONE;
        }
        return verbs[i].run(&cli);
    }
    fprintf(stderr, "drawbridge: there is no verb '%s'; `drawbridge help` lists them\n", argv[1]);
    return EXIT_USAGE;
}
