/* geo_commands.c -- GEOADD, GEODIST, GEOHASH, GEOPOS. Behaviour and texts follow Redis 7.0 (geo.c).
 */
#include "server/geo_args.h"
#include "server/types.h"
#include "server/zset.h"
#include "server/zset_commands.h"

#include "lib/base/mem.h"

#include <math.h>
#include <stdio.h>

bool arg_geo_point(struct client *c, const struct slice *argv, struct geo_point *point) {
    if (!arg_double(c, argv[0], &point->longitude, NULL) ||
        !arg_double(c, argv[1], &point->latitude, NULL))
        return false;
    if (geo_is_valid(*point)) return true;
    reply_error(c, "ERR invalid longitude,latitude pair %f,%f", point->longitude, point->latitude);
    return false;
}

bool arg_geo_unit(struct client *c, struct slice arg, double *metres) {
    static const struct {
        const char *name;
        double metres;
    } units[] = {{"m", 1}, {"km", 1000}, {"ft", 0.3048}, {"mi", 1609.34}};
    for (size_t i = 0; i < COUNT(units); i++) {
        if (!arg_is(arg, units[i].name)) continue;
        *metres = units[i].metres;
        return true;
    }
    reply_error(c, "ERR unsupported unit provided. please use M, KM, FT, MI");
    return false;
}

/* ---- replies ---- */

void reply_geo_distance(struct client *c, double distance) {
    long long scaled = llrint(distance * 10000);
    unsigned long long size =
        scaled < 0 ? 0 - (unsigned long long)scaled : (unsigned long long)scaled;
    reply_bulk_printf(c, "%s%llu.%04llu", scaled < 0 ? "-" : "", size / 10000, size % 10000);
}

static void reply_degrees(struct client *c, double degrees) {
    char text[LONG_DOUBLE_TEXT];
    struct slice written = slice_from(text, number_write_human(text, (long double)degrees));
    if (c->resp == 2) {
        reply_bulk(c, written);
        return;
    }
    reply_raw(c, SLICE(","));
    reply_raw(c, written);
    reply_raw(c, SLICE("\r\n"));
}

void reply_geo_point(struct client *c, struct geo_point point) {
    reply_array(c, 2);
    reply_degrees(c, point.longitude);
    reply_degrees(c, point.latitude);
}

/* ---- GEOADD ---- */

static void geoadd(struct client *c) {
    int first = 2;
    bool nx = false, xx = false;
    for (; first < c->argc; first++) {
        bool is_nx = arg_is(c->argv[first], "nx"), is_xx = arg_is(c->argv[first], "xx");
        if (!is_nx && !is_xx && !arg_is(c->argv[first], "ch")) break;
        nx |= is_nx;
        xx |= is_xx;
    }
    if ((c->argc - first) % 3 || (nx && xx)) {
        reply_syntax_error(c);
        return;
    }
    int places = (c->argc - first) / 3, argc = first + 2 * places;
    struct slice *argv = NEW_ARRAY(struct slice, (size_t)argc);
    char(*scores)[NUMBER_TEXT] = mem_alloc((size_t)(places + 1) * sizeof *scores);
    memcpy(argv, c->argv, (size_t)first * sizeof *argv);
    argv[0] = SLICE("zadd");
    bool good = true;
    for (int i = 0; good && i < places; i++) {
        struct geo_point point;
        good = arg_geo_point(c, c->argv + first + 3 * i, &point);
        if (!good) break;
        size_t size = number_write_int(scores[i], (int64_t)geo_encode(point));
        argv[first + 2 * i] = slice_from(scores[i], size);
        argv[first + 2 * i + 1] = c->argv[first + 3 * i + 2];
    }
    if (good) zset_run_zadd(c, argc, argv);
    mem_free(scores);
    mem_free(argv);
}

/* ---- reading ---- */

/* The place of MEMBER in the set that T found, if there is one. */
static bool place_of(const struct typed *t, struct slice member, struct geo_point *point) {
    double score;
    if (!t->entry || !zset_score(&t->value, member, &score)) return false;
    *point = geo_decode(score);
    return true;
}

static void geopos(struct client *c) {
    struct typed t;
    struct geo_point point;
    if (typed_read(c, c->argv[1], TYPE_ZSET, &t) == WRONG_TYPE) return;
    reply_array(c, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++) {
        if (place_of(&t, c->argv[i], &point))
            reply_geo_point(c, point);
        else
            reply_null_array(c);
    }
}

static void geohash(struct client *c) {
    static const char letters[] = "0123456789bcdefghjkmnpqrstuvwxyz";
    struct typed t;
    struct geo_point point;
    if (typed_read(c, c->argv[1], TYPE_ZSET, &t) == WRONG_TYPE) return;
    reply_array(c, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++) {
        char text[11];
        if (!place_of(&t, c->argv[i], &point)) {
            reply_null(c);
            continue;
        }
        uint64_t bits = geo_encode_standard(point);
        for (unsigned n = 0; n < 10; n++) text[n] = letters[bits >> (52 - 5 * (n + 1)) & 31];
        text[10] = '0'; /* two bits are left: Redis writes none of them */
        reply_bulk(c, slice_from(text, sizeof text));
    }
}

static void geodist(struct client *c) {
    struct typed t;
    struct geo_point a, b;
    double unit = 1;
    if (c->argc > 5) {
        reply_syntax_error(c);
        return;
    }
    if (c->argc == 5 && !arg_geo_unit(c, c->argv[4], &unit)) return;
    if (typed_read(c, c->argv[1], TYPE_ZSET, &t) == WRONG_TYPE) return;
    if (place_of(&t, c->argv[2], &a) && place_of(&t, c->argv[3], &b))
        reply_geo_distance(c, geo_distance(a, b) / unit);
    else
        reply_null(c);
}

void geo_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"geoadd", geoadd}, {"geopos", geopos}, {"geohash", geohash}, {"geodist", geodist}};
    command_bind(engine, bindings, COUNT(bindings));
}
