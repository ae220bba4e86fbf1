/* state.c -- ledger, workflow, gates, HTTP API. */
#include "state/state.h"

#include <stdio.h>

int state_main(int argc, char **argv) {
    (void)argc;
    (void)argv;
    fprintf(stderr, "state: not built yet\n");
    return 2;
}
