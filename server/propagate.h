/* propagate.h -- the one place where changes leave for the AOF and for replicas.
 *
 *     command --> what it did (its own words, or those it chose) --> unit --> sinks, in order
 *
 * A handler that changed something (its dirty count grew, see key_changed) is propagated in its own
 * words unless it says otherwise: propagate_instead() replaces them (SET with EX by SET with PXAT),
 * propagate_also() adds a command before... after it, propagate_nothing() says that nothing is to
 * leave. At the end of the outermost command all ops of the unit go to the sinks; more than one are
 * wrapped in MULTI and EXEC. With no sink attached nothing is recorded.
 *
 * Sinks write SELECT themselves when the database changes. They may not run commands.
 */
#ifndef SERVER_PROPAGATE_H
#define SERVER_PROPAGATE_H

#include "lib/base/slice.h"

struct client;
struct engine;

enum propagate_kind { PROPAGATE_AOF = 1, PROPAGATE_REPLICAS = 2, PROPAGATE_ALL = 3 };

/* One op. DB is the number of the database; -1 for MULTI and EXEC, which need none. */
struct propagate_sink {
    void *ctx;
    void (*op)(void *ctx, int db, int argc, const struct slice *argv);
    void (*unit_end)(void *ctx); /* may be NULL */
    enum propagate_kind kind;    /* 0: gets everything */
};

#define PROPAGATE_SINKS 4

/* FOR_LIFE of the engine or until detached. At most PROPAGATE_SINKS. */
void propagate_attach(struct engine *engine, const struct propagate_sink *sink);
void propagate_detach(struct engine *engine, const void *ctx);

/* Within a command. The bytes are copied. */
void propagate_instead(struct client *c, int argc, const struct slice *argv);
void propagate_also(struct client *c, int argc, const struct slice *argv);
void propagate_nothing(struct client *c);
/* The same with words: propagate_instead_words(c, "DEL", key) and so on; up to 8, ended by an empty
 * text. */
#define PROPAGATE_INSTEAD(c, ...)                                                                  \
    propagate_instead((c), (int)(sizeof((struct slice[]){__VA_ARGS__}) / sizeof(struct slice)),    \
                      (struct slice[]){__VA_ARGS__})
#define PROPAGATE_ALSO(c, ...)                                                                     \
    propagate_also((c), (int)(sizeof((struct slice[]){__VA_ARGS__}) / sizeof(struct slice)),       \
                   (struct slice[]){__VA_ARGS__})

/* From anywhere (expiry, eviction): adds to the current unit; outside a command it is a unit of its
 * own. */
void propagate(struct engine *engine, int db, int argc, const struct slice *argv);

/* Within a command: its ops belong to different keys that have nothing to do with each other (SCAN
 * and RANDOMKEY delete what has expired), so they leave one by one, without MULTI. */
void propagate_unwrapped(struct client *c);

/* Scripts may keep what they change from the AOF or from replicas: from now on ops go to these KINDS
 * only. Returns what was set before. */
unsigned propagate_aim(struct engine *engine, unsigned kinds);

/* The core: around each outermost execution. */
void propagate_unit_begin(struct engine *engine);
void propagate_unit_end(struct engine *engine);
bool propagate_is_on(const struct engine *engine);
/* From now on nothing leaves: for a copy of the process (script_debug.h). */
void propagate_detach_all(struct engine *engine);

#endif
