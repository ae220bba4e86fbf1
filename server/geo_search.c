/* geo_search.c -- GEOSEARCH, GEOSEARCHSTORE, GEORADIUS, GEORADIUSBYMEMBER and their _RO forms.
 * Behaviour and texts follow Redis 7.0 (geo.c).
 */
#include "server/geo_args.h"
#include "server/types.h"
#include "server/zset.h"

#include "lib/base/buf.h"
#include "lib/base/mem.h"

#include <stdlib.h>

enum form { AROUND_POINT, AROUND_MEMBER, SEARCH, SEARCH_STORE };
enum order { ORDER_NONE, ORDER_NEAREST, ORDER_FARTHEST };

struct found_place {
    struct geo_point point;
    double distance, score;        /* metres; units once it is known what is returned */
    size_t member_at, member_size; /* in search->members */
};

struct search {
    enum form form;
    bool may_store, any, with_distance, with_hash, with_point, has_centre_point, has_centre_member,
        by_radius, by_box, store_distance;
    enum order order;
    int64_t count; /* 0: all */
    const struct slice *store;
    struct typed source;
    struct geo_area area;
    struct found_place *places;
    size_t found, room;
    struct buf members;
};

/* ---- arguments ---- */

static bool fail(struct client *c, const char *error) {
    reply_error(c, "ERR %s", error);
    return false;
}

static bool centre_member(struct client *c, struct slice member, struct search *s) {
    double score;
    if (!zset_score(&s->source.value, member, &score))
        return fail(c, "could not decode requested zset member");
    s->area.centre = geo_decode(score);
    return true;
}

static bool radius(struct client *c, const struct slice *argv, struct search *s) {
    s->area.is_box = false;
    if (!arg_double(c, argv[0], &s->area.radius, "need numeric radius")) return false;
    if (s->area.radius < 0) return fail(c, "radius cannot be negative");
    return arg_geo_unit(c, argv[1], &s->area.unit);
}

static bool box(struct client *c, const struct slice *argv, struct search *s) {
    s->area.is_box = true;
    if (!arg_double(c, argv[0], &s->area.width, "need numeric width") ||
        !arg_double(c, argv[1], &s->area.height, "need numeric height"))
        return false;
    if (s->area.width < 0 || s->area.height < 0)
        return fail(c, "height or width cannot be negative");
    return arg_geo_unit(c, argv[2], &s->area.unit);
}

static bool word_option(struct search *s, struct slice arg) {
    if (arg_is(arg, "withdist"))
        s->with_distance = true;
    else if (arg_is(arg, "withhash"))
        s->with_hash = true;
    else if (arg_is(arg, "withcoord"))
        s->with_point = true;
    else if (arg_is(arg, "any"))
        s->any = true;
    else if (arg_is(arg, "asc"))
        s->order = ORDER_NEAREST;
    else if (arg_is(arg, "desc"))
        s->order = ORDER_FARTHEST;
    else if (s->form == SEARCH_STORE && arg_is(arg, "storedist"))
        s->store_distance = true;
    else
        return false;
    return true;
}

/* FROMMEMBER, FROMLONLAT, BYRADIUS, BYBOX at *AT with what they need; *TAKEN says if it was one. */
static bool search_option(struct client *c, int *at, struct search *s, bool *taken) {
    const struct slice *arg = &c->argv[*at];
    int more = c->argc - *at - 1;
    *taken = true;
    if (more >= 1 && arg_is(*arg, "frommember") && !s->has_centre_point) {
        s->has_centre_member = true;
        *at += 1;
        return !s->source.entry || centre_member(c, arg[1], s);
    }
    if (more >= 2 && arg_is(*arg, "fromlonlat") && !s->has_centre_member) {
        s->has_centre_point = true;
        *at += 2;
        return arg_geo_point(c, arg + 1, &s->area.centre);
    }
    if (more >= 2 && arg_is(*arg, "byradius") && !s->by_box) {
        s->by_radius = true;
        *at += 2;
        return radius(c, arg + 1, s);
    }
    if (more >= 3 && arg_is(*arg, "bybox") && !s->by_radius) {
        s->by_box = true;
        *at += 3;
        return box(c, arg + 1, s);
    }
    *taken = false;
    return true;
}

