/* unit.h -- the replication stream as units of apply: one command, or one MULTI...EXEC whole (C5).
 *
 *     struct unit_reader reader;  unit_reader_init(&reader, offset, db);
 *     buf_append(&reader.in, bytes...);                 more of the stream
 *     while ((step = unit_next(&reader, &unit, &why)) == STEP_DONE) ... unit ...
 *
 * Keeps the place: the offset behind the last unit, and the database that is selected there.
 * SELECT, MULTI and EXEC are understood and are not in unit.commands; everything else is.
 *
 * Borrowing: a unit points into reader.in and dies with the next call and with growth of `in`.
 * Hostile input: a stream that is not RESP, an EXEC without MULTI, a nested MULTI, a database that
 * is not a number, more than UNIT_BYTES_MAX in one unit: STEP_FAIL. Never go on behind it.
 */
#ifndef SYNCER_UNIT_H
#define SYNCER_UNIT_H

#include "lib/base/step.h"
#include "lib/redis/command.h"
#include "lib/redis/resp.h"

#define UNIT_BYTES_MAX (UINT64_C(2) << 30)

struct unit_command {
    struct slice raw;              /* as it stands in the stream */
    const struct slice *argv;      /* argc of them; argc > 0 */
    size_t argc;
    const struct command *command; /* NULL: not in our table */
    int db;                        /* -1: not known */
};

struct unit {
    const struct unit_command *commands;
    size_t count;   /* 0: a SELECT alone, an empty MULTI */
    uint64_t start; /* offsets of its first byte, and behind its last one */
    uint64_t end;
    int end_db; /* selected behind it */
};

struct unit_reader {
    struct buf in;   /* the stream from `offset` on, as far as it is known */
    uint64_t offset; /* behind the last unit */
    int db;          /* selected there; -1: not known */
    /* the unit that is being read */
    size_t scanned; /* bytes of `in` that were read as commands */
    size_t taken;   /* bytes of `in` that the last unit used; they go with the next call */
    bool in_multi;
    int multi_db;
    struct resp_request request;
    struct unit_span *spans; /* one for each command */
    size_t span_count, span_cap;
    struct resp_span *args; /* of all commands, one after the other, relative to the unit */
    size_t arg_count, arg_cap;
    struct unit_command *commands;
    struct slice *argv;
    size_t command_cap, argv_cap;
};

void unit_reader_init(struct unit_reader *reader, uint64_t offset, int db);
void unit_reader_close(struct unit_reader *reader);

/* Begin anew at another place; `in` is emptied. */
void unit_reader_move(struct unit_reader *reader, uint64_t offset, int db);

MUST_CHECK enum step unit_next(struct unit_reader *reader, struct unit *unit, struct why *why);

/* Where the caller must read on to append to `in`. */
static inline uint64_t unit_reader_wants(const struct unit_reader *reader) {
    return reader->offset + buf_size(&reader->in) - reader->taken;
}

#endif
