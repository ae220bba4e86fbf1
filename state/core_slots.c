/* core_slots.c -- capture `lane` with several gateways: who owns which slots (slots.h), told to the
 * gateways; a lost one fenced at both sides before its slots go to others (C25); slots dealt out
 * evenly while all gateways hold (C22b).
 *
 *     LANES report --> a seat --> the ledger --> SLOTS to all
 *     lost for the length of the lease --> CLIENT KILL at both sides --> the ledger --> SLOTS
 *     uneven: HOLD slots --> all HELD --> LANES REST --> all RESTED --> the ledger --> SLOTS,
 * RELEASE
 */
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/rand.h"
#include "lib/redis/resp.h"
#include "state/core.h"

#include <inttypes.h>
#include <stdio.h>

#define EVEN_AFTER_MS 1500u  /* since the table changed */
#define EVEN_AGAIN_MS 15000u /* after a hand-over that was given up */
#define LEAVE_AGAIN_MS 300u  /* likewise, when somebody waits for it to end */
#define HOLD_MAX_MS 1000u    /* of a hand-over: then it is given up */
#define GRACE_MS 10000u      /* where connections cannot be killed, from an answer on (C21) */

/* ---- telling ---- */

#define TABLE_WORDS_MAX (1 + 4 * SLOT_TABLE_GATEWAYS)

/* The words of TEXT; returns how many. */
static size_t split(struct slice text, struct slice words[TABLE_WORDS_MAX]) {
    size_t count = 0;
    while (text.size > 0) {
        ASSERT(count < TABLE_WORDS_MAX);
        words[count++] = slice_cut(&text, ' ');
    }
    return count;
}

static void send_table(struct core *core, struct member *gateway) {
    struct slice argv[1 + TABLE_WORDS_MAX] = {SLICE("SLOTS")};
    struct buf text = {0};
    slot_table_write_text(&core->slots_published, &text);
    size_t count = split(buf_slice(&text), argv + 1);
    member_send(gateway, NULL, core, 1 + count, argv);
    buf_close(&text);
}

static void send_all(struct core *core) {
    for (struct member *m = members_first(core->members, MEMBER_GATEWAY); m; m = members_next(m))
        send_table(core, m);
}

static void release(struct core *core, struct member *gateway) {
    member_sendf(gateway, NULL, core, "RELEASE slots %" PRIu64 " %s", core->workflow.epoch,
                 side_name(core->workflow.primary));
}

static void end_move(struct core *core, bool done) {
    struct core_slots_move *move = &core->slots_move;
    if (move->state == SLOTS_MOVE_IDLE) return;
    if (move->state == SLOTS_MOVE_WRITING && !done) return; /* it may be a fact already */
    move->state = SLOTS_MOVE_IDLE;
    unsigned wait_ms = slots_any_leaving(&core->slots) ? LEAVE_AGAIN_MS : EVEN_AGAIN_MS;
    move->not_before_ms = core_now_ms(core) + (done ? EVEN_AFTER_MS : wait_ms);
    core->admitting--;
    for (struct member *m = members_first(core->members, MEMBER_GATEWAY); m; m = members_next(m))
        release(core, m);
}

/* It may still hold for a hand-over of a state that died, and the table that this one wrote may be a fact:
 * it comes before any word that lets it go on, or the owner before would write to what others have (C22b). */
void core_slots_joined(struct core *core, struct member *gateway) {
    if (core_has_lanes(core) && core->slots_published.version > 0) send_table(core, gateway);
}

/* With capture `stream`, too: it may have been away since it held for a hand-over of the lanes before. */
void core_slots_route(struct core *core, struct member *gateway) {
    bool ever = core_has_lanes(core) || core->slots_published.version > 0;
    if (ever && core->slots_move.state == SLOTS_MOVE_IDLE) release(core, gateway);
}

/* ---- the ledger ---- */

