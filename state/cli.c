/* cli.c -- the command line. */
#include "state/cli.h"

#include <stdio.h>

int cli_main(int argc, char **argv) {
    (void)argc;
    (void)argv;
    fprintf(stderr, "cli: not built yet\n");
    return 2;
}
