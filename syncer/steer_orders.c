/* steer_orders.c -- what `state` may tell the syncer, one function for each line of docs/CONTROL.md. */
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "syncer/steer_inside.h"
#include "syncer/report.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

struct order {
    struct steer *c;
    size_t argc;
    const struct slice *argv;
    struct steer_link *slot; /* of argv[2], for LINK */
};

static void fail(struct order *o, const char *code, const char *text) { resp_write_errorf(&o->c->out, "%s %s", code, text); }

static void copy_text(char *to, size_t size, struct slice text) {
    snprintf(to, size, "%.*s", (int)(text.size < size ? text.size : size - 1), (const char *)text.data);
}

static bool natural(struct slice text, uint64_t *number) {
    int64_t n = 0;
    if (!slice_to_int(text, &n) || n < 0) return false;
    *number = (uint64_t)n;
    return true;
}

/* An order of an epoch that is over is refused. */
static bool fits_epoch(struct order *o, struct slice text, uint64_t *epoch) {
    if (!natural(text, epoch)) {
        fail(o, "ERR", "the epoch is not a number");
        return false;
    }
    if (*epoch < o->c->epoch) {
        resp_write_errorf(&o->c->out, "STALEEPOCH %" PRIu64, o->c->epoch);
        return false;
    }
    steer_raise_epoch(o->c, *epoch);
    return true;
}

/* ---- opening and closing ---- */

enum err steer_open_link(struct steer *c, struct steer_link *slot, struct why *why) {
    struct link *link = NULL;
    const struct drawbridge_config *config = c->config;
    bool forward = slot == &c->links[0], copy = slot->opening.copy;
    struct link_options options = {.name = forward ? "forward" : "reverse", .from = forward ? &config->legacy : &config->target,
        .to = forward ? &config->target : &config->legacy, .spool_dir = config->syncer.spool.dir,
        .limit_bytes = (uint64_t)config->syncer.spool.limit, .epoch = c->epoch, .may_copy = copy,
        .role = copy ? LINK_ACTIVE : LINK_STANDBY, .throttle_ops = (uint64_t)config->syncer.copy.throttle.ops,
        .throttle_bytes = (uint64_t)config->syncer.copy.throttle.bytes, .own_until = slot->opening.own_until, .by_lanes = slot->opening.by_lanes,
        .sent = c->sent[forward ? 0 : 1], .others_sent = c->sent[forward ? 1 : 0]};
    enum err err = link_open(&link, &options, why);
    if (err != OK) return err;
    pthread_mutex_lock(&c->lock);
    slot->link = link;
    pthread_mutex_unlock(&c->lock);
    slot->report_due_ms = 0;
    return OK;
}

static void open_link(struct order *o, bool copy, uint64_t own_until, bool by_lanes) {
    struct why why;
    o->slot->opening = (struct steer_opening){.wanted = o->slot->leaving != NULL, .copy = copy, .own_until = own_until, .by_lanes = by_lanes};
    if (!o->slot->opening.wanted && steer_open_link(o->c, o->slot, &why) != OK) {
        log_error("link.open", LOG_WHY(&why));
        fail(o, "ERR", why.text);
        return;
    }
    resp_write_ok(&o->c->out);
}

static void order_open(struct order *o) {
    uint64_t epoch = 0;
    json_t *json = o->argc == 4 ? json_loadb((const char *)o->argv[3].data, o->argv[3].size, JSON_REJECT_DUPLICATES, NULL) : NULL;
    const char *mode = json_string_value(json_object_get(json, "mode"));
    const char *from = json_string_value(json_object_get(json, "from"));
    json_t *number = json_object_get(json, "epoch");
    json_int_t own = json_integer_value(json_object_get(json, "own_until")); /* 0 when it is not there */
    uint64_t own_until = own > 0 ? (uint64_t)own : 0;
    bool by_lanes = json_is_true(json_object_get(json, "lanes"));
    bool forward = o->slot == &o->c->links[0];
    bool fits = mode && from && strcmp(from, forward ? "legacy" : "target") == 0 && json_is_integer(number) &&
                (strcmp(mode, "copy") == 0 || strcmp(mode, "standby") == 0);
    if (!fits) {
        fail(o, "ERR", "LINK OPEN forward|reverse {epoch, from, to, mode: copy|standby}");
    } else {
        epoch = (uint64_t)json_integer_value(number);
        if (epoch < o->c->epoch) {
            resp_write_errorf(&o->c->out, "STALEEPOCH %" PRIu64, o->c->epoch);
        } else if (o->slot->link) {
            link_own_until(o->slot->link, own_until);
            link_set_by_lanes(o->slot->link, by_lanes);
            resp_write_ok(&o->c->out); /* it goes on as it is; roles change by DRAIN and ACTIVATE alone */
        } else {
            steer_raise_epoch(o->c, epoch);
            open_link(o, strcmp(mode, "copy") == 0, own_until, by_lanes);
        }
    }
    json_decref(json);
}

static void order_close(struct order *o) {
    steer_close_link(o->c, o->slot);
    resp_write_ok(&o->c->out);
}

/* ---- orders to an open link ---- */

static void answer(struct order *o, enum err err, const char *code, const struct why *why) {
    if (err == OK) resp_write_ok(&o->c->out);
    else fail(o, code, why->text);
}

