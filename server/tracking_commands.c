/* tracking_commands.c -- CLIENT TRACKING, CACHING, TRACKINGINFO, GETREDIR. */
#include "server/tracking_inside.h"

#include "lib/base/mem.h"
#include "server/args.h"
#include "server/reply.h"

#include <stdio.h>

struct request {
    struct client_tracking options;
    struct slice *prefixes;
    size_t count;
};

static bool read_redirect(struct client *c, struct slice arg, struct request *r) {
    int64_t id;
    if (r->options.redirect) {
        reply_error(c, "ERR A client can only redirect to a single other client");
        return false;
    }
    if (!arg_int(c, arg, &id, NULL)) return false;
    if (client_by_id(c->engine, (uint64_t)id) == NULL) {
        reply_error(c, "ERR The client ID you want redirect to does not exist");
        return false;
    }
    r->options.redirect = (uint64_t)id;
    return true;
}

static bool read_options(struct client *c, struct request *r) {
    struct client_tracking *o = &r->options;
    for (int i = 3; i < c->argc; i++) {
        struct slice word = c->argv[i];
        bool more = i + 1 < c->argc;
        if (arg_is(word, "redirect") && more) {
            if (!read_redirect(c, c->argv[++i], r)) return false;
        } else if (arg_is(word, "bcast"))
            o->bcast = true;
        else if (arg_is(word, "optin"))
            o->optin = true;
        else if (arg_is(word, "optout"))
            o->optout = true;
        else if (arg_is(word, "noloop"))
            o->noloop = true;
        else if (arg_is(word, "prefix") && more)
            r->prefixes[r->count++] = c->argv[++i];
        else {
            reply_syntax_error(c);
            return false;
        }
    }
    return true;
}

static bool overlap(struct slice a, struct slice b) {
    return slice_starts(a, b) || slice_starts(b, a);
}

/* A client hears of a key once. */
static bool prefixes_are_apart(struct client *c, const struct request *r) {
    for (size_t i = 0; i < r->count; i++) {
        struct slice text = r->prefixes[i], other = SLICE("");
        const char *kind = NULL;
        for (size_t n = 0; c->tracking && kind == NULL && n < c->tracking->prefix_count; n++) {
            other = tracking_prefix_text(c->tracking->prefixes[n]);
            if (overlap(text, other)) kind = "an existing prefix";
        }
        for (size_t n = i + 1; kind == NULL && n < r->count; n++) {
            other = r->prefixes[n];
            if (overlap(text, other)) kind = "another provided prefix";
        }
        if (kind == NULL) continue;
        reply_error(c,
                    "ERR Prefix '%.*s' overlaps with %s '%.*s'. Prefixes for a single client must "
                    "not overlap.",
                    (int)text.size, (const char *)text.data, kind, (int)other.size,
                    (const char *)other.data);
        return false;
    }
    return true;
}

/* What speaks against the options, by themselves and with those of before; NULL: nothing. */
static const char *objection(const struct client_tracking *old, const struct request *r) {
    const struct client_tracking *o = &r->options;
    if (!o->bcast && r->count > 0) return "PREFIX option requires BCAST mode to be enabled";
    if (old && old->on && old->bcast != o->bcast)
        return "You can't switch BCAST mode on/off before disabling tracking for this client, and "
               "then re-enabling it with a different mode.";
    if (o->bcast && (o->optin || o->optout))
        return "OPTIN and OPTOUT are not compatible with BCAST";
    if (o->optin && o->optout) return "You can't specify both OPTIN mode and OPTOUT mode";
    if (old && ((o->optin && old->optout) || (o->optout && old->optin)))
        return "You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and "
               "then re-enabling it with a different mode.";
    return NULL;
}

static void change(struct client *c, struct request *r) {
    if (!read_options(c, r)) return;
    if (arg_is(c->argv[2], "off")) {
        tracking_forget(c);
        reply_ok(c);
        return;
    }
    if (!arg_is(c->argv[2], "on")) {
        reply_syntax_error(c);
        return;
    }
    const char *error = objection(c->tracking, r);
    if (error) {
        reply_error(c, "ERR %s", error);
    } else if (!r->options.bcast || prefixes_are_apart(c, r)) {
        tracking_start(c, &r->options, r->prefixes, r->count);
        reply_ok(c);
    }
}

static void run_tracking(struct client *c) {
    struct request r = {.prefixes = NEW_ARRAY(struct slice, (size_t)c->argc)};
    change(c, &r);
    mem_free(r.prefixes);
}

static void run_caching(struct client *c) {
    struct client_tracking *mine = c->tracking;
    bool yes = arg_is(c->argv[2], "yes");
    if (mine == NULL || !mine->on)
        reply_error(c, "ERR CLIENT CACHING can be called only when the client is in tracking mode "
                       "with OPTIN or OPTOUT mode enabled");
    else if (!yes && !arg_is(c->argv[2], "no"))
        reply_syntax_error(c);
    else if (!(yes ? mine->optin : mine->optout))
        reply_error(c, "ERR CLIENT CACHING %s is only valid when tracking is enabled in %s mode.",
                    yes ? "YES" : "NO", yes ? "OPTIN" : "OPTOUT");
    else {
        mine->caching = true;
        reply_ok(c);
    }
}

static bool is_on(const struct client *c) {
    return c->tracking && c->tracking->on;
}

static void run_getredir(struct client *c) {
    reply_int(c, is_on(c) ? (int64_t)c->tracking->redirect : -1);
}

static void run_trackinginfo(struct client *c) {
    static const struct client_tracking nothing = {0};
    const struct client_tracking *t = c->tracking ? c->tracking : &nothing;
    const struct {
        bool given;
        const char *name;
    } flags[] = {{t->on, "on"},
                 {!t->on, "off"},
                 {t->bcast, "bcast"},
                 {t->optin, "optin"},
                 {t->optin && t->caching, "caching-yes"},
                 {t->optout, "optout"},
                 {t->optout && t->caching, "caching-no"},
                 {t->noloop, "noloop"},
                 {t->broken, "broken_redirect"}};
    reply_map(c, 3);
    reply_bulk_text(c, "flags");
    size_t mark = reply_later(c), count = 0;
    for (size_t i = 0; i < COUNT(flags); i++)
        if (flags[i].given) reply_bulk_text(c, flags[i].name), count++;
    reply_later_set(c, mark, count);
    reply_bulk_text(c, "redirect");
    reply_int(c, t->on ? (int64_t)t->redirect : -1);
    reply_bulk_text(c, "prefixes");
    reply_array(c, t->prefix_count);
    for (size_t i = 0; i < t->prefix_count; i++)
        reply_bulk(c, tracking_prefix_text(t->prefixes[i]));
}

void tracking_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"client|tracking", run_tracking},
                                                      {"client|caching", run_caching},
                                                      {"client|getredir", run_getredir},
                                                      {"client|trackinginfo", run_trackinginfo}};
    command_bind(engine, bindings, COUNT(bindings));
    tracking_open(engine);
}
