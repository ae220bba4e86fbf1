/* lane_audit_inside.h -- what the files of the audit share; nobody else includes it. */
#ifndef GATEWAY_LANE_AUDIT_INSIDE_H
#define GATEWAY_LANE_AUDIT_INSIDE_H

#include "gateway/lane_audit.h"

struct lane_pieces;

/* A key that is to be compared. On one of the audit's lists. */
struct lane_check {
    struct list link, bucket; /* bucket: while it is late */
    size_t *counted;          /* of the list that it is on */
    struct lane_read read;
    struct lane_audit *audit;
    struct lane *lane;
    uint64_t late_since_ms; /* 0: it never was */
    uint64_t not_before_ms;
    uint64_t usage; /* bytes, as P estimates; 0: not known */
    struct lane_seen p;
    struct lane_pieces *pieces; /* NULL: it is read whole */
    const char *why;            /* it is late */
    uint64_t doubt_until;       /* of audit->fences; 0: it was not seen to differ */
    struct lane_seen doubt[2];  /* as it differed then; enum lane_side */
    uint32_t name_bytes;
    uint8_t name[];
};

static inline struct slice lane_check_name(const struct lane_check *c) {
    return slice_from(c->name, c->name_bytes);
}

#define LANE_CHECK_OF(r) LIST_OWNER(r, struct lane_check, read)

/* ---- lane_audit_list.c: names ---- */
void lane_audit_list(struct lane_audit *audit); /* asks for the next page, if there is room */
struct lane *lane_audit_lane(const struct lane_audit *audit, struct slice name);

/* ---- lane_audit_compare.c: values ---- */
void lane_check_send(struct lane_check *check);
/* The end of a check: it is counted, and freed. */
void lane_check_end(struct lane_check *check, enum lane_differs differs, const struct lane_seen *f,
                    const char *why);
/* struct lane_watch */
struct lane_read *lane_audit_copied(struct lane_watch *watch, const struct lane *lane, int32_t db,
                                    struct slice name, const struct lane_value *value,
                                    struct buf *out, uint32_t *replies);
/* Both sides' values are known. */
void lane_check_judge(struct lane_check *check, struct lane_seen *f);
void lane_check_late(struct lane_check *check, const char *why);
/* PAYLOAD, of DUMP, is a module's: its id and a digest of its bytes go into SEEN. */
bool lane_check_module(struct slice payload, struct lane_seen *seen);
/* From the list that it is on, if any. */
void lane_check_take(struct lane_check *check);
static inline void lane_check_put(struct lane_check *check, struct list *list, size_t *count) {
    list_push(list, &check->link);
    check->counted = count;
    ++*count;
}
void lane_check_free(struct lane_check *check);
enum digest_streams lane_audit_streams(const struct lane_check *check);

static inline void lane_audit_moved(struct lane_audit *a) {
    a->moved_ms = clock_mono_ms(a->clock);
}

/* ---- lane_pieces.c ---- */
void lane_pieces_begin(struct lane_check *check); /* the first read leaves */
void lane_pieces_turn(struct lane_check *check);  /* the next one does, if none is on its way */
void lane_pieces_void(struct lane_check *check, const char *why); /* it was written meanwhile */
bool lane_pieces_waits(const struct lane_check *check); /* for its turn: nothing is on its way */
void lane_pieces_free(struct lane_pieces *pieces);

#endif
