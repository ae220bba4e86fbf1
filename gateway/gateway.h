/* gateway.h -- the front proxy: one Redis endpoint for clients. */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

/* ARGV[0] is "gateway". Returns the exit code of the process. */
int gateway_main(int argc, char **argv);

#endif
