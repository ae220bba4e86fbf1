/* geo.h -- places on the earth as scores of a sorted set: 52 bits in which longitude and latitude
 * alternate, so that places near each other mostly have scores near each other.
 *
 * A cell is what the first 2 x step bits say: step 26 is a place (some 0.6 m), step 1 a quarter of
 * the map. A search looks at the cell of its centre and the eight around it, in a step that makes
 * them cover the area. All results are bit for bit those of Redis 7.0 (geohash.c,
 * geohash_helper.c), so the order of operations on doubles matters here.
 */
#ifndef SERVER_GEO_H
#define SERVER_GEO_H

#include <stdbool.h>
#include <stdint.h>

#define GEO_LONGITUDE_MAX 180.0
#define GEO_LATITUDE_MAX 85.05112878
#define GEO_STEPS 26
#define GEO_CELLS 9

struct geo_point {
    double longitude, latitude; /* degrees */
};

struct geo_cell {
    uint64_t bits;
    unsigned step; /* 0: no cell */
};

/* A circle of RADIUS or a box of WIDTH and HEIGHT around CENTRE. */
struct geo_area {
    struct geo_point centre;
    bool is_box;
    double radius, width, height; /* in units */
    double unit;                  /* metres */
};

bool geo_is_valid(struct geo_point point);
/* POINT must be valid. */
uint64_t geo_encode(struct geo_point point);
struct geo_point geo_decode(double score);
/* The 52 bits with latitudes from -90 to 90, as geohash.org has them. */
uint64_t geo_encode_standard(struct geo_point point);

double geo_distance(struct geo_point a, struct geo_point b); /* metres */
/* Whether POINT lies in AREA; then *DISTANCE is that from the centre in metres. */
bool geo_contains(const struct geo_area *area, struct geo_point point, double *distance);

/* The cells to look at, in Redis's order. */
void geo_cover(const struct geo_area *area, struct geo_cell cells[GEO_CELLS]);
/* Scores of places in CELL: from *LOW up to, not including, *HIGH. */
void geo_cell_scores(struct geo_cell cell, double *low, double *high);

#endif