struct slots_job {
    struct store_job job;
    struct core *core;
    int64_t migration;
    struct slot_table table;
    char reason[160];
};

static enum err write_slots(struct store_job *job, struct ledger *ledger, struct why *why) {
    struct slots_job *s = (struct slots_job *)job;
    return ledger_save_slots(ledger, s->migration, &s->table, s->reason, why);
}

static void publish(struct core *core, const char *reason);

/* Nobody hears of a table that is not durable. */
static void slots_written(struct store_job *job) {
    struct slots_job *s = (struct slots_job *)job;
    struct core *core = s->core;
    core->slots_writing = false;
    if (job->err) {
        core_halt(core, "slots", &job->why);
    } else {
        core->slots_published = s->table;
        send_all(core);
        end_move(core, true);
        if (core->slots_move.not_before_ms < core_now_ms(core) + EVEN_AFTER_MS)
            core->slots_move.not_before_ms = core_now_ms(core) + EVEN_AFTER_MS;
        if (core->slots.table.version > core->slots_published.version)
            publish(core, "more has changed");
    }
    mem_free(s);
}

static void publish(struct core *core, const char *reason) {
    if (core->slots_writing) return; /* it follows when that is done */
    struct slots_job *s = NEW(struct slots_job);
    s->job.work = write_slots;
    s->job.done = slots_written;
    s->core = core;
    s->migration = core->migration.id;
    s->table = core->slots.table;
    snprintf(s->reason, sizeof s->reason, "%s", reason);
    core->slots_writing = true;
    store_submit(core->store, &s->job);
}

enum err core_slots_load(struct core *core, struct ledger *ledger, struct why *why) {
    enum err err = ledger_load_slots(ledger, &core->slots_published, why);
    bool known = core->slots_published.version > 0;
    slots_init(&core->slots, known ? &core->slots_published : NULL, core_now_ms(core));
    return err;
}

/* ---- who is here ---- */

/* From LANES: it has opened its lanes, and obeys this version. */
void core_slots_seen(struct core *core, struct member *gateway, const json_t *json) {
    struct why why = {""};
    char reason[160];
    const char *peer = json_string_value(json_object_get(json, "peer"));
    const char *name = member_row(gateway)->name;
    json_int_t version = json_integer_value(json_object_get(json, "slots_version"));
    if ((uint64_t)version > core->slots.table.version) { /* it knows more than this ledger */
        log_error("slots.behind", LOG_S("gateway", name), LOG_I("its_version", version),
                  LOG_U("our_version", core->slots.table.version));
        return;
    }
    if (peer != NULL && strlen(peer) >= SLOT_TABLE_PEER_BYTES) peer = "";
    switch (slots_joined(&core->slots, name, peer ? peer : "", &why)) {
    case SLOTS_CHANGED:
        end_move(core, false);
        snprintf(reason, sizeof reason, "gateway %s is here", name);
        publish(core, reason);
        break;
    case SLOTS_REFUSED: log_warn("slots.refused", LOG_S("why", why.text)); return;
    case SLOTS_SAME:
    default:
        if (!core->slots_writing && (uint64_t)version != core->slots_published.version)
            send_table(core, gateway);
    }
}

void core_slots_cleared(const struct core *core, struct slot_table *table) {
    uint64_t version = core->slots.table.version;
    if (core->slots_published.version > version) version = core->slots_published.version;
    slot_table_init(table);
    table->version = version + 1;
}

/* What gateways had as owners under an older version is not theirs now; so what their journals say
 * of it is not believed (C20). */
void core_slots_begin(struct core *core, const struct slot_table *table) {
    core->slots_published = *table;
    slots_init(&core->slots, table, core_now_ms(core));
}

void core_slots_lost(struct core *core, const char *name) {
    slots_lost(&core->slots, name, core_now_ms(core));
    end_move(core, false);
}

