/* horizon.c -- how far back the target could fall. See horizon.h. */
#include "syncer/horizon.h"

#include "lib/redis/reply.h"

#define AOF_MS 5000
#define SAVE_SLACK_MS 2000 /* INFO tells whole seconds */

static int64_t number(struct slice info, const char *name) {
    struct slice value;
    int64_t n = 0;
    return resp_info_field(info, name, &value) && slice_to_int(value, &n) ? n : 0;
}

void horizon_learn(struct horizon *horizon, struct slice info, int64_t ahead_ms) {
    horizon->aof = number(info, "aof_enabled") == 1 && number(info, "aof_rewrite_in_progress") == 0;
    int64_t saved = number(info, "rdb_last_save_time"), took = number(info, "rdb_last_bgsave_time_sec");
    struct slice status;
    bool well = resp_info_field(info, "rdb_last_bgsave_status", &status) && slice_equal(status, SLICE("ok"));
    if (saved > 0 && took >= 0 && well) horizon->saved_ms = (saved - took) * 1000 - SAVE_SLACK_MS - ahead_ms;
}

void horizon_note(struct horizon *horizon, int64_t wall_ms, struct place place) {
    if (horizon->count == HORIZON_SAMPLES) { /* every second one of the older half goes */
        size_t kept = 0;
        for (size_t i = 0; i < horizon->count; i++)
            if (i >= HORIZON_SAMPLES / 2 || i % 2 == 0) horizon->samples[kept++] = horizon->samples[i];
        horizon->count = kept;
    }
    horizon->samples[horizon->count++] = (struct horizon_sample){wall_ms, place};
}

bool horizon_safe(const struct horizon *horizon, int64_t wall_ms, struct place *place) {
    int64_t until = horizon->aof ? wall_ms - AOF_MS : horizon->saved_ms;
    bool found = false;
    if (until <= 0) return false;
    for (size_t i = 0; i < horizon->count; i++)
        if (horizon->samples[i].wall_ms <= until) {
            *place = horizon->samples[i].place;
            found = true;
        }
    return found;
}
