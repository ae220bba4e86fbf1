/* lanes_journal.h -- the lanes of a loop and their journal in a file (C20, C21).
 *
 * At the start, before anything is connected:
 *
 *     journal_file_open(&file, folder, "loop-0", size ...)
 *     lanes_journal_bind(&table, &file.journal);
 *     lanes_init(&lanes, ..., &table, ...);
 *     lanes_recover(&lanes, &file, "loop-0", &recovered);    also names of loops that are no more
 *     journal_file_commit(&file)
 *
 * Then no copy leaves before the connections of the process before us are known to be gone: kill
 * each of recovered.buried; when the server that it names (the same run id!) has answered, or is
 * known not to run any more, call lanes_unbury() for it. With `others` there were connections
 * that are not named; the grace time of C21 holds for them, and then lanes_unbury_others().
 */
#ifndef GATEWAY_LANES_JOURNAL_H
#define GATEWAY_LANES_JOURNAL_H

#include "gateway/journal_file.h"
#include "gateway/lanes.h"

struct lanes_buried {
    enum lane_side side;
    int64_t server_id;
    char run_id[JOURNAL_RUN_ID_SIZE + 1];
};

struct lanes_recovered {
    enum journal_found found; /* not JOURNAL_GOOD: everything is dirty */
    struct lanes_buried *buried;
    size_t count; /* of buried */
    char run_id[2][JOURNAL_RUN_ID_SIZE + 1]; /* lanes_note_servers(); "": not said */
    bool others;  /* there may have been connections that are not named; also when there is no
                   * journal at all, which a first start cannot tell from a lost one */
    size_t keys, slots, deadlines;
    struct why why; /* of JOURNAL_CORRUPT; may be empty */
};

/* TABLE is what lanes_init() takes; both stay where they are. */
void lanes_journal_bind(struct lane_journal *table, struct journal *journal);

/* Mark in LANES what the journal NAME in the folder of FILE says; FILE must not be committed.
 * RECOVERED is all zero, or that of an earlier call: it adds up, the worst is found. */
void lanes_recover(struct lanes *lanes, const struct journal_file *file, const char *name,
                   struct lanes_recovered *recovered);
/* Likewise, of a journal in memory (simulations). */
void lanes_recover_bytes(struct lanes *lanes, struct slice bytes,
                         const char boot[JOURNAL_BOOT_SIZE + 1],
                         struct lanes_recovered *recovered);
void lanes_recovered_close(struct lanes_recovered *recovered);

/* At the end of a process, whose connections may all be known to be gone: the server that it had to
 * do with. Without that the next process would take it for another one (C22a). "": none. */
void lanes_note_server(struct journal *journal, enum lane_side side, const char *run_id);

/* BURIED is known to be gone. */
void lanes_unbury(struct lanes *lanes, struct journal *journal, const struct lanes_buried *buried);
/* The grace time is over; both sides. */
void lanes_unbury_others(struct lanes *lanes, struct journal *journal);

#endif