const char *core_slots_trouble(const struct core *core) {
    for (unsigned i = 0; i < core->slots.table.count; i++)
        if (!core->slots.seat[i].here && slot_table_owned(&core->slots.table, i) > 0)
            return core->slots.table.gateway[i].name;
    return NULL;
}

bool core_slots_admit(const struct core *core, struct slice name, struct slice version) {
    int64_t number = 0;
    if (!core_has_lanes(core) || core->slots.table.count == 0) return true;
    return slice_to_int(version, &number) && number >= 0 &&
           slots_admit(&core->slots, name, (uint64_t)number);
}

/* ---- a lost one is fenced (C25) ---- */

struct fence {
    struct core *core;
    char name[SLOT_TABLE_NAME_BYTES];
    unsigned left;
    bool failed, refused;
};

static bool keep_others(void *self, const char *name, size_t bytes) {
    const struct fence *fence = self;
    return strlen(fence->name) != bytes || memcmp(fence->name, name, bytes) != 0;
}

static void fence_ended(struct fence *fence) {
    struct core *core = fence->core;
    uint64_t now_ms = core_now_ms(core);
    char reason[160];
    bool assumed = false;
    if (fence->failed && fence->refused) { /* it answers, and forbids it: the weaker proof (C21) */
        if (core->slots_refused_ms == 0) core->slots_refused_ms = now_ms;
        assumed = now_ms - core->slots_refused_ms >= GRACE_MS;
    }
    if (fence->failed && !assumed) {
        slots_not_gone(&core->slots, fence->name, now_ms);
    } else {
        core->slots_refused_ms = 0;
        snprintf(reason, sizeof reason, "gateway %s is gone, and its connections%s", fence->name,
                 assumed ? " are taken for gone: they cannot be killed" : "");
        if (slots_gone(&core->slots, fence->name) == SLOTS_CHANGED) publish(core, reason);
    }
    mem_free(fence);
}

static void on_fenced(void *self, const struct side_result *result) {
    struct fence *fence = self;
    if (result->err) {
        log_warn("slots.not_fenced", LOG_S("gateway", fence->name), LOG_S("why", result->why));
        fence->refused = fence->failed ? fence->refused && result->refused : result->refused;
        fence->failed = true;
    }
    if (--fence->left == 0) fence_ended(fence);
}

static void fence(struct core *core, const char *name) {
    struct fence *fence = NEW(struct fence);
    fence->core = core;
    fence->left = SIDES;
    snprintf(fence->name, sizeof fence->name, "%s", name);
    log_info("slots.fence", LOG_S("gateway", name));
    end_move(core, false);
    for (unsigned s = 0; s < SIDES; s++) side_fence(core->side[s], keep_others, on_fenced, fence);
}

/* ---- evenly (C22b) ---- */

static void tell_all(struct core *core, const char *words) {
    for (struct member *m = members_first(core->members, MEMBER_GATEWAY); m; m = members_next(m))
        member_sendf(m, NULL, core, "%s %" PRIu64, words, core->workflow.epoch);
}

/* Who loses slots tells those who get them what it knows, under the number of this try (C22b). */
static void tell_rest(struct core *core) {
    struct core_slots_move *move = &core->slots_move;
    struct slice argv[5 + TABLE_WORDS_MAX] = {SLICE("LANES"), SLICE("REST"), SLICE("slots")};
    struct buf text = {0};
    char number[24], epoch[24];
    snprintf(number, sizeof number, "%" PRIu64, move->number);
    snprintf(epoch, sizeof epoch, "%" PRIu64, core->workflow.epoch);
    slot_table_write_text(&move->table, &text);
    argv[3] = slice_text(number);
    size_t count = 4 + split(buf_slice(&text), argv + 4);
    argv[count++] = slice_text(epoch);
    for (struct member *m = members_first(core->members, MEMBER_GATEWAY); m; m = members_next(m))
        member_send(m, NULL, core, count, argv);
    buf_close(&text);
}

