/* geo_args.h -- what the commands on places share. Texts follow Redis 7.0 (geo.c). */
#ifndef SERVER_GEO_ARGS_H
#define SERVER_GEO_ARGS_H

#include "server/geo.h"
#include "server/typed.h"

/* Longitude and latitude at ARGV. */
MUST_CHECK bool arg_geo_point(struct client *c, const struct slice *argv, struct geo_point *point);
/* "m", "km", "ft", "mi" in metres. */
MUST_CHECK bool arg_geo_unit(struct client *c, struct slice arg, double *metres);

void reply_geo_distance(struct client *c, double distance); /* with four digits */
void reply_geo_point(struct client *c, struct geo_point point);

#endif