static void order_status(struct order *o) {
    struct buf json = {0};
    report_json(o->slot->link, &json);
    resp_write_bulk(&o->c->out, buf_slice(&json));
    buf_close(&json);
}

/* LINK DRAIN <link> <barrier> <epoch> <offset> */
static void order_drain(struct order *o) {
    char barrier[64];
    uint64_t epoch = 0, offset = 0;
    struct why why;
    if (!fits_epoch(o, o->argv[4], &epoch)) return;
    if (!natural(o->argv[5], &offset)) {
        fail(o, "ERR", "the offset is not a number");
        return;
    }
    copy_text(barrier, sizeof barrier, o->argv[3]);
    enum err err = link_drain(o->slot->link, barrier, offset, &why);
    if (err == OK) o->slot->drain_told = true;
    answer(o, err, "ERR", &why);
}

static void order_undrain(struct order *o) {
    o->slot->drain_told = false;
    link_undrain(o->slot->link);
    resp_write_ok(&o->c->out);
}

/* LINK ACTIVATE <link> <epoch> <replid> <offset> */
static void order_activate(struct order *o) {
    char replid[64];
    uint64_t epoch = 0, offset = 0;
    struct why why;
    if (!fits_epoch(o, o->argv[3], &epoch)) return;
    copy_text(replid, sizeof replid, o->argv[4]);
    if (!replid_valid(o->argv[4]) || !natural(o->argv[5], &offset)) {
        fail(o, "ERR", "LINK ACTIVATE link epoch replid offset");
        return;
    }
    enum err err = link_activate(o->slot->link, epoch, replid, offset, &why);
    if (err == OK) o->slot->activate_told = true;
    answer(o, err, err == ERR_ABSENT ? "GAP" : "ERR", &why);
}

static void order_discard(struct order *o) {
    uint64_t offset = 0;
    struct why why;
    enum err err = natural(o->argv[3], &offset) ? link_discard(o->slot->link, offset, &why)
                                                : why_set(&why, ERR_PROTO, "the offset is not a number");
    answer(o, err, "ERR", &why);
}

static void order_pause(struct order *o) {
    link_pause(o->slot->link, slice_equal_nocase(o->argv[1], SLICE("pause")));
    resp_write_ok(&o->c->out);
}

static void order_throttle(struct order *o) {
    uint64_t ops = 0, bytes = 0;
    if (!natural(o->argv[3], &ops) || !natural(o->argv[4], &bytes)) {
        fail(o, "ERR", "LINK THROTTLE link ops_per_s bytes_per_s");
        return;
    }
    link_throttle(o->slot->link, ops, bytes);
    resp_write_ok(&o->c->out);
}

/* LINK COMPARE <link> <barrier> <budget_ms> */
static void order_compare(struct order *o) {
    char barrier[64];
    uint64_t budget = 0;
    if (!natural(o->argv[4], &budget)) {
        fail(o, "ERR", "the budget is not a number");
        return;
    }
    copy_text(barrier, sizeof barrier, o->argv[3]);
    steer_compare(o->c, o->slot->link, barrier, budget);
    resp_write_ok(&o->c->out);
}

static const struct {
    const char *verb;
    size_t argc;
    bool needs_link;
    void (*obey)(struct order *o);
} link_orders[] = {
    {"open", 4, false, order_open},        {"close", 3, false, order_close},      {"status", 3, true, order_status},
    {"drain", 6, true, order_drain},       {"undrain", 4, true, order_undrain},   {"activate", 6, true, order_activate},
    {"discard", 4, true, order_discard},   {"pause", 3, true, order_pause},       {"resume", 3, true, order_pause},
    {"throttle", 5, true, order_throttle}, {"compare", 5, true, order_compare},
};

static void obey_link(struct order *o) {
    if (o->argc >= 3 && slice_equal_nocase(o->argv[2], SLICE("forward"))) o->slot = &o->c->links[0];
    else if (o->argc >= 3 && slice_equal_nocase(o->argv[2], SLICE("reverse"))) o->slot = &o->c->links[1];
    if (!o->slot) {
        fail(o, "ERR", "there are the links forward and reverse");
        return;
    }
    for (size_t i = 0; i < sizeof link_orders / sizeof *link_orders; i++) {
        if (!slice_equal_nocase(o->argv[1], slice_text(link_orders[i].verb))) continue;
        if (o->argc != link_orders[i].argc) fail(o, "ERR", "wrong number of arguments; see docs/CONTROL.md");
        else if (link_orders[i].needs_link && !o->slot->link) fail(o, "ERR", "the link is not open");
        else link_orders[i].obey(o);
        return;
    }
    fail(o, "ERR", "no such order; see docs/CONTROL.md");
}

void steer_obey(struct steer *c, size_t argc, const struct slice *argv) {
    struct order o = {.c = c, .argc = argc, .argv = argv};
    if (slice_equal_nocase(argv[0], SLICE("ping"))) resp_write_simple(&c->out, SLICE("PONG"));
    else if (argc >= 2 && slice_equal_nocase(argv[0], SLICE("link"))) obey_link(&o);
    else if (argc >= 3 && slice_equal_nocase(argv[0], SLICE("audit"))) steer_obey_audit(c, argc, argv);
    else fail(&o, "ERR", "no such order; see docs/CONTROL.md");
}
