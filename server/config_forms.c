/* config_forms.c -- options that are neither a number, a word nor a text. */
#include "server/config_forms.h"

#include "lib/base/mem.h"
#include "server/args.h"

static const struct {
    char letter;
    int64_t bits;
} event_letters[] = {{'g', NOTIFY_GENERIC}, {'$', NOTIFY_STRING},   {'l', NOTIFY_LIST},
                     {'s', NOTIFY_SET},     {'h', NOTIFY_HASH},     {'z', NOTIFY_ZSET},
                     {'x', NOTIFY_EXPIRED}, {'e', NOTIFY_EVICTED},  {'t', NOTIFY_STREAM},
                     {'d', NOTIFY_MODULE},  {'K', NOTIFY_KEYSPACE}, {'E', NOTIFY_KEYEVENT},
                     {'m', NOTIFY_MISS},    {'n', NOTIFY_NEW}};
#define ALL_EVENTS                                                                                 \
    (NOTIFY_GENERIC | NOTIFY_STRING | NOTIFY_LIST | NOTIFY_SET | NOTIFY_HASH | NOTIFY_ZSET |       \
     NOTIFY_EXPIRED | NOTIFY_EVICTED | NOTIFY_STREAM | NOTIFY_MODULE)

enum err config_read_events(struct engine *engine, int argc, const struct slice *argv,
                            struct why *why) {
    int64_t bits = 0;
    for (size_t i = 0; argc > 0 && i < argv[0].size; i++) {
        int64_t found = argv[0].data[i] == 'A' ? ALL_EVENTS : 0;
        for (size_t n = 0; n < COUNT(event_letters); n++)
            if (event_letters[n].letter == (char)argv[0].data[i]) found = event_letters[n].bits;
        if (found == 0)
            return why_set(why, ERR_CONFIG,
                           "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
        bits |= found;
    }
    engine->settings.notify_keyspace_events = bits;
    return OK;
}

void config_write_events(struct engine *engine, struct buf *out) {
    int64_t bits = engine->settings.notify_keyspace_events;
    bool all = (bits & ALL_EVENTS) == ALL_EVENTS;
    if (all) buf_byte(out, 'A');
    for (size_t i = 0; i < COUNT(event_letters); i++)
        if (bits & event_letters[i].bits && !(all && ALL_EVENTS & event_letters[i].bits))
            buf_byte(out, (uint8_t)event_letters[i].letter);
}

/* Passwords are bytes, not text. */
static enum err put_secret(char **text, size_t *size, int argc, const struct slice *argv,
                           struct why *why) {
    if (argc != 1) return why_set(why, ERR_CONFIG, "wrong number of arguments");
    mem_free(*text);
    *text = mem_zalloc(argv[0].size + 1);
    if (argv[0].size) memcpy(*text, argv[0].data, argv[0].size);
    *size = argv[0].size;
    return OK;
}

enum err config_read_password(struct engine *engine, int argc, const struct slice *argv,
                              struct why *why) {
    return put_secret(&engine->settings.requirepass, &engine->settings.requirepass_size, argc, argv,
                      why);
}

void config_write_password(struct engine *engine, struct buf *out) {
    buf_append(out, engine->settings.requirepass, engine->settings.requirepass_size);
}

enum err config_read_masterauth(struct engine *engine, int argc, const struct slice *argv,
                                struct why *why) {
    return put_secret(&engine->settings.masterauth, &engine->settings.masterauth_size, argc, argv,
                      why);
}

void config_write_masterauth(struct engine *engine, struct buf *out) {
    buf_append(out, engine->settings.masterauth, engine->settings.masterauth_size);
}

/* In a file each line adds a point; the first one replaces the defaults. */
enum err config_read_save(struct engine *engine, int argc, const struct slice *argv,
                          struct why *why) {
    struct settings *s = &engine->settings;
    struct save_point points[SAVE_POINTS_MAX];
    int count = 0;
    bool none = argc == 0 || (argc == 1 && argv[0].size == 0);
    if (!none && (argc % 2 || argc / 2 > SAVE_POINTS_MAX))
        return why_set(why, ERR_CONFIG, "Invalid save parameters");
    for (int i = 0; !none && i < argc; i += 2, count++)
        if (!slice_to_int(argv[i], &points[count].seconds) ||
            !slice_to_int(argv[i + 1], &points[count].changes) || points[count].seconds < 1 ||
            points[count].changes < 0)
            return why_set(why, ERR_CONFIG, "Invalid save parameters");
    if (!engine->save_was_set || none) s->save_count = 0;
    engine->save_was_set = true;
    if (s->save_count + count > SAVE_POINTS_MAX)
        return why_set(why, ERR_CONFIG, "more than %d save points", SAVE_POINTS_MAX);
    for (int i = 0; i < count; i++) s->save_points[s->save_count++] = points[i];
    return OK;
}

void config_write_save(struct engine *engine, struct buf *out) {
    const struct settings *s = &engine->settings;
    for (int i = 0; i < s->save_count; i++)
        buf_printf(out, "%s%lld %lld", i ? " " : "", (long long)s->save_points[i].seconds,
                   (long long)s->save_points[i].changes);
}

static const char *const class_names[OUTPUT_CLASSES] = {"normal", "slave", "pubsub"};

enum err config_read_limits(struct engine *engine, int argc, const struct slice *argv,
                            struct why *why) {
    struct output_limit limits[OUTPUT_CLASSES];
    memcpy(limits, engine->settings.output_limits, sizeof limits);
    if (argc == 0 || argc % 4)
        return why_set(why, ERR_CONFIG, "Wrong number of arguments in buffer limit configuration.");
    for (int i = 0; i < argc; i += 4) {
        int class = 0;
        while (class < OUTPUT_CLASSES && !arg_is(argv[i], class_names[class])) class ++;
        if (arg_is(argv[i], "replica")) class = OUTPUT_REPLICA;
        if (class == OUTPUT_CLASSES)
            return why_set(why, ERR_CONFIG,
                           "Invalid client class specified in buffer limit configuration.");
        struct output_limit *l = &limits[class];
        if (!config_read_memory(argv[i + 1], &l->hard_bytes) ||
            !config_read_memory(argv[i + 2], &l->soft_bytes) ||
            !slice_to_int(argv[i + 3], &l->soft_seconds) || l->soft_seconds < 0)
            return why_set(
                why, ERR_CONFIG,
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.");
    }
    memcpy(engine->settings.output_limits, limits, sizeof limits);
    return OK;
}

void config_write_limits(struct engine *engine, struct buf *out) {
    for (int i = 0; i < OUTPUT_CLASSES; i++) {
        const struct output_limit *l = &engine->settings.output_limits[i];
        buf_printf(out, "%s%s %lld %lld %lld", i ? " " : "", class_names[i],
                   (long long)l->hard_bytes, (long long)l->soft_bytes, (long long)l->soft_seconds);
    }
}

enum err config_read_percentiles(struct engine *engine, int argc, const struct slice *argv,
                                 struct why *why) {
    double values[LATENCY_PERCENTILES_MAX];
    if (argc == 1 && argv[0].size == 0) argc = 0;
    if (argc > LATENCY_PERCENTILES_MAX)
        return why_set(why, ERR_CONFIG, "more than %d percentiles", LATENCY_PERCENTILES_MAX);
    for (int i = 0; i < argc; i++) {
        if (!number_read_double(argv[i], &values[i]))
            return why_set(why, ERR_CONFIG, "Invalid latency-tracking-info-percentiles parameters");
        if (!(values[i] >= 0 && values[i] <= 100))
            return why_set(why, ERR_CONFIG,
                           "latency-tracking-info-percentiles parameters should sit between "
                           "[0.0,100.0]");
    }
    memcpy(engine->settings.latency_percentiles, values, sizeof values);
    engine->settings.latency_percentile_count = argc;
    return OK;
}

void config_write_percentiles(struct engine *engine, struct buf *out) {
    for (int i = 0; i < engine->settings.latency_percentile_count; i++)
        buf_printf(out, "%s%.15g", i ? " " : "", engine->settings.latency_percentiles[i]);
}

enum err config_read_maxmemory_clients(struct engine *engine, int argc, const struct slice *argv,
                                       struct why *why) {
    int64_t value;
    if (argc != 1) return why_set(why, ERR_CONFIG, "wrong number of arguments");
    struct slice text = argv[0];
    if (text.size > 0 && text.data[text.size - 1] == '%') {
        text.size--;
        if (!slice_to_int(text, &value) || value < 0)
            return why_set(why, ERR_CONFIG, "argument must be a memory or percent value");
        if (value > 100)
            return why_set(why, ERR_CONFIG, "percentage argument must be less or equal to 100");
        engine->settings.maxmemory_clients = -value;
        return OK;
    }
    if (!config_read_memory(text, &value) || value < 0)
        return why_set(why, ERR_CONFIG, "argument must be a memory or percent value");
    engine->settings.maxmemory_clients = value;
    return OK;
}

void config_write_maxmemory_clients(struct engine *engine, struct buf *out) {
    int64_t value = engine->settings.maxmemory_clients;
    buf_printf(out, "%lld%s", (long long)(value < 0 ? -value : value), value < 0 ? "%" : "");
}

/* What SHUTDOWN does when a signal comes; flags of shutdown_flag. */
static const char *const shutdown_words[] = {"save", "nosave", "now", "force"};

static enum err read_shutdown(int64_t *flags, int argc, const struct slice *argv, struct why *why) {
    int64_t found = 0;
    bool bad = argc == 0;
    for (int i = 0; i < argc; i++) {
        size_t n = 0;
        while (n < COUNT(shutdown_words) && !arg_is(argv[i], shutdown_words[n])) n++;
        if (n < COUNT(shutdown_words))
            found |= INT64_C(1) << n;
        else
            bad = bad || !arg_is(argv[i], "default");
    }
    if (bad)
        return why_set(why, ERR_CONFIG,
                       "argument(s) must be one of the following: default, save, nosave, now, "
                       "force");
    if (found & SHUTDOWN_SAVE && found & SHUTDOWN_NOSAVE)
        return why_set(why, ERR_CONFIG, "save and nosave exclude each other");
    *flags = found;
    return OK;
}

static void write_shutdown(int64_t flags, struct buf *out) {
    if (flags == 0) buf_printf(out, "default");
    bool more = false;
    for (size_t n = 0; n < COUNT(shutdown_words); n++) {
        if (!(flags & INT64_C(1) << n)) continue;
        buf_printf(out, "%s%s", more ? " " : "", shutdown_words[n]);
        more = true;
    }
}

enum err config_read_on_sigint(struct engine *engine, int argc, const struct slice *argv,
                               struct why *why) {
    return read_shutdown(&engine->settings.shutdown_on_sigint, argc, argv, why);
}

void config_write_on_sigint(struct engine *engine, struct buf *out) {
    write_shutdown(engine->settings.shutdown_on_sigint, out);
}

enum err config_read_on_sigterm(struct engine *engine, int argc, const struct slice *argv,
                                struct why *why) {
    return read_shutdown(&engine->settings.shutdown_on_sigterm, argc, argv, why);
}

void config_write_on_sigterm(struct engine *engine, struct buf *out) {
    write_shutdown(engine->settings.shutdown_on_sigterm, out);
}

enum err config_read_replicaof(struct engine *engine, int argc, const struct slice *argv,
                               struct why *why) {
    int64_t port = 0;
    bool none = argc == 0 || (argc == 1 && argv[0].size == 0) ||
                (argc == 2 && arg_is(argv[0], "no") && arg_is(argv[1], "one"));
    if (!none && argc != 2) return why_set(why, ERR_CONFIG, "wrong number of arguments");
    if (!none && (!slice_to_int(argv[1], &port) || port < 0 || port > 65535))
        return why_set(why, ERR_CONFIG, "Invalid master port");
    struct buf text = {0};
    if (!none) {
        buf_add(&text, argv[0]);
        buf_printf(&text, " %lld", (long long)port);
    }
    mem_free(engine->settings.replicaof);
    engine->settings.replicaof = mem_strdup(buf_text(&text));
    buf_close(&text);
    return OK;
}

void config_write_replicaof(struct engine *engine, struct buf *out) {
    buf_printf(out, "%s", engine->settings.replicaof);
}

enum err config_read_loglevel(struct engine *engine, int argc, const struct slice *argv,
                              struct why *why) {
    static const char *const levels[] = {"debug", "verbose", "notice", "warning"};
    for (size_t i = 0; argc == 1 && i < COUNT(levels); i++)
        if (arg_is(argv[0], levels[i])) {
            mem_free(engine->settings.loglevel);
            engine->settings.loglevel = mem_strdup(levels[i]);
            return OK;
        }
    if (argc != 1) return why_set(why, ERR_CONFIG, "wrong number of arguments");
    return why_set(why, ERR_CONFIG,
                   "argument(s) must be one of the following: debug, verbose, notice, warning");
}

void config_write_loglevel(struct engine *engine, struct buf *out) {
    buf_printf(out, "%s", engine->settings.loglevel);
}
