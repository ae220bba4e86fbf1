/* syncer.h -- links: copy and follow any Redis. */
#ifndef SYNCER_SYNCER_H
#define SYNCER_SYNCER_H

/* ARGV[0] is "syncer". Returns the exit code of the process. */
int syncer_main(int argc, char **argv);

#endif
