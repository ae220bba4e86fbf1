/* config.c -- load and check drawbridge.yaml. Its options are in config_table.c. */
#include "lib/control/config.h"
#include "lib/control/reads_policy.h"

#include "lib/base/mem.h"
#include "lib/base/yaml.h"

#include <stdio.h>
#include <string.h>

#define NAME_BYTES_MAX 64
#define REDIS_PORT 6379

static char *copy_text(const char *text) {
    return text ? mem_strdup(text) : NULL;
}

/* ---- what is made from the texts ---- */

static enum err finish_side(struct config_side *side, const char *name, struct why *why) {
    enum err err = endpoint_parse(&side->endpoint, side->address, REDIS_PORT, why);
    if (err) return why_add(why, err, "%s.address", name);
    const struct config_tls *tls = &side->tls;
    side->endpoint.tls = (struct tls_options){
        .on = tls->on,
        .insecure = tls->insecure,
        .ca = copy_text(tls->ca),
        .cert = copy_text(tls->cert),
        .key = copy_text(tls->key),
        .server_name = copy_text(tls->server_name),
    };
    const char *command = side->commands.psync;
    size_t size = strlen(command);
    if (size == 0 || size > NAME_BYTES_MAX || strpbrk(command, " \t\r\n"))
        return why_set(why, ERR_CONFIG, "%s.commands.psync: found '%.80s', expected one word", name,
                       command);
    return OK;
}

/* FILE in run_dir is meant when the text is missing; FILE NULL: then it is not wanted. */
static enum err finish_listen(struct drawbridge_config *config, struct config_listen *listen,
                              const char *name, const char *file, struct why *why) {
    if (listen->text == NULL && file == NULL) return OK;
    if (listen->text == NULL) {
        struct buf path = {0};
        buf_printf(&path, "unix:%s/%s.sock", config->run_dir, file);
        listen->text = mem_strdup(buf_text(&path));
        buf_close(&path);
    }
    size_t size = strlen(listen->text);
    bool is_path = size > 5 && strcmp(listen->text + size - 5, ".sock") == 0 &&
                   strncmp(listen->text, "unix:", 5) != 0; /* a socket's file needs no "unix:" */
    if (is_path) {
        char *text = mem_alloc(size + sizeof "unix:");
        memcpy(text, "unix:", 5);
        memcpy(text + 5, listen->text, size + 1);
        mem_free(listen->text);
        listen->text = text;
    }
    enum err err = endpoint_parse(&listen->endpoint, listen->text, 0, why);
    return err ? why_add(why, err, "%s", name) : OK;
}

static enum err finish_gateway_tls(struct drawbridge_config *config, struct why *why) {
    struct tls_options *tls = &config->gateway.tls.listen.endpoint.tls;
    if (!config->gateway.tls.on) return OK;
    if (config->gateway.tls.listen.text == NULL)
        return why_set(why, ERR_CONFIG, "gateway.tls.listen is missing: where do clients connect?");
    if (config->gateway.tls.cert == NULL)
        return why_set(why, ERR_CONFIG,
                       "gateway.tls.cert is missing: a TLS port needs a certificate");
    *tls = (struct tls_options){
        .on = true,
        .ca = copy_text(config->gateway.tls.ca),
        .cert = copy_text(config->gateway.tls.cert),
        .key = copy_text(config->gateway.tls.key),
    };
    return OK;
}

/* Whoever reaches the control port may move the clients: a port that others reach asks for
 * certificates, at both ends. */
static enum err finish_control_tls(struct drawbridge_config *config, struct why *why) {
    struct endpoint *control = &config->state.control.endpoint;
    const struct config_tls *tls = &config->state.tls;
    if (control->kind != ENDPOINT_TCP) return OK;
    bool local = strncmp(control->host, "127.", 4) == 0 || strcmp(control->host, "::1") == 0 ||
                 strcmp(control->host, "localhost") == 0;
    if (!tls->on && !local)
        return why_set(why, ERR_CONFIG, "state.control: others can reach %s, so state.tls is needed",
                       config->state.control.text);
    if (!tls->on) return OK;
    if (tls->ca == NULL || tls->cert == NULL)
        return why_set(why, ERR_CONFIG, "state.tls.%s is missing: both ends show a certificate",
                       tls->ca == NULL ? "ca" : "cert");
    control->tls = (struct tls_options){.on = true,
                                        .ca = copy_text(tls->ca),
                                        .cert = copy_text(tls->cert),
                                        .key = copy_text(tls->key),
                                        .server_name = copy_text(tls->server_name)};
    return OK;
}

/* Whoever reaches it may write whatever clients may: the same rule, and the same certificates. */
static enum err finish_peer_tls(struct drawbridge_config *config, struct why *why) {
    struct endpoint *peer = &config->gateway.peer.endpoint;
    const struct config_tls *tls = &config->state.tls;
    if (peer->kind != ENDPOINT_TCP) return OK;
    bool local = strncmp(peer->host, "127.", 4) == 0 || strcmp(peer->host, "::1") == 0 ||
                 strcmp(peer->host, "localhost") == 0;
    if (!tls->on && !local)
        return why_set(why, ERR_CONFIG, "gateway.peer: others can reach %s, so state.tls is needed",
                       config->gateway.peer.text);
    if (!tls->on) return OK;
    peer->tls = (struct tls_options){.on = true,
                                     .ca = copy_text(tls->ca),
                                     .cert = copy_text(tls->cert),
                                     .key = copy_text(tls->key)};
    return OK;
}

