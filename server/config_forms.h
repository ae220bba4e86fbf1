/* config_forms.h -- reading and writing options with a form of their own, for the table of options.
 *
 * A value that is not valid changes nothing. Source: config.c of Redis 7.0.
 */
#ifndef SERVER_CONFIG_FORMS_H
#define SERVER_CONFIG_FORMS_H

#include "server/config_inside.h"

enum err config_read_events(struct engine *engine, int argc, const struct slice *argv,
                            struct why *why);
enum err config_read_password(struct engine *engine, int argc, const struct slice *argv,
                              struct why *why);
enum err config_read_masterauth(struct engine *engine, int argc, const struct slice *argv,
                                struct why *why);
enum err config_read_save(struct engine *engine, int argc, const struct slice *argv,
                          struct why *why);
enum err config_read_limits(struct engine *engine, int argc, const struct slice *argv,
                            struct why *why);
enum err config_read_percentiles(struct engine *engine, int argc, const struct slice *argv,
                                 struct why *why);
enum err config_read_maxmemory_clients(struct engine *engine, int argc, const struct slice *argv,
                                       struct why *why);
enum err config_read_on_sigint(struct engine *engine, int argc, const struct slice *argv,
                               struct why *why);
enum err config_read_on_sigterm(struct engine *engine, int argc, const struct slice *argv,
                                struct why *why);
enum err config_read_replicaof(struct engine *engine, int argc, const struct slice *argv,
                               struct why *why);
enum err config_read_loglevel(struct engine *engine, int argc, const struct slice *argv,
                              struct why *why);
void config_write_events(struct engine *engine, struct buf *out);
void config_write_password(struct engine *engine, struct buf *out);
void config_write_masterauth(struct engine *engine, struct buf *out);
void config_write_save(struct engine *engine, struct buf *out);
void config_write_limits(struct engine *engine, struct buf *out);
void config_write_percentiles(struct engine *engine, struct buf *out);
void config_write_maxmemory_clients(struct engine *engine, struct buf *out);
void config_write_on_sigint(struct engine *engine, struct buf *out);
void config_write_on_sigterm(struct engine *engine, struct buf *out);
void config_write_replicaof(struct engine *engine, struct buf *out);
void config_write_loglevel(struct engine *engine, struct buf *out);

#endif
