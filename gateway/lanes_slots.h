/* lanes_slots.h -- GATEWAY SLOTS: each lane with its slots, and what is dirty in them. */
#ifndef GATEWAY_LANES_SLOTS_H
#define GATEWAY_LANES_SLOTS_H

#include "gateway/gw.h"

#include "lib/base/slice.h"

/* On the main loop, which calls DONE, soon, with JSON. Needs gw->lanes. */
void lanes_slots(struct gateway *gw, void (*done)(void *self, struct slice text), void *self);

#endif
