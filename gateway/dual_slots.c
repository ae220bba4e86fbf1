/* dual_slots.c -- dual write with several gateways: state's table of slots, and what a new one
 * means for the lanes (C10, C20, C22b). See peers.h. */
#include "gateway/dual_inside.h"
#include "gateway/dual_witness.h"
#include "gateway/peers.h"

#include "lib/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CARRY_MS 400u /* of the second for which a hand-over may hold */

/* ---- since when the journal knows all of our slots ---- */

static void since_path(const struct dual *d, char *path, size_t size) {
    const struct gateway *gw = d->worker->gw;
    (void)snprintf(path, size, "%s/%s.slots", gw->config->run_dir, gw->name);
}

static uint64_t read_since(const struct dual *d) {
    char path[1024], text[32] = "";
    uint64_t since = 0;
    since_path(d, path, sizeof path);
    FILE *file = fopen(path, "re");
    if (file == NULL) return 0;
    size_t size = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    int64_t number = 0;
    if (slice_to_int(slice_from(text, size), &number) && number > 0) since = (uint64_t)number;
    return since;
}

/* Without it the next process takes all its slots for dirty, which is never wrong. */
static void write_since(const struct dual *d, uint64_t since) {
    char path[1024], fresh[1040];
    since_path(d, path, sizeof path);
    (void)snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *file = fopen(fresh, "we");
    bool fine = file != NULL && fprintf(file, "%" PRIu64, since) > 0;
    if (file != NULL && fclose(file) != 0) fine = false;
    if (fine && rename(fresh, path) == 0) return;
    log_warn("slots.not_noted", LOG_S("path", path), LOG_S("why", strerror(errno)));
}

bool dual_is_settled(const struct dual *d) {
    if (d->recovered.others) return false;
    LIST_EACH(&d->worker->graves, at) {
        const struct grave *grave = LIST_OWNER(at, struct grave, link);
        if (grave->buried != NULL && grave->side == d->worker->side) return false;
    }
    return true;
}

/* ---- a table ---- */

/* What was told for it holds no longer: who told it may write again. */
static void end_move(struct dual *d) {
    peers_drop_parcels(d->peers);
    mem_free(d->move.table);
    memset(&d->move, 0, sizeof d->move);
}

void dual_take_table(struct dual *d, const struct slot_table *table) {
    const struct slot_table *before = d->table_of_slots;
    uint64_t carried[LANE_SLOTS / 64] = {0};
    struct owners_news news;
    bool first = before == NULL;
    if (!first && table->version <= before->version) return;
    owners_read(&news, table, slice_text(d->worker->gw->name), first ? NULL : d->lanes.owned,
                first ? 0 : before->version, first ? read_since(d) : 0, d->recovered.found == JOURNAL_GOOD);
    d->self = news.self;
    if (news.missed) lanes_own(&d->lanes, (uint64_t[LANE_SLOTS / 64]){0}, true, false);
    unsigned known = peers_carried(d->peers, before, table, carried);
    log_info("lanes.slots", LOG_U("version", table->version), LOG_U("gateways", table->count),
             LOG_U("owned", news.count), LOG_B("gained", news.gained),
             LOG_B("trusted", news.trusted), LOG_U("carried", known));
    d->table_of_slots = table;
    d->owned = news.count;
    d->resting = false;
    lanes_rest(&d->lanes, false);
    dual_shards_uncarry(d, carried);
    if (known > 0) {
        lanes_own_carried(&d->lanes, news.owned, carried);
        peers_unpack(d->peers, before, carried);
    } else {
        lanes_own(&d->lanes, news.owned, table->count > 1, news.trusted);
    }
    dual_witness_owned(d->witness);
    end_move(d);
    if (news.gained && !news.trusted) write_since(d, news.since); /* last: the journal has it all */
    peers_on_table(d->peers, news.gained);
    dual_asks_on_table(d);
    dual_waits_on_table(d);
    worker_unpark_all(d->worker, PARK_ROUTE);
}

/* ---- a hand-over: everything comes to rest while all gateways hold ---- */

void dual_rest(struct dual *d, uint64_t number, struct slot_table *table) {
    bool again = d->move.number == number;
    mem_free(d->move.table); /* parcels of this number may be here already */
    d->move.number = number;
    d->move.table = table;
    if (!again) d->move.carried = false;
    d->resting = true;
    dual_witness_owe(d->witness);
    lanes_rest(&d->lanes, true);
}

void dual_rest_over(struct dual *d) {
    end_move(d);
    d->resting = false;
    lanes_rest(&d->lanes, false);
}

/* Said once; nothing leaves before the table or the release. */
void dual_slots_turn(struct dual *d) {
    uint64_t now_ms = loop_now_ms(d->worker->loop);
    if (!d->resting || !d->worker->held || !lanes_are_at_rest(&d->lanes) ||
        !dual_witness_is_proved(d->witness))
        return;
    if (!d->move.carried) {
        d->move.carried = true;
        d->move.until_ms = now_ms + CARRY_MS;
        peers_carry(d->peers);
    }
    if (!peers_have_carried(d->peers) && now_ms < d->move.until_ms) return;
    d->resting = false;
    struct report_message message = {.report = REPORT_RESTED, .worker = d->worker->number};
    gateway_tell(d->worker->gw, &message);
}

void dual_reload_tls(struct dual *d) {
    if (d->peers != NULL) peers_reload_tls(d->peers);
}

void dual_slots_close(struct dual *d) {
    mem_free(d->move.table);
}
