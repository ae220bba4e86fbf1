/* expire_cycle.h -- deleting what is past its time without being asked. */
#ifndef SERVER_EXPIRE_CYCLE_H
#define SERVER_EXPIRE_CYCLE_H

struct engine;

/* Visit segments that have something due, for at most a share of the tick. */
void expire_cycle_run(struct engine *engine);

#endif
