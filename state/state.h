/* state.h -- ledger, workflow, gates, HTTP API: `drawbridge state FILE [--OPTION VALUE ...]`. */
#ifndef STATE_STATE_H
#define STATE_STATE_H

/* ARGV[0] is "state". Returns the exit code of the process: 0 stopped in order, 1 failed, 2 usage
 * or configuration. */
int state_main(int argc, char **argv);

#endif
