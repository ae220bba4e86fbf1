/* cli.h -- the command line: verbs for the person on cutover night. */
#ifndef STATE_CLI_H
#define STATE_CLI_H

/* ARGV as main() got it. Returns the exit code of the process (operations.md). */
int cli_main(int argc, char **argv);

#endif