static bool all_seats_here(const struct core *core) {
    unsigned members = 0;
    for (unsigned i = 0; i < core->slots.table.count; i++)
        if (!core->slots.seat[i].here || core->slots.seat[i].fencing) return false;
    for (struct member *m = members_first(core->members, MEMBER_GATEWAY); m; m = members_next(m))
        members++;
    return members == core->slots.table.count; /* nobody is just coming in */
}

static void consider_even(struct core *core, uint64_t now_ms) {
    struct core_slots_move *move = &core->slots_move;
    bool busy = core->admitting || core->moving || core->slots_writing ||
                barrier_is_open(&core->barrier) || core->audit.running.id != 0;
    if (busy || now_ms < move->not_before_ms || !all_seats_here(core)) return;
    /* They would not come to rest, and clients are not to feel a slow follower. */
    if (core_lanes_buried(core) || core_lanes_late(core)) return;
    if (slots_even(&core->slots, &move->table) != SLOTS_CHANGED) {
        move->not_before_ms = now_ms + EVEN_AFTER_MS;
        return;
    }
    move->state = SLOTS_MOVE_HOLDING;
    move->until_ms = now_ms + HOLD_MAX_MS;
    move->confirmed = 0;
    rand_secret(&move->number, sizeof move->number);
    move->number = (move->number >> 2) | 1;
    core->admitting++; /* no barrier begins meanwhile */
    tell_all(core, "HOLD slots");
}

/* It wants to end, and waits for this. */
static void leaving(struct core *core, struct member *gateway) {
    const char *name = member_row(gateway)->name;
    log_info("slots.leaving", LOG_S("gateway", name));
    if (slots_leaving(&core->slots, name))
        core->slots_move.not_before_ms = 0;
    else
        member_sendf(gateway, NULL, core, "LANES KEEP %" PRIu64, core->workflow.epoch);
}

bool core_slots_report(struct core *core, struct member *gateway, const struct slice *words,
                       size_t count) {
    struct core_slots_move *move = &core->slots_move;
    if (count >= 1 && slice_equal(words[0], SLICE("LEAVING"))) {
        leaving(core, gateway);
        return true;
    }
    if (count < 2 || !slice_equal(words[1], SLICE("slots"))) return false;
    unsigned at = slot_table_find(&core->slots.table, slice_text(member_row(gateway)->name));
    bool held = slice_equal(words[0], SLICE("HELD")),
         rested = slice_equal(words[0], SLICE("RESTED"));
    bool due = (held && move->state == SLOTS_MOVE_HOLDING) ||
               (rested && move->state == SLOTS_MOVE_RESTING);
    if (!due || at == core->slots.table.count) return true;
    move->confirmed |= UINT64_C(1) << at;
    if (move->confirmed != (UINT64_C(1) << core->slots.table.count) - 1) return true;
    move->confirmed = 0;
    if (held) {
        move->state = SLOTS_MOVE_RESTING;
        tell_rest(core);
    } else {
        move->state = SLOTS_MOVE_WRITING;
        slots_take(&core->slots, &move->table);
        publish(core, "they are handed over");
    }
    return true;
}

void core_slots_tick(struct core *core) {
    uint64_t now_ms = core_now_ms(core);
    struct core_slots_move *move = &core->slots_move;
    if (!core_has_lanes(core)) return;
    const char *name = slots_to_fence(&core->slots, now_ms);
    if (name != NULL) fence(core, name);
    bool waits = move->state == SLOTS_MOVE_HOLDING || move->state == SLOTS_MOVE_RESTING;
    if (waits && now_ms > move->until_ms) {
        core_note(core, "slots.kept", "slots were not handed over: %s within %u ms",
                  move->state == SLOTS_MOVE_HOLDING ? "not every gateway held"
                                                    : "what is under way did not end",
                  HOLD_MAX_MS);
        end_move(core, false);
    }
    if (move->state == SLOTS_MOVE_IDLE) consider_even(core, now_ms);
}
