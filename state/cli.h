/* cli.h -- the command line. */
#ifndef STATE_CLI_H
#define STATE_CLI_H

/* ARGV as main() got it. Returns the exit code of the process. */
int cli_main(int argc, char **argv);

#endif