/* Names end up in paths, metrics and CLIENT SETNAME. */
static enum err check_name(const char *option, const char *name, struct why *why) {
    size_t size = strlen(name);
    size_t good = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");
    if (size > 0 && size <= NAME_BYTES_MAX && good == size && *name != '.') return OK;
    return why_set(why, ERR_CONFIG,
                   "%s: found '%.80s', expected 1 to %d letters, digits, '-', '_' or '.'", option,
                   name, NAME_BYTES_MAX);
}

static enum err check_different_sides(const struct drawbridge_config *config, struct why *why) {
    if (!endpoint_equal(&config->legacy.endpoint, &config->target.endpoint)) return OK;
    return why_set(why, ERR_CONFIG, "legacy.address and target.address are the same, %s",
                   config->legacy.address);
}

/* What is not built yet is refused, with the reason. */
static enum err check_reads(const struct drawbridge_config *config, struct why *why) {
    struct reads_policy policy;
    enum err err = reads_parse(slice_text(config->gateway.reads), &policy, why);
    return err == OK ? OK : why_add(why, err, "gateway.reads");
}

static enum err check_capture(const struct drawbridge_config *config, struct why *why) {
    if (config->gateway.capture != CAPTURE_LANE) return OK;
    if (config->target.cluster)
        return why_set(why, ERR_CONFIG, "gateway.capture: lane cannot write to a Cluster yet");
    return OK;
}

static enum err finish_listens(struct drawbridge_config *config, struct why *why) {
    const struct {
        struct config_listen *listen;
        const char *name, *file;
    } all[] = {
        {&config->gateway.listen, "gateway.listen", NULL},
        {&config->gateway.tls.listen, "gateway.tls.listen", NULL},
        {&config->gateway.admin, "gateway.admin", config->gateway.name},
        {&config->gateway.metrics, "gateway.metrics", NULL},
        {&config->gateway.peer, "gateway.peer", NULL},
        {&config->server.metrics, "server.metrics", NULL},
        {&config->syncer.metrics, "syncer.metrics", NULL},
        {&config->state.control, "state.control", "control"},
        {&config->state.api, "state.api", "api"},
        {&config->state.console, "state.console", NULL},
        {&config->state.metrics, "state.metrics", NULL},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        enum err err = finish_listen(config, all[i].listen, all[i].name, all[i].file, why);
        if (err) return err;
    }
    enum err err = finish_gateway_tls(config, why);
    if (err == OK) err = finish_control_tls(config, why);
    return err ? err : finish_peer_tls(config, why);
}

static enum err finish(struct drawbridge_config *config, const char *name, const bool *seen,
                       struct why *why) {
    for (size_t i = 0; i < config_options.count; i++)
        if (seen[i] && strncmp(config_options.table[i].name, "server.", 7) == 0)
            config->server.wanted = true;
    config->path = mem_strdup(name);
    enum err err = check_name("migration", config->migration, why);
    if (err == OK) err = check_name("gateway.name", config->gateway.name, why);
    if (err == OK) err = check_name("syncer.name", config->syncer.name, why);
    if (err == OK) err = finish_side(&config->legacy, "legacy", why);
    if (err == OK) err = finish_side(&config->target, "target", why);
    if (err == OK) err = check_different_sides(config, why);
    if (err == OK) err = check_capture(config, why);
    if (err == OK) err = check_reads(config, why);
    if (err == OK) err = finish_listens(config, why);
    return err;
}

/* ---- loading ---- */

static enum err override(struct drawbridge_config *config, const struct config_override *overrides,
                         bool *seen, struct why *why) {
    for (; overrides && overrides->name; overrides++) {
        enum err err = options_set(&config_options, config, overrides->name, overrides->text, why);
        if (err) return why_add(why, err, "on the command line");
        seen[options_find(&config_options, overrides->name) - config_options.table] = true;
    }
    return OK;
}

/* PATH NULL: from TEXT, which is called NAME. */
static enum err load(struct drawbridge_config *config, const char *path, struct slice text,
                     const char *name, const struct config_override *overrides, struct why *why) {
    *config = (struct drawbridge_config){0};
    options_default(&config_options, config);
    bool *seen = NEW_ARRAY(bool, config_options.count);
    enum err err = path ? yaml_read_file(path, &config_options, config, seen, why)
                        : yaml_read(text, name, &config_options, config, seen, why);
    if (err == OK) err = override(config, overrides, seen, why);
    if (err == OK) {
        err = options_check(&config_options, seen, why);
        if (err == OK) err = finish(config, name, seen, why);
        if (err) (void)why_add(why, err, "%s", name);
    }
    mem_free(seen);
    if (err) config_close(config);
    return err;
}

enum err config_load(struct drawbridge_config *config, const char *path,
                     const struct config_override *overrides, struct why *why) {
    return load(config, path, slice_from(NULL, 0), path, overrides, why);
}

enum err config_read(struct drawbridge_config *config, struct slice text, const char *name,
                     const struct config_override *overrides, struct why *why) {
    return load(config, NULL, text, name, overrides, why);
}

void config_close(struct drawbridge_config *config) {
    options_close(&config_options, config);
    mem_free(config->path);
    endpoint_close(&config->legacy.endpoint);
    endpoint_close(&config->target.endpoint);
    endpoint_close(&config->gateway.tls.listen.endpoint);
    endpoint_close(&config->state.control.endpoint);
    endpoint_close(&config->gateway.peer.endpoint);
    *config = (struct drawbridge_config){0};
}

enum err config_start_log(const struct drawbridge_config *config, const char *role,
                          struct why *why) {
    log_set((enum log_format)config->log.format, (enum log_level)config->log.level, role);
    if (config->log.file == NULL) return OK;
    return log_to_file(config->log.file, why);
}

void config_example(struct buf *out) {
    yaml_write_example(&config_options, out);
}
