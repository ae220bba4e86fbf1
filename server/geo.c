/* geo.c -- cells, distances, and which cells cover an area. See geo.h. */
#include "server/geo.h"

#include <math.h>

#define EARTH_RADIUS 6372797.560856 /* metres */
#define MERCATOR_MAX 20037726.37
#define RADIANS (M_PI / 180.0) /* in a degree */
#define ODD_BITS UINT64_C(0xaaaaaaaaaaaaaaaa)
#define EVEN_BITS UINT64_C(0x5555555555555555)

struct range {
    double low, high;
};

static const struct range longitudes = {-GEO_LONGITUDE_MAX, GEO_LONGITUDE_MAX};
static const struct range latitudes = {-GEO_LATITUDE_MAX, GEO_LATITUDE_MAX};
static const struct range all_latitudes = {-90, 90};

bool geo_is_valid(struct geo_point p) {
    return p.longitude >= longitudes.low && p.longitude <= longitudes.high &&
           p.latitude >= latitudes.low && p.latitude <= latitudes.high;
}

/* ---- cells ---- */

/* Bit I of HALF becomes bit 2I. */
static uint64_t spread(uint32_t half) {
    uint64_t bits = half;
    bits = (bits | bits << 16) & UINT64_C(0x0000ffff0000ffff);
    bits = (bits | bits << 8) & UINT64_C(0x00ff00ff00ff00ff);
    bits = (bits | bits << 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    bits = (bits | bits << 2) & UINT64_C(0x3333333333333333);
    return (bits | bits << 1) & EVEN_BITS;
}

/* The even bits of BITS, side by side. */
static uint32_t gather(uint64_t bits) {
    bits &= EVEN_BITS;
    bits = (bits | bits >> 1) & UINT64_C(0x3333333333333333);
    bits = (bits | bits >> 2) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    bits = (bits | bits >> 4) & UINT64_C(0x00ff00ff00ff00ff);
    bits = (bits | bits >> 8) & UINT64_C(0x0000ffff0000ffff);
    return (uint32_t)(bits | bits >> 16);
}

static uint32_t place_in(struct range range, double degrees, unsigned step) {
    double part = (degrees - range.low) / (range.high - range.low);
    part *= (double)(UINT64_C(1) << step);
    return (uint32_t)part;
}

static struct geo_cell cell_of(struct geo_point p, struct range latitude_range, unsigned step) {
    return (struct geo_cell){spread(place_in(latitude_range, p.latitude, step)) |
                                 spread(place_in(longitudes, p.longitude, step)) << 1,
                             step};
}

uint64_t geo_encode(struct geo_point point) {
    return cell_of(point, latitudes, GEO_STEPS).bits;
}

uint64_t geo_encode_standard(struct geo_point point) {
    return cell_of(point, all_latitudes, GEO_STEPS).bits;
}

static struct range part_of(struct range range, uint32_t place, unsigned step) {
    double scale = range.high - range.low, parts = (double)(UINT64_C(1) << step);
    uint32_t next = place + 1;
    return (struct range){range.low + (place * 1.0 / parts) * scale,
                          range.low + (next * 1.0 / parts) * scale};
}

static struct range cell_latitudes(struct geo_cell cell) {
    return part_of(latitudes, gather(cell.bits), cell.step);
}

static struct range cell_longitudes(struct geo_cell cell) {
    return part_of(longitudes, gather(cell.bits >> 1), cell.step);
}

static double middle(struct range part, struct range whole) {
    double value = (part.low + part.high) / 2;
    if (value > whole.high) value = whole.high;
    return value < whole.low ? whole.low : value;
}

/* A score that no GEOADD made may be any double: what x86-64 makes of it, without undefined steps.
 */
static uint64_t bits_of(double score) {
    const double half = 9223372036854775808.0; /* 2^63 */
    const uint64_t top = UINT64_C(1) << 63;
    if (score < half) return score >= -half ? (uint64_t)(int64_t)score : top;
    return score - half < half ? (uint64_t)(int64_t)(score - half) ^ top : 0;
}

struct geo_point geo_decode(double score) {
    struct geo_cell cell = {bits_of(score), GEO_STEPS};
    return (struct geo_point){middle(cell_longitudes(cell), longitudes),
                              middle(cell_latitudes(cell), latitudes)};
}

void geo_cell_scores(struct geo_cell cell, double *low, double *high) {
    unsigned shift = 2 * (GEO_STEPS - cell.step);
    *low = (double)(cell.bits << shift);
    *high = (double)((cell.bits + 1) << shift);
}

/* The cell beside: WAY is -1, 0 or 1 for each direction; over the edge it goes on at the other. */
static struct geo_cell beside(struct geo_cell cell, int east, int north) {
    unsigned unused = 64 - cell.step * 2;
    uint64_t x = cell.bits & ODD_BITS, y = cell.bits & EVEN_BITS;
    const uint64_t x_gaps = EVEN_BITS >> unused, y_gaps = ODD_BITS >> unused;
    if (east > 0)
        x = x + (x_gaps + 1);
    else if (east < 0)
        x = (x | x_gaps) - (x_gaps + 1);
    if (north > 0)
        y = y + (y_gaps + 1);
    else if (north < 0)
        y = (y | y_gaps) - (y_gaps + 1);
    if (east) x &= ODD_BITS >> unused;
    if (north) y &= EVEN_BITS >> unused;
    return (struct geo_cell){x | y, cell.step};
}

/* ---- distances ---- */

static double radians(double degrees) {
    return degrees * RADIANS;
}

static double degrees(double angle) {
    return angle / RADIANS;
}

static double distance_north(double from, double to) {
    return EARTH_RADIUS * fabs(radians(to) - radians(from));
}

double geo_distance(struct geo_point a, struct geo_point b) {
    double v = sin((radians(b.longitude) - radians(a.longitude)) / 2);
    if (v == 0.0) return distance_north(a.latitude, b.latitude);
    double from = radians(a.latitude), to = radians(b.latitude);
    double u = sin((to - from) / 2);
    double h = u * u + cos(from) * cos(to) * v * v;
    return 2.0 * EARTH_RADIUS * asin(sqrt(h));
}

bool geo_contains(const struct geo_area *area, struct geo_point point, double *distance) {
    struct geo_point centre = area->centre;
    if (area->is_box) {
        if (distance_north(point.latitude, centre.latitude) > area->height * area->unit / 2)
            return false;
        struct geo_point same_north = {centre.longitude, point.latitude};
        if (geo_distance(point, same_north) > area->width * area->unit / 2) return false;
    }
    *distance = geo_distance(centre, point);
    return area->is_box || !(*distance > area->radius * area->unit);
}

/* ---- covering an area ---- */

struct bounds {
    double west, south, east, north;
};

static struct bounds bounds_of(const struct geo_area *area) {
    double longitude = area->centre.longitude, latitude = area->centre.latitude;
    double height = area->unit * (area->is_box ? area->height / 2 : area->radius);
    double width = area->unit * (area->is_box ? area->width / 2 : area->radius);
    double north = degrees(height / EARTH_RADIUS);
    double at_top = degrees(width / EARTH_RADIUS / cos(radians(latitude + north)));
    double at_bottom = degrees(width / EARTH_RADIUS / cos(radians(latitude - north)));
    double east = latitude < 0 ? at_bottom : at_top; /* where meridians are closer */
    return (struct bounds){longitude - east, latitude - north, longitude + east, latitude + north};
}

static unsigned step_for(double metres, double latitude) {
    if (metres == 0) return GEO_STEPS;
    int step = 1;
    while (metres < MERCATOR_MAX) {
        metres *= 2;
        step++;
    }
    step -= 2;
    if (latitude > 66 || latitude < -66) step--;
    if (latitude > 80 || latitude < -80) step--;
    if (step < 1) step = 1;
    return step > GEO_STEPS ? GEO_STEPS : (unsigned)step;
}

/* Whether the cells beside CELL reach to BOUNDS. */
static bool reach(struct geo_cell cell, const struct bounds *b) {
    return !(cell_latitudes(beside(cell, 0, 1)).high < b->north) &&
           !(cell_latitudes(beside(cell, 0, -1)).low > b->south) &&
           !(cell_longitudes(beside(cell, 1, 0)).high < b->east) &&
           !(cell_longitudes(beside(cell, -1, 0)).low > b->west);
}

static double reach_metres(const struct geo_area *area) {
    double units =
        area->is_box
            ? sqrt((area->width / 2) * (area->width / 2) + (area->height / 2) * (area->height / 2))
            : area->radius;
    return units * area->unit;
}

void geo_cover(const struct geo_area *area, struct geo_cell cells[GEO_CELLS]) {
    static const struct {
        int east, north;
    } ways[GEO_CELLS] = {{0, 0}, {0, 1},  {0, -1}, {1, 0},  {-1, 0},
                         {1, 1}, {-1, 1}, {1, -1}, {-1, -1}};
    struct bounds b = bounds_of(area);
    unsigned step = step_for(reach_metres(area), area->centre.latitude);
    struct geo_cell centre = cell_of(area->centre, latitudes, step);
    if (step > 1 && !reach(centre, &b)) centre = cell_of(area->centre, latitudes, --step);
    struct range north = cell_latitudes(centre), east = cell_longitudes(centre);
    for (int i = 0; i < GEO_CELLS; i++) {
        bool useless = step >= 2 && ((ways[i].north < 0 && north.low < b.south) ||
                                     (ways[i].north > 0 && north.high > b.north) ||
                                     (ways[i].east < 0 && east.low < b.west) ||
                                     (ways[i].east > 0 && east.high > b.east));
        cells[i] = useless ? (struct geo_cell){0, 0} : beside(centre, ways[i].east, ways[i].north);
    }
}
