/* typed.h -- from a key to a value of the wanted type, and back: what all commands on lists,
 * hashes, sets and sorted sets begin and end with.
 *
 *     struct typed t;
 *     switch (typed_write(c, key, TYPE_SET, &t)) { case WRONG_TYPE: return; case ABSENT: ...; case
 * FOUND: ... } set_add(&t.value, ...); typed_store(&t);
 *
 * A struct typed borrows the entry and dies with the next change of the keyspace.
 */
#ifndef SERVER_TYPED_H
#define SERVER_TYPED_H

#include "server/args.h"
#include "server/client.h"
#include "server/command.h"
#include "server/engine.h"
#include "server/keyspace.h"
#include "server/reply.h"

enum found { FOUND, ABSENT, WRONG_TYPE /* or an argument too big; the error was replied */ };

struct typed {
    struct entry *entry;
    struct value value;
};

enum found typed_read(struct client *c, struct slice key, enum type type, struct typed *t);
/* The observer has been told that the value is going to change. */
enum found typed_write(struct client *c, struct slice key, enum type type, struct typed *t);
/* Like typed_write(), but nothing is told and counted yet: typed_edit() does that. */
enum found typed_lookup(struct client *c, struct slice key, enum type type, struct typed *t);
void typed_edit(struct client *c, struct typed *t);

/* The value may have got another encoding or pointer: put it back into its entry. */
void typed_store(struct typed *t);

/* The result of a command with a destination: VALUE becomes the value of KEY with EVENT, or, if it
 * is empty, is freed and KEY is deleted. Replies the length. */
void typed_replace(struct client *c, struct slice key, const struct value *value,
                   enum notify_class class, const char *event);

static inline const struct type_limits *limits_of(const struct client *c) {
    return &c->engine->settings.types;
}

/* START and STOP as LRANGE and ZRANGE take them (negative: from the end), over LENGTH elements:
 * false if the range is empty; else *FIRST and *COUNT are set. */
bool range_clip(int64_t start, int64_t stop, size_t length, size_t *first, size_t *count);

#endif
