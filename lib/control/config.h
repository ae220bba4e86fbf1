/* config.h -- drawbridge.yaml: the one file that describes a migration, as one struct.
 *
 * Every role reads the same file. config_load() reads it whole, checks it whole, and says in one
 * sentence with file, line and key what is wrong. The table of options in config.c is the only
 * list: the example file and the documentation are made from it.
 *
 *     struct drawbridge_config config;
 *     struct config_override over[] = {{"gateway.name", name}, {0}};
 *     enum err err = config_load(&config, path, over, &why);
 *     ...
 *     config_close(&config);
 *
 * Several gateways on one machine share a file and override `gateway.name` and what they listen on.
 */
#ifndef LIB_CONTROL_CONFIG_H
#define LIB_CONTROL_CONFIG_H

#include "lib/base/log.h"
#include "lib/base/options.h"
#include "lib/net/endpoint.h"

/* Fields marked (set by config_load) are made from the texts beside them. */
struct config_tls {
    bool on;
    bool insecure;
    char *ca, *cert, *key, *server_name;
};

struct config_side {
    char *address;
    struct config_tls tls;
    struct {
        char *user; /* NULL: the default user */
        struct secret password;
    } auth;
    struct {
        char *psync; /* what this server calls PSYNC */
    } commands;
    bool cluster;             /* target only */
    struct endpoint endpoint; /* (set by config_load) with its TLS options */
};

struct config_listen {
    char *text;               /* NULL: not wanted */
    struct endpoint endpoint; /* (set by config_load) kind ENDPOINT_NONE: not wanted */
};

/* How what the clients write gets to the target (docs/INVARIANTS.md, C1). */
enum config_witness { WITNESS_AUTO, WITNESS_OFF };
enum capture { CAPTURE_STREAM, CAPTURE_LANE, CAPTURE_AUTO };

struct drawbridge_config {
    char *path;      /* the file it came from (set by config_load) */
    char *migration; /* its name */
    struct config_side legacy, target;
    struct {
        bool wanted;  /* the file has a `server` section (set by config_load) */
        int64_t port; /* of the bundled server; `up` starts it */
        char *dir, *config;
        struct config_listen metrics;
    } server;
    struct {
        char *name;
        struct config_listen listen;
        struct {
            bool on;
            struct config_listen listen; /* the TLS port */
            char *cert, *key, *ca;       /* ca: clients must show a certificate of it */
        } tls;
        struct {
            char *user; /* NULL: the default user */
            struct secret password;
        } auth;
        int64_t loops; /* 0: auto, as many as cores */
        int capture;   /* enum capture */
        char *reads;   /* reads_policy.h; checked */
        int64_t lanes; /* capture `lane` */
        char *baseline; /* "scan", or an RDB file */
        struct {
            int64_t big, hold; /* bytes, ms */
        } copy;
        int witness; /* enum config_witness; capture `lane` */
        struct config_listen peer; /* where other gateways reach this one's lanes */
        bool standalone; /* no state: forward to legacy, for ever */
        struct config_listen admin, metrics;
        int64_t max_clients;
        int64_t drain; /* ms */
    } gateway;
    struct {
        char *name;
        struct {
            char *dir;
            int64_t limit; /* bytes */
        } spool;
        struct {
            struct {
                int64_t ops, bytes; /* per second; 0: no limit */
            } throttle;
        } copy;
        struct config_listen metrics;
    } syncer;
    struct {
        char *ledger;
        struct config_listen control, api, console, metrics;
        struct config_tls tls; /* of `control`, for both of its ends */
    } state;
    struct {
        int format; /* enum log_format */
        int level;  /* enum log_level */
        char *file; /* NULL: standard error */
    } log;
    char *run_dir;
    struct {
        int64_t epoch; /* 0: not given */
        char *nodes;   /* NULL: state keeps no cluster; state/topology_plan.h reads them */
    } topology;
    struct {
        int64_t lag, audit_age; /* ms */
    } gates;
    struct {
        int64_t max_hold, max_blackout; /* ms */
    } cutover;
    struct {
        int capture; /* enum capture; CAPTURE_AUTO: as before the cutover, if that can be */
    } guard;
};

extern const struct options config_options;

/* NAME is an option's dotted path; a list ends with {NULL}. A secret's TEXT is a reference too. */
struct config_override {
    const char *name, *text;
};

/* OVERRIDES may be NULL. On failure *CONFIG is closed. */
MUST_CHECK enum err config_load(struct drawbridge_config *config, const char *path,
                                const struct config_override *overrides, struct why *why);
/* The same from memory, NAME for messages; for tests and the checker. */
MUST_CHECK enum err config_read(struct drawbridge_config *config, struct slice text,
                                const char *name, const struct config_override *overrides,
                                struct why *why);
void config_close(struct drawbridge_config *config);

/* Point the log where the file says, with ROLE in each line. */
MUST_CHECK enum err config_start_log(const struct drawbridge_config *config, const char *role,
                                     struct why *why);

/* A commented drawbridge.yaml with every option. */
void config_example(struct buf *out);

#endif
