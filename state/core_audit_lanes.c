/* core_audit_lanes.c -- audits with capture `lane`: every gateway compares the slots of its own lanes
 * (C29), and what all of them found is one result.
 */
#include "state/core.h"

#include "lib/base/log.h"
#include "lib/redis/slot.h"

#include <inttypes.h>
#include <stdio.h>

#define GATEWAY_GRACE_MS 15000 /* a gateway that comes back is told again, and begins again */

static int64_t number(const json_t *json, const char *name) {
    json_t *value = json_object_get(json, name);
    return json_is_integer(value) ? json_integer_value(value) : 0;
}

static struct core_audit_part *part_of(struct core *core, const struct member *gateway) {
    for (size_t i = 0; i < core->audit.part_count; i++)
        if (strcmp(core->audit.parts[i].name, member_row(gateway)->name) == 0)
            return &core->audit.parts[i];
    return NULL;
}

void core_audit_lanes_forget(struct core *core) {
    for (size_t i = 0; i < core->audit.part_count; i++) json_decref(core->audit.parts[i].result);
    core->audit.part_count = 0;
}

static void start_answered(void *self, struct member *member, bool ok, struct slice text) {
    struct core *core = self;
    char why[240];
    if (ok || !core->audit.running.id || part_of(core, member) == NULL) return;
    snprintf(why, sizeof why, "gateway %.60s: %.*s", member_row(member)->name,
             (int)(text.size < 150 ? text.size : 150), (const char *)text.data);
    core_audit_fail(core, why);
}

static void send_start(struct core *core, struct member *gateway) {
    member_sendf(gateway, start_answered, core, "AUDIT START %" PRId64, core->audit.running.id);
}

static void add_part(struct core *core, struct member *gateway) {
    if (core->audit.part_count == BARRIER_GATEWAYS_MAX) return;
    struct core_audit_part *part = &core->audit.parts[core->audit.part_count++];
    *part = (struct core_audit_part){.heard_ms = core_now_ms(core)};
    snprintf(part->name, sizeof part->name, "%s", member_row(gateway)->name);
    send_start(core, gateway);
}

void core_audit_lanes_start(struct core *core) {
    core_audit_lanes_forget(core);
    for (struct member *m = members_first(core->members, MEMBER_GATEWAY); m; m = members_next(m))
        add_part(core, m);
    if (core->audit.part_count == 0) core_audit_fail(core, "no gateway is connected");
}

void core_audit_lanes_tell(struct core *core, const char *verb, int64_t id) {
    for (struct member *m = members_first(core->members, MEMBER_GATEWAY); m; m = members_next(m))
        member_sendf(m, NULL, core, "AUDIT %s %" PRId64, verb, id);
}

/* Another process of it has lost what it compared; the same one only reports again. */
void core_audit_lanes_joined(struct core *core, struct member *gateway) {
    if (!core->audit.running.id || !core_has_lanes(core)) return;
    if (part_of(core, gateway) != NULL)
        send_start(core, gateway);
    else /* it holds slots, too; or state is another process */
        add_part(core, gateway);
}

void core_audit_lanes_tick(struct core *core) {
    char why[120];
    if (!core->audit.running.id || !core_has_lanes(core)) return;
    for (size_t i = 0; i < core->audit.part_count; i++) {
        struct core_audit_part *part = &core->audit.parts[i];
        bool here = members_find(core->members, MEMBER_GATEWAY, part->name) != NULL;
        if (here || part->result != NULL) part->heard_ms = core_now_ms(core);
        if (core_now_ms(core) - part->heard_ms <= GATEWAY_GRACE_MS) continue;
        snprintf(why, sizeof why, "gateway %.60s is not here any more", part->name);
        core_audit_fail(core, why);
        return;
    }
}

/* ---- results ---- */

static void add_number(json_t *sum, const json_t *one, const char *name) {
    json_object_set_new(sum, name, json_integer(number(sum, name) + number(one, name)));
}

/* What differs at any gateway differs; what no gateway looked at is not equal. */
static json_t *merge(const struct core *core) {
    static const char *const added[] = {"keys", "bytes", "slots", "differences", "undecided"};
    json_t *sum = json_object(), *sample = json_array();
    const char *error = NULL;
    for (size_t i = 0; i < core->audit.part_count; i++) {
        const json_t *one = core->audit.parts[i].result;
        for (size_t k = 0; k < sizeof added / sizeof *added; k++) add_number(sum, one, added[k]);
        json_array_extend(sample, json_object_get(one, "sample"));
        const char *text = json_string_value(json_object_get(one, "error"));
        if (error == NULL && text != NULL && text[0] != '\0') error = text;
    }
    if (error == NULL && number(sum, "slots") != SLOT_CLUSTER_COUNT)
        error = "the gateways' lanes do not hold every slot once";
    if (error == NULL && number(sum, "undecided") > 0)
        error = "some keys could not be compared; GATEWAY AUDIT SHOW of the gateway names them";
    json_object_set_new(sum, "ok", json_boolean(error == NULL));
    json_object_set_new(sum, "error", json_string(error ? error : ""));
    json_object_set_new(sum, "sample", sample);
    return sum;
}

static void all_audited(struct core *core) {
    char id[24];
    for (size_t i = 0; i < core->audit.part_count; i++)
        if (core->audit.parts[i].result == NULL) return;
    snprintf(id, sizeof id, "%" PRId64, core->audit.running.id);
    const struct slice words[] = {SLICE("AUDITED"), slice_text(id)};
    json_t *sum = merge(core);
    core_audit_report(core, words, 2, sum);
    json_decref(sum);
    core_audit_lanes_forget(core);
}

static void show_progress(struct core *core) {
    core->audit.keys = core->audit.bytes = 0;
    for (size_t i = 0; i < core->audit.part_count; i++) {
        core->audit.keys += core->audit.parts[i].keys;
        core->audit.bytes += core->audit.parts[i].bytes;
    }
}

bool core_audit_lanes_report(struct core *core, const struct member *gateway,
                             const struct slice *words, size_t count,
                             const json_t *json) {
    struct core_audit_part *part = part_of(core, gateway);
    int64_t id = 0;
    if (count < 2 || !slice_to_int(words[1], &id) || !json_is_object(json)) return false;
    if (slice_equal(words[0], SLICE("REPAIRED"))) return core_audit_report(core, words, count, json);
    bool ended = slice_equal(words[0], SLICE("AUDITED"));
    if (!ended && !slice_equal(words[0], SLICE("AUDIT"))) return false;
    if (part == NULL || id == 0 || id != core->audit.running.id) return true;
    part->keys = number(json, "keys");
    part->bytes = number(json, "bytes");
    const char *at = json_string_value(json_object_get(json, "part"));
    snprintf(core->audit.part, sizeof core->audit.part, "%s", at ? at : "");
    show_progress(core);
    if (!ended) return true;
    json_decref(part->result);
    part->result = json_deep_copy(json);
    all_audited(core);
    return true;
}
