/* lane_audit_list.c -- which keys an audit compares: both sides are listed. See lane_audit.h. */
#include "gateway/lane_audit_inside.h"

#include "gateway/filter.h"
#include "gateway/lane_scan.h"

#include "lib/redis/resp.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NAMES_MAX 64u /* that wait for their read: then the next page is asked for */
#define ASK_AGAIN_MS 500u
#define NAMES_ASKED_MAX (UINT32_MAX / 2)

struct lane *lane_audit_lane(const struct lane_audit *a, struct slice name) {
    unsigned number = lane_of(a->lanes[0].lanes, name);
    for (unsigned i = 0; i < a->count; i++)
        if (a->lanes[i].number == number)
            return lane_owns(&a->lanes[i], name) ? &a->lanes[i] : NULL;
    return NULL; /* another gateway's */
}

static enum lane_side side_of(const struct lane_audit *a) {
    return a->state == LANE_AUDIT_AT_F ? LANE_F : LANE_P;
}

static void ask(struct lane_audit *a, enum lane_audit_asked what, enum lane_side side, int32_t db,
                struct slice request, uint32_t replies) {
    a->asked = what;
    a->ask_again_ms = clock_mono_ms(a->clock) + ASK_AGAIN_MS;
    a->ops->ask(a->self, side, db, request, replies, ++a->round);
}

static void ask_keyspace(struct lane_audit *a) {
    ask(a, LANE_AUDIT_KEYSPACE, side_of(a), 0, SLICE("*2\r\n$4\r\nINFO\r\n$8\r\nkeyspace\r\n"), 1);
}

/* A SELECT that P refuses would cost a lane its connection: it is tried on another one. */
static void ask_database(struct lane_audit *a) {
    char db[16];
    (void)snprintf(db, sizeof db, "%d", a->db);
    buf_clear(&a->scratch);
    resp_write_words(&a->scratch, "SELECT", db, NULL);
    resp_write_words(&a->scratch, "SELECT", "0", NULL);
    ask(a, LANE_AUDIT_DATABASE, LANE_P, 0, buf_slice(&a->scratch), 2);
}

static void ask_page(struct lane_audit *a) {
    char cursor[24];
    (void)snprintf(cursor, sizeof cursor, "%" PRIu64, a->cursor);
    buf_clear(&a->scratch);
    resp_write_words(&a->scratch, "SCAN", cursor, "COUNT", LANE_SCAN_COUNT, NULL);
    ask(a, LANE_AUDIT_PAGE, side_of(a), a->db, buf_slice(&a->scratch), 1);
}

/* Of P's names: how large they are. Of F's: whether P has them, for then they were compared. */
static void ask_sizes(struct lane_audit *a) {
    bool at_p = a->state == LANE_AUDIT_AT_P;
    buf_clear(&a->scratch);
    LIST_EACH(&a->page, at) {
        const struct lane_check *c = LIST_OWNER(at, struct lane_check, link);
        struct slice words[] = {SLICE("MEMORY"), SLICE("USAGE"), lane_check_name(c)};
        struct slice exists[] = {SLICE("EXISTS"), lane_check_name(c)};
        resp_write_command(&a->scratch, at_p ? 3 : 2, at_p ? words : exists);
    }
    ask(a, LANE_AUDIT_SIZES, LANE_P, a->db, buf_slice(&a->scratch), (uint32_t)a->page_count);
}

static void next_side(struct lane_audit *a) {
    a->db = 0;
    a->counted = a->tried = false;
    a->state = a->state == LANE_AUDIT_AT_P ? LANE_AUDIT_AT_F : LANE_AUDIT_LATE;
}

static void next_page(struct lane_audit *a) {
    a->cursor = a->next_cursor;
    if (a->cursor != 0) return;
    a->tried = false;
    if (++a->db >= a->databases[side_of(a)]) next_side(a);
}

void lane_audit_list(struct lane_audit *a) {
    if (a->state != LANE_AUDIT_AT_P && a->state != LANE_AUDIT_AT_F) return;
    if (a->asked != LANE_AUDIT_NOTHING) {
        if (clock_mono_ms(a->clock) < a->ask_again_ms + 30000) return;
        a->asked = LANE_AUDIT_NOTHING; /* its connection broke */
    }
    if (clock_mono_ms(a->clock) < a->ask_again_ms) return;
    if (a->page_count > 0)
        ask_sizes(a);
    else if (a->fresh_count >= NAMES_MAX || a->late_count + a->big_count >= a->rules.late_max)
        return;
    else if (!a->counted)
        ask_keyspace(a);
    else if (a->state == LANE_AUDIT_AT_F && a->db >= a->databases[LANE_P] && !a->tried)
        ask_database(a);
    else
        ask_page(a);
}

/* ---- answers ---- */

static bool take(struct slice *rest, struct resp_token *t) {
    size_t used = 0;
    struct why why;
    if (resp_next(&resp_limits_server, *rest, t, &used, &why) != STEP_DONE) return false;
    *rest = slice_drop(*rest, used);
    return true;
}