static bool option(struct client *c, int *at, struct search *s) {
    const struct slice *arg = &c->argv[*at];
    bool more = *at + 1 < c->argc, taken = false;
    if (word_option(s, *arg)) return true;
    if (more && arg_is(*arg, "count")) {
        *at += 1;
        if (!arg_int(c, arg[1], &s->count, NULL)) return false;
        return s->count > 0 || fail(c, "COUNT must be > 0");
    }
    if (more && s->may_store && (arg_is(*arg, "store") || arg_is(*arg, "storedist"))) {
        s->store_distance = arg_is(*arg, "storedist");
        s->store = arg + 1;
        *at += 1;
        return true;
    }
    if (s->form >= SEARCH && !search_option(c, at, s, &taken)) return false;
    if (!taken) reply_syntax_error(c);
    return taken;
}

/* What stands before the options; *FIRST is where they begin. */
static bool base(struct client *c, struct search *s, int *first) {
    s->area.unit = 1;
    switch (s->form) {
    case AROUND_POINT:
        *first = 6;
        return arg_geo_point(c, c->argv + 2, &s->area.centre) && radius(c, c->argv + 4, s);
    case AROUND_MEMBER:
        *first = 5;
        return !s->source.entry || (centre_member(c, c->argv[2], s) && radius(c, c->argv + 3, s));
    case SEARCH: *first = 2; return true;
    case SEARCH_STORE:
        *first = 3;
        s->store = &c->argv[1];
        return true;
    }
    UNREACHABLE("a form of search");
}

static bool arguments_fit(struct client *c, const struct search *s) {
    ASSERT(c->argv);
    if (s->store && (s->with_distance || s->with_hash || s->with_point)) {
        reply_error(c, "ERR %s is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
                    s->form == SEARCH_STORE ? "GEOSEARCHSTORE" : "STORE option in GEORADIUS");
        return false;
    }
    const char *wanted = NULL;
    if (s->form >= SEARCH && !s->has_centre_member && !s->has_centre_point)
        wanted = "FROMMEMBER or FROMLONLAT";
    else if (s->form >= SEARCH && !s->by_radius && !s->by_box)
        wanted = "BYRADIUS and BYBOX";
    if (wanted) {
        reply_error(c, "ERR exactly one of %s can be specified for %.*s", wanted,
                    (int)c->argv[0].size, (const char *)c->argv[0].data);
        return false;
    }
    return !s->any || s->count || fail(c, "the ANY argument requires COUNT argument");
}

/* ---- searching ---- */

static void keep(struct search *s, struct slice member, struct found_place place) {
    if (s->found == s->room) {
        s->room = s->room ? s->room * 2 : 16;
        s->places = mem_realloc(s->places, s->room * sizeof *s->places);
    }
    ASSERT(s->places);
    place.member_at = buf_size(&s->members);
    place.member_size = member.size;
    buf_add(&s->members, member);
    s->places[s->found++] = place;
}

static bool enough(const struct search *s) {
    return s->any && s->found > 0 && s->found >= (uint64_t)s->count;
}

static void search_cell(struct search *s, struct geo_cell cell) {
    double low, high;
    struct zset_iter iter;
    struct slice member;
    struct found_place place;
    geo_cell_scores(cell, &low, &high);
    zset_iter_init(&iter, &s->source.value, zset_count_score(&s->source.value, low, false), false);
    while (zset_next(&iter, &member, &place.score) && place.score < high) {
        place.point = geo_decode(place.score);
        if (geo_contains(&s->area, place.point, &place.distance)) keep(s, member, place);
        if (enough(s)) break;
    }
}

static void search_all(struct search *s) {
    struct geo_cell cells[GEO_CELLS];
    unsigned last = 0;
    geo_cover(&s->area, cells);
    for (unsigned i = 0; i < GEO_CELLS && !enough(s); i++) {
        if (cells[i].step == 0) continue;
        /* A very large area has the same cell on several sides. */
        if (last && cells[i].bits == cells[last].bits && cells[i].step == cells[last].step)
            continue;
        search_cell(s, cells[i]);
        last = i;
    }
}

