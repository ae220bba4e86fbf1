/* state.h -- ledger, workflow, gates, HTTP API. */
#ifndef STATE_STATE_H
#define STATE_STATE_H

/* ARGV[0] is "state". Returns the exit code of the process. */
int state_main(int argc, char **argv);

#endif