/* "db3:keys=..." : one more than the highest. */
static bool take_keyspace(struct lane_audit *a, struct slice rest) {
    struct resp_token t;
    int32_t highest = 0;
    if (!take(&rest, &t) || (t.kind != RESP_BULK && t.kind != RESP_VERBATIM)) return false;
    for (size_t i = 0; i + 2 < t.text.size; i++) {
        if ((i > 0 && t.text.data[i - 1] != '\n') || memcmp(t.text.data + i, "db", 2) != 0)
            continue;
        int32_t db = 0;
        for (size_t k = i + 2; k < t.text.size && db < 100000; k++) {
            if (t.text.data[k] < '0' || t.text.data[k] > '9') break;
            db = db * 10 + (t.text.data[k] - '0');
        }
        if (db > highest) highest = db;
    }
    a->databases[side_of(a)] = highest + 1;
    a->counted = true;
    return true;
}

static bool take_database(struct lane_audit *a, struct slice rest) {
    struct resp_token t;
    if (!take(&rest, &t)) return false;
    a->tried = t.kind == RESP_SIMPLE;
    if (a->tried) return true;
    if (a->error == NULL)
        a->error = "the follower side has keys in a database that the primary side does not have";
    a->next_cursor = 0;
    next_page(a);
    return true;
}

static void add_name(struct lane_audit *a, struct slice name) {
    struct lane *lane = lane_audit_lane(a, name);
    if (lane == NULL || filter_is_hidden(name)) return; /* another's; nobody's data (C5a) */
    struct lane_check *c = mem_zalloc(sizeof *c + name.size);
    c->audit = a;
    c->lane = lane;
    c->name_bytes = (uint32_t)name.size;
    if (name.size > 0) memcpy(c->name, name.data, name.size);
    c->read.db = a->db;
    c->read.name = lane_check_name(c);
    lane_check_put(c, &a->page, &a->page_count);
    a->figures.listed++;
}

static bool take_cursor(struct slice *rest, uint64_t *cursor) {
    struct resp_token t;
    char text[24];
    if (!take(rest, &t) || t.kind != RESP_BULK || t.text.size == 0 || t.text.size >= sizeof text)
        return false;
    memcpy(text, t.text.data, t.text.size);
    text[t.text.size] = '\0';
    for (size_t i = 0; i < t.text.size; i++)
        if (text[i] < '0' || text[i] > '9') return false;
    errno = 0;
    *cursor = strtoull(text, NULL, 10);
    return errno == 0;
}

static bool take_page(struct lane_audit *a, struct slice rest) {
    struct resp_token t;
    if (!take(&rest, &t) || t.kind != RESP_ARRAY || t.number != 2) return false;
    if (!take_cursor(&rest, &a->next_cursor)) return false;
    if (!take(&rest, &t) || t.kind != RESP_ARRAY) return false;
    for (int64_t i = t.number; i > 0; i--) {
        if (!take(&rest, &t) || t.kind != RESP_BULK || t.text.size > NAMES_ASKED_MAX) return false;
        add_name(a, t.text);
    }
    if (a->page_count == 0) next_page(a);
    return true;
}

static bool take_sizes(struct lane_audit *a, struct slice rest) {
    struct list names;
    bool at_p = a->state == LANE_AUDIT_AT_P;
    list_init(&names);
    list_move(&names, &a->page);
    a->page_count = 0;
    for (struct list *link; (link = list_pop(&names)) != NULL;) {
        struct lane_check *c = LIST_OWNER(link, struct lane_check, link);
        struct resp_token t = {0};
        bool told = take(&rest, &t);
        bool number = told && t.kind == RESP_INT && t.number >= 0;
        if (at_p && number) c->usage = (uint64_t)t.number;
        /* It is gone, and nothing is to be compared; or P has it, and it was. */
        bool done = at_p ? told && t.kind == RESP_NULL : number && t.number > 0;
        c->counted = NULL;
        if (done)
            lane_check_free(c);
        else
            lane_check_put(c, &a->fresh, &a->fresh_count);
    }
    next_page(a);
    return true;
}

void lane_audit_answered(struct lane_audit *a, uint64_t round, struct slice replies) {
    if (!lane_audit_runs(a) || round != a->round || a->asked == LANE_AUDIT_NOTHING) return;
    enum lane_audit_asked asked = a->asked;
    bool fine = false;
    a->asked = LANE_AUDIT_NOTHING;
    if (asked == LANE_AUDIT_KEYSPACE) fine = take_keyspace(a, replies);
    if (asked == LANE_AUDIT_DATABASE) fine = take_database(a, replies);
    if (asked == LANE_AUDIT_PAGE) fine = take_page(a, replies);
    if (asked == LANE_AUDIT_SIZES) fine = take_sizes(a, replies);
    if (!fine) {
        while (!list_is_empty(&a->page))
            lane_check_free(LIST_OWNER(a->page.next, struct lane_check, link));
        return; /* it is asked again, a little later */
    }
    a->ask_again_ms = 0;
    lane_audit_moved(a);
}
