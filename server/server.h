/* server.h -- the bundled target: a Redis-compatible in-memory server. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

/* ARGV[0] is "server". Returns the exit code of the process. */
int server_main(int argc, char **argv);

#endif
