/* apply_inside.h -- what the files of the apply decider share; for apply*.c alone. */
#ifndef SYNCER_APPLY_INSIDE_H
#define SYNCER_APPLY_INSIDE_H

#include "syncer/apply.h"

struct apply_item *apply_add_item(struct apply *apply, bool plain, int db);
void apply_end_item(struct apply *apply);
void apply_select(struct apply *apply, int db);
void apply_finish_wire(struct apply *apply);

/* About the keys in apply->keys. */
void apply_mark(struct apply *apply, int db, struct slice key, const char *reason);
void apply_mark_written(struct apply *apply, const char *reason);
bool apply_touches_dirty(const struct apply *apply);

/* Copies. */
void apply_drop_copies(struct apply *apply);
void apply_drop_passed_copies(struct apply *apply, uint64_t offset);
struct apply_copy *apply_copy_at(struct apply *apply, uint32_t index);
void apply_copies_done(struct apply *apply);

#endif
