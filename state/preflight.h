/* preflight.h -- what can be known before anything begins: reaches both sides, and writes nothing.
 *
 * Blocking: for the command line, and for a helper thread of state. Every finding has its fix in
 * words. The one thing that is not a read is a PSYNC whose offset is no number, which begins
 * nothing; it is sent only from Redis 7.0 on, to a user who may not ask for ACL.
 */
#ifndef STATE_PREFLIGHT_H
#define STATE_PREFLIGHT_H

#include "lib/control/config.h"

#include <jansson.h>

#define FINDINGS_MAX 48

enum finding_level { FINDING_GOOD, FINDING_NOTE, FINDING_WARN, FINDING_FAIL };

struct finding {
    enum finding_level level;
    char id[32];    /* "legacy.password" */
    char text[300]; /* what was seen */
    char fix[300];  /* what to do; empty when good */
};

struct preflight {
    struct finding findings[FINDINGS_MAX];
    size_t count;
    bool not_authorised; /* a side refused our name or password */
    bool misconfigured;  /* the file names something that is not there, or cannot be used */
    bool witness;        /* gateway.witness */
    bool cluster;        /* legacy is one */
    enum capture wanted; /* gateway.capture */
    enum capture capture; /* what it will be; CAPTURE_AUTO: legacy was not asked, or did not answer */
};

/* FIRST_TIME: the target has to be empty (nothing was copied yet). */
void preflight_run(const struct drawbridge_config *config, bool first_time,
                   struct preflight *preflight);
/* One sentence on what CAPTURE promises. */
const char *preflight_promise(enum capture capture);
/* Ask legacy alone which capture `auto` is, and why; CAPTURE_AUTO: it does not answer. Blocking. */
enum capture preflight_choose(const struct drawbridge_config *config, char *reason, size_t size);
bool preflight_passed(const struct preflight *preflight);
const char *finding_level_name(enum finding_level level);
json_t *preflight_json(const struct preflight *preflight);

/* ---- the judge, apart from the asking; for tests ---- */
struct preflight_side {
    bool reached;
    enum err err; /* why not */
    char error[300];
    char version[32], mode[16], role[16], policy[32], psync_error[200];
    bool bundled, loading, loading_known, psync_ok, psync_asked;
    int64_t databases; /* that SELECT knows; 0: not known */
    int64_t top_db;    /* the highest database that holds keys */
    int64_t keys, used_memory, max_memory, system_memory, async_loading;
    int64_t modules; /* -1: MODULE LIST is refused */
    char module[64];
    int64_t functions; /* libraries; -1: not known */
    bool diskless, aof;
    bool tracking; /* CLIENT TRACKING is allowed (C22) */
    char tracking_error[100];
    int64_t clock_ms;
};
void preflight_judge_side(struct preflight *preflight, bool legacy,
                          const struct preflight_side *side, bool first_time);
void preflight_judge_both(struct preflight *preflight, const struct preflight_side *legacy,
                          const struct preflight_side *target);
void preflight_judge_disk(struct preflight *preflight, const char *dir, int64_t free_bytes,
                          int64_t limit_bytes, int64_t data_bytes);

#endif
