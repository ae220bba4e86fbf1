/* side_info.c -- reading INFO and CLIENT LIST of a server that we do not trust. */
#include "state/side_inside.h"

#include <stdio.h>

bool side_info_int(struct slice info, const char *field, int64_t *number) {
    struct slice value;
    return resp_info_field(info, field, &value) && slice_to_int(value, number);
}

void side_info_text(struct slice info, const char *field, char *to, size_t size) {
    struct slice value = {0};
    to[0] = 0;
    if (!resp_info_field(info, field, &value)) return;
    for (size_t i = 0; i < value.size; i++) /* it goes to logs, JSON and terminals */
        if (value.data[i] < 0x20 || value.data[i] > 0x7e) return;
    snprintf(to, size, "%.*s", (int)value.size, (const char *)value.data);
}

void side_info_replid(struct slice info, char replid[41]) {
    side_info_text(info, "master_replid", replid, 41);
    if (replid[0] == 0) side_info_text(info, "run_id", replid, 41);
}

static bool take_line(struct slice *text, struct slice *line) {
    if (text->size == 0) return false;
    const uint8_t *end = memchr(text->data, '\n', text->size);
    size_t size = end ? (size_t)(end - text->data) : text->size;
    *line = slice_take(*text, size);
    *text = slice_drop(*text, end ? size + 1 : size);
    return true;
}

static bool field(struct slice word, const char *name, struct slice *value) {
    size_t size = strlen(name);
    if (word.size < size || memcmp(word.data, name, size) != 0) return false;
    *value = slice_drop(word, size);
    return true;
}

bool client_list_next(struct slice *text, struct client_line *out) {
    struct slice line;
    if (!take_line(text, &line)) return false;
    *out = (struct client_line){0};
    while (line.size) {
        struct slice word = slice_cut(&line, ' '), age;
        if (field(word, "age=", &age))
            (void)slice_to_int(age, &out->age_s);
        else if (!field(word, "id=", &out->id) && !field(word, "addr=", &out->addr) &&
                 !field(word, "name=", &out->name) && !field(word, "cmd=", &out->cmd))
            (void)field(word, "flags=", &out->flags);
    }
    return true;
}

bool client_gateway_name(struct slice connection, struct slice *name) {
    struct slice rest;
    if (!field(connection, "drawbridge-gw:", &rest)) return false;
    size_t size = rest.size, colons = 0; /* the name ends before the last two colons */
    while (size > 0 && colons < 2)
        if (rest.data[--size] == ':') colons++;
    *name = colons == 2 ? slice_take(rest, size) : rest;
    return true;
}

/* Evictions count from when we first saw this run of the server. */
static void read_evicted(struct side_admin *admin, struct slice info) {
    struct gates_side *gate = &admin->facts.gate;
    int64_t evicted = 0;
    gate->evicted_known = side_info_int(info, "evicted_keys", &evicted);
    if (strcmp(admin->evicted_run, gate->run_id) != 0) {
        snprintf(admin->evicted_run, sizeof admin->evicted_run, "%s", gate->run_id);
        admin->evicted_base = evicted;
    }
    gate->evicted = evicted > admin->evicted_base ? evicted - admin->evicted_base : 0;
}

static int64_t read_keys(struct slice info) {
    int64_t total = 0;
    for (int db = 0; db < 16; db++) {
        char name[16];
        struct slice value;
        snprintf(name, sizeof name, "db%d", db);
        if (!resp_info_field(info, name, &value) || !field(value, "keys=", &value)) continue;
        int64_t keys;
        if (slice_to_int(slice_cut(&value, ','), &keys) && keys > 0) total += keys;
    }
    return total;
}

/* Replicas that follow. One that still takes a snapshot (an audit's, say) cannot acknowledge
 * anything. */
static int64_t read_replicas(struct slice info) {
    int64_t listed = 0, online = 0;
    (void)side_info_int(info, "connected_slaves", &listed);
    for (int64_t i = 0; i < listed; i++) {
        char name[32];
        struct slice value;
        snprintf(name, sizeof name, "slave%d", (int)i);
        if (resp_info_field(info, name, &value) &&
            memmem(value.data, value.size, ",state=online,", 14))
            online++;
    }
    return online;
}

void side_read_info(struct side_admin *admin, struct slice info) {
    struct side_facts *facts = &admin->facts;
    struct gates_side *gate = &facts->gate;
    char text[32];
    int64_t number = 0;
    struct slice bundled;
    gate->reachable = true;
    gate->error[0] = 0;
    side_info_text(info, "role", text, sizeof text);
    gate->is_master = strcmp(text, "master") == 0;
    gate->loading = side_info_int(info, "loading", &number) && number != 0;
    gate->bundled = resp_info_field(info, "drawbridge_version", &bundled);
    side_info_text(info, "run_id", gate->run_id, sizeof gate->run_id);
    side_info_text(info, "redis_version", facts->version, sizeof facts->version);
    side_info_text(info, "redis_mode", facts->mode, sizeof facts->mode);
    (void)side_info_int(info, "used_memory", &gate->used_memory);
    (void)side_info_int(info, "maxmemory", &gate->max_memory);
    (void)side_info_int(info, "total_system_memory", &gate->system_memory);
    side_info_text(info, "maxmemory_policy", gate->policy, sizeof gate->policy);
    gate->policy_known = gate->policy[0] != 0 || gate->bundled;
    read_evicted(admin, info);
    side_info_replid(info, facts->place.replid);
    (void)side_info_int(info, "master_repl_offset", &facts->place.offset);
    facts->connected_replicas = read_replicas(info);
    (void)side_info_int(info, "instantaneous_ops_per_sec", &facts->ops_per_s);
    (void)side_info_int(info, "connected_clients", &facts->clients);
    facts->aof = side_info_int(info, "aof_enabled", &number) && number != 0;
    facts->keys = read_keys(info);
}
