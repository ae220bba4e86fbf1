/* gateway.c -- the front proxy: one Redis endpoint for clients. */
#include "gateway/gateway.h"

#include <stdio.h>

int gateway_main(int argc, char **argv) {
    (void)argc;
    (void)argv;
    fprintf(stderr, "gateway: not built yet\n");
    return 2;
}
