/* clientcmd.h -- CLIENT LIST for others than clients; see clientcmd.c. */
#ifndef GATEWAY_CLIENTCMD_H
#define GATEWAY_CLIENTCMD_H

#include "gateway/gw.h"

/* Lines of all clients of all loops; DONE gets them on the main loop. */
void clientcmd_list(struct gateway *gw, void (*done)(void *self, struct slice text), void *self);

#endif