static int nearest_first(const void *a, const void *b) {
    double x = ((const struct found_place *)a)->distance;
    double y = ((const struct found_place *)b)->distance;
    return x > y ? 1 : x == y ? 0 : -1;
}

static int farthest_first(const void *a, const void *b) {
    return -nearest_first(a, b);
}

/* ---- results ---- */

static struct slice member_of(const struct search *s, const struct found_place *place) {
    return slice_take(slice_drop(buf_slice(&s->members), place->member_at), place->member_size);
}

static void reply_places(struct client *c, const struct search *s, size_t count) {
    size_t parts = 1u + s->with_distance + s->with_hash + s->with_point;
    reply_array(c, count);
    for (size_t i = 0; i < count; i++) {
        const struct found_place *place = &s->places[i];
        if (parts > 1) reply_array(c, parts);
        reply_bulk(c, member_of(s, place));
        if (s->with_distance) reply_geo_distance(c, place->distance / s->area.unit);
        if (s->with_hash) reply_int(c, (int64_t)place->score);
        if (s->with_point) reply_geo_point(c, place->point);
    }
}

static void delete_target(struct client *c, const struct search *s) {
    if (key_delete(c, *s->store)) key_changed(c, *s->store, NOTIFY_GENERIC, "del", 1);
    reply_int(c, 0);
}

static void store_places(struct client *c, const struct search *s, size_t count) {
    if (count == 0) {
        delete_target(c, s);
        return;
    }
    struct value zset = zset_new(limits_of(c), member_of(s, &s->places[0]).size);
    for (size_t i = 0; i < count; i++) {
        const struct found_place *place = &s->places[i];
        (void)zset_add(&zset, limits_of(c), member_of(s, place),
                       s->store_distance ? place->distance / s->area.unit : place->score);
    }
    key_replace(c, *s->store, &zset);
    key_changed(c, *s->store, NOTIFY_ZSET,
                s->form == SEARCH_STORE ? "geosearchstore" : "georadiusstore", count);
    reply_int(c, (int64_t)count);
}

static void run(struct client *c, struct search *s) {
    if (s->order == ORDER_NONE && s->count && !s->any) s->order = ORDER_NEAREST;
    search_all(s);
    if (s->order != ORDER_NONE && s->found > 0)
        qsort(s->places, s->found, sizeof *s->places,
              s->order == ORDER_NEAREST ? nearest_first : farthest_first);
    size_t count = s->count && (uint64_t)s->count < s->found ? (size_t)s->count : s->found;
    if (s->store)
        store_places(c, s, count);
    else
        reply_places(c, s, count);
    mem_free(s->places);
    buf_close(&s->members);
}

static void search(struct client *c, enum form form, bool may_store) {
    struct search s = {.form = form, .may_store = may_store};
    int i;
    if (typed_read(c, c->argv[form == SEARCH_STORE ? 2 : 1], TYPE_ZSET, &s.source) == WRONG_TYPE ||
        !base(c, &s, &i))
        return;
    for (; i < c->argc; i++)
        if (!option(c, &i, &s)) return;
    if (!arguments_fit(c, &s)) return;
    if (s.source.entry)
        run(c, &s);
    else if (s.store)
        delete_target(c, &s);
    else
        reply_empty_array(c);
}

static void georadius(struct client *c) {
    search(c, AROUND_POINT, true);
}
static void georadius_ro(struct client *c) {
    search(c, AROUND_POINT, false);
}
static void georadiusbymember(struct client *c) {
    search(c, AROUND_MEMBER, true);
}
static void georadiusbymember_ro(struct client *c) {
    search(c, AROUND_MEMBER, false);
}
static void geosearch(struct client *c) {
    search(c, SEARCH, false);
}
static void geosearchstore(struct client *c) {
    search(c, SEARCH_STORE, false);
}

void geo_search_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"georadius", georadius},
        {"georadius_ro", georadius_ro},
        {"georadiusbymember", georadiusbymember},
        {"georadiusbymember_ro", georadiusbymember_ro},
        {"geosearch", geosearch},
        {"geosearchstore", geosearchstore},
    };
    command_bind(engine, bindings, COUNT(bindings));
}
