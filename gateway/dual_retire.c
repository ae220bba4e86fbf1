/* dual_retire.c -- the lanes end while the process goes on, because the capture is `stream` now (C1).
 * See dual.h.
 *
 * At a change of capture all gateways hold and the lanes are drained: nothing is under way to either
 * side, and who waits in a blocking command has nothing under way. Its client sends it anew, with the
 * time that is left. A gateway that was away meanwhile holds nothing: its connections were killed, and
 * whatever it had under way is lost (C21).
 *
 * What the journal says holds until here. It is removed, and state deals the slots out anew before
 * there are lanes again; so a journal that was left behind is not believed either (dual_slots.c).
 */
#include "gateway/dual_inside.h"

#include "gateway/blocked.h"
#include "gateway/multi.h"
#include "gateway/peers.h"

#include "lib/base/fs.h"
#include "lib/base/log.h"

#include <stdio.h>

/* ---- who waits ---- */

/* REQUEST with the time that is left. False: it is none that blocks. */
static bool write_rest(struct dual *d, int32_t db, struct slice request, uint64_t deadline_us,
                       struct buf *rest) {
    struct effect_facts facts = dual_facts(d->worker);
    struct resp_request r = {0};
    struct why why;
    size_t used = 0;
    enum step step = resp_request_next(&r, &resp_request_limits_open, request, &used, &why);
    const struct command *command = step == STEP_DONE ? command_lookup(r.argc, r.argv) : NULL;
    bool blocks = false;
    if (command != NULL) {
        struct effect *effect = effect_new(&facts, db, command, r.argc, r.argv);
        blocks = effect->blocking;
        effect_free(effect);
        blocked_write_rest(command, &r, deadline_us, d->worker->now_us, rest);
    }
    resp_request_close(&r);
    return blocks;
}

void dual_ask_elsewhere(struct dual *d, struct ask *ask) {
    struct buf rest = {0};
    bool again = write_rest(d, ask->db, buf_slice(&ask->request), ask->deadline_us, &rest);
    buf_close(&ask->request);
    ask->request = rest;
    ask->end = again ? ASK_AGAIN : ASK_LOST;
    ask_give_back(d->worker, ask);
}

static void end_wait(struct dual *d, struct dual_wait *wait) {
    struct ask *ask = wait->ask;
    struct client *c = wait->client;
    struct buf request = wait->request, rest = {0};
    wait->request = (struct buf){0};
    if (c != NULL) {
        (void)write_rest(d, wait->db, buf_slice(&request), wait->deadline_us, &rest);
        dual_wait_free(d, wait);
        c->busy = false;
        client_put_back(c, buf_slice(&rest));
    } else {
        dual_wait_free(d, wait);
        buf_close(&ask->request);
        ask->request = request;
        request = (struct buf){0};
        if (ask->from_peer)
            peers_waits_elsewhere(d->peers, ask);
        else
            dual_ask_elsewhere(d, ask);
    }
    buf_close(&request);
    buf_close(&rest);
}

/* One that is being tried is lost with its connection. */
static void end_waits(struct dual *d) {
    for (struct list *next, *at = d->waits.next; at != &d->waits; at = next) {
        struct dual_wait *wait = LIST_OWNER(at, struct dual_wait, link);
        next = at->next;
        if (!wait->trying) end_wait(d, wait);
    }
}

static void lose_all(struct dual *d, struct list *asks) {
    for (struct list *link; (link = list_pop(asks)) != NULL;) {
        struct ask *ask = LIST_OWNER(link, struct ask, link);
        bool moved = ask->effect == NULL && ask->kind == ASK_DO; /* dual_ask_moved() */
        ask->pin = NULL;
        if (moved && !ask->from_peer) {
            dual_ask_elsewhere(d, ask);
            continue;
        }
        ask->end = ASK_LOST;
        ask_give_back(d->worker, ask);
    }
}

/* ---- connections ---- */

/* Of clients alone are kept: what is the lanes', or may carry a question of theirs, is closed. */
static bool is_of_lanes(const struct backend *b) {
    if (b->line != NULL || b->witness != NULL) return true;
    return b->lessee == NULL && b->shadow_of == NULL && b->head != NULL;
}

static void close_connections(struct dual *d) {
    struct worker *w = d->worker;
    for (bool again = true; again;) {
        again = false;
        LIST_EACH(&w->backends, at) {
            struct backend *b = LIST_OWNER(at, struct backend, link);
            if (!is_of_lanes(b)) continue;
            backend_abort(b);
            again = true;
            break;
        }
    }
}

/* They are to be known to be gone all the same; but there is no lane any more to be told. */
static void detach_graves(struct worker *w) {
    LIST_EACH(&w->graves, at) {
        struct grave *grave = LIST_OWNER(at, struct grave, link);
        grave->of_lanes = grave->journaled = false;
        grave->lane = -1;
        grave->buried = NULL;
    }
}

/* A pin of another loop's connection ends with it; there is nothing to unpin here. */
static void forget_pins(struct dual *d) {
    LIST_EACH(&d->worker->graves, at) {
        struct grave *grave = LIST_OWNER(at, struct grave, link);
        for (struct dual_pin *next, *pin = grave->pins; pin != NULL; pin = next) {
            next = pin->next;
            effect_free(pin->effect);
            if (pin->ask != NULL) ask_free(pin->ask);
            mem_free(pin);
        }
        grave->pins = NULL;
    }
}

/* ---- the end ---- */

static void forget_figures(struct worker *w) {
    static const uint64_t nothing[DUAL_FIGURES];
    dual_put_figures(w, nothing);
    for (unsigned i = 0; i < 2; i++) atomic_store(&w->gw->lane_versions[i], 0);
}

static void forget_files(const struct worker *w) {
    const struct gateway *gw = w->gw;
    char path[1024];
    struct why why;
    (void)snprintf(path, sizeof path, "%s/%s.slots", gw->config->run_dir, gw->name);
    if (fs_remove(path, &why) != OK ||
        journal_file_remove(gw->config->run_dir, gw->name, &why) != OK)
        log_warn("lanes.journal_stays", LOG_WHY(&why));
}

void dual_retire(struct dual *d) {
    struct worker *w = d->worker;
    log_info("lanes.retired", LOG_B("held", w->held), LOG_B("drained", dual_is_drained(d)));
    end_waits(d);
    for (unsigned i = 0; i < LANES_MAX; i++) lose_all(d, &d->parked[i]);
    lose_all(d, &d->early);
    peers_retire(d->peers);
    close_connections(d);
    forget_pins(d);
    detach_graves(w);
    dual_close(d);
    w->dual = NULL;
    forget_files(w);
    forget_figures(w);
}

/* In every loop: what its clients have of the capture that ends. */
void dual_recapture(struct worker *w, bool lanes) {
    for (struct list *next, *at = w->clients.next; at != &w->clients; at = next) {
        struct client *c = LIST_OWNER(at, struct client, link);
        next = at->next;
        multi_recaptured(c);
        if (!lanes) continue;
        blocked_put_back(c);
        if (!c->tracking) continue; /* which lanes cannot do: its client starts over */
        if (c->stream != NULL) stream_write(c->stream, SLICE(">2\r\n$10\r\ninvalidate\r\n_\r\n"));
        client_close(c);
    }
    LIST_EACH(&w->backends, at) LIST_OWNER(at, struct backend, link)->journaled = false;
}
