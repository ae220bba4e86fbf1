/* server.c -- the bundled target: a Redis-compatible in-memory server. */
#include "server/server.h"

#include <stdio.h>

int server_main(int argc, char **argv) {
    (void)argc;
    (void)argv;
    fprintf(stderr, "server: not built yet\n");
    return 2;
}
