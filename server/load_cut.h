/* load_cut.h -- an RDB file cut into pieces that can be read apart from each other.
 *
 *     file   head | aux aux select resize | key key key | key key | key | select | key ... | end
 *     pieces        BETWEEN                  KEYS          KEYS      BIG   BETWEEN  KEYS     END
 *
 * It reads the file, sums its bytes, and looks at nothing but lengths (lib/redis/rdb_skim.h). KEYS
 * can be read by any thread; what stands BETWEEN, and the END, are for the engine, in their order.
 * BIG: a key that is not in memory as a whole: whoever has cut it off reads it from the file, and
 * says how far that was, before the next piece is cut. REST: what is there is broken, or not an
 * RDB, or not understood; the engine reads on by itself, and finds the words. FAILED: the file
 * could not be read.
 *
 * One thread at a time. A piece keeps its memory for the next one; it holds LOAD_PIECE_BYTES and a
 * key, at most LOAD_KEY_BYTES_MAX.
 */
#ifndef SERVER_LOAD_CUT_H
#define SERVER_LOAD_CUT_H

#include "lib/base/buf.h"
#include "lib/redis/rdb_read.h"

#define LOAD_PIECE_BYTES ((size_t)128 * 1024)
#define LOAD_KEY_BYTES_MAX ((size_t)1 << 20) /* more of one key is not kept in memory */

enum load_kind { LOAD_KEYS, LOAD_BETWEEN, LOAD_END, LOAD_BIG, LOAD_REST, LOAD_FAILED };

struct load_bytes {
    enum load_kind kind;
    struct rdb_position at; /* version 0: the head is not read yet (REST) */
    uint64_t sum;           /* END: of all but the sum itself; BIG, REST: of all before */
    struct buf bytes;       /* of KEYS, BETWEEN, END */
};

struct load_cut {
    int fd; /* the caller's; it reads where that stands */
    struct rdb_position at;
    uint64_t sum;
    struct buf rest; /* read already, behind `at` */
    bool at_end;     /* of the file */
};

void load_cut_init(struct load_cut *cut, int fd);
void load_cut_close(struct load_cut *cut);

/* The next piece. After END, REST and FAILED there is none. WHY: of FAILED. */
enum load_kind load_cut_next(struct load_cut *cut, struct load_bytes *piece, struct why *why);

/* The file stands behind `at` by what is in `rest`: before somebody else reads it, put it there. */
MUST_CHECK enum err load_cut_seek(struct load_cut *cut, struct why *why);
/* Behind BIG: the key that was read from the file ends here. */
MUST_CHECK enum err load_cut_go_on(struct load_cut *cut, uint64_t offset, uint64_t sum,
                                   struct why *why);

#endif
