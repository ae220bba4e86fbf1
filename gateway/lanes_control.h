/* lanes_control.h -- what state says to a gateway with capture `lane`, and hears from it
 * (docs/CONTROL.md): LANES OPEN, CLOSE and DRAIN; the reports LANES and DRAINED. Main loop only.
 */
#ifndef GATEWAY_LANES_CONTROL_H
#define GATEWAY_LANES_CONTROL_H

#include "gateway/gw.h"

/* CAPTURE ("stream", "lane") as state says it, and whether it is another one than before: then the
 * loops have to be told (C1). Refused when this gateway cannot carry it out. */
MUST_CHECK enum err lanes_take_capture(struct gateway *gw, struct slice capture, bool *changed,
                                       struct why *why);

/* The command LANES with its arguments; on failure nothing was done. */
MUST_CHECK enum err lanes_obey(struct gateway *gw, size_t argc, const struct slice *argv,
                               struct why *why);

/* A loop says that its lanes are drained, in the hold of ROUND. */
/* SLOTS: the table, as words. */
MUST_CHECK enum err lanes_take_slots(struct gateway *gw, size_t argc, const struct slice *argv,
                                     struct why *why);
/* BASELINE CHECK path; BASELINE migration path|scan|-. *THERE: a file is there already. */
MUST_CHECK enum err lanes_take_baseline(struct gateway *gw, size_t argc, const struct slice *argv,
                                        bool *there, struct why *why);
void lanes_on_rested(struct gateway *gw);
void lanes_on_drained(struct gateway *gw, uint64_t round);

void lanes_tick(struct gateway *gw, bool second); /* several times a second; SECOND: once in it */
void lanes_write_report(struct gateway *gw, struct buf *out);

/* At the end of the process (drain.h): whether there is somebody who could have our slots. */
bool lanes_may_leave(struct gateway *gw);
/* State is asked to hand them over. False: it is done, or nobody is left who could have them. */
MUST_CHECK bool lanes_leave(struct gateway *gw);

#endif
