/* start.h -- making and running the engine; for server.c and tests. */
#ifndef SERVER_START_H
#define SERVER_START_H

#include "server/engine.h"

/* One per process: the hash seed is the process's. */
struct engine *engine_new(void);
/* After the settings are read: they say how many databases there are. */
void engine_make_dbs(struct engine *engine);
/* Listen and serve until shut down. */
MUST_CHECK enum err engine_run(struct engine *engine, struct why *why);

/* Options: the core's own table, then the defaults, the file, the command line. */
void config_init(struct engine *engine);
MUST_CHECK enum err config_read_all(struct engine *engine, int argc, char **argv, struct why *why);

#endif
