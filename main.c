/* main.c -- one program, all roles: the first argument says which. */
#include "gateway/gateway.h"
#include "server/server.h"
#include "state/cli.h"
#include "state/state.h"
#include "syncer/syncer.h"

#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} roles[] = {
    {"gateway", gateway_main},
    {"syncer", syncer_main},
    {"server", server_main},
    {"state", state_main},
};

/* What is not a role is a verb of the command line: up, check, status, cutover ... */
int main(int argc, char **argv) {
    for (size_t i = 0; argc > 1 && i < sizeof roles / sizeof *roles; i++)
        if (strcmp(argv[1], roles[i].name) == 0) return roles[i].run(argc - 1, argv + 1);
    return cli_main(argc, argv);
}
