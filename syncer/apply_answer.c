/* apply_answer.c -- what the target's answers to a batch mean (C7). See apply.h. */
#include "lib/redis/reply.h"
#include "syncer/apply_inside.h"

bool apply_error_is_state(struct slice error) {
    static const char *const codes[] = {"LOADING", "BUSY", "TRYAGAIN", "MASTERDOWN", "READONLY", "MISCONF", "NOREPLICAS",
                                        "CLUSTERDOWN", "OOM", "NOAUTH", "NOPERM", "MOVED", "ASK", "STALEEPOCH", NULL};
    for (const char *const *code = codes; *code; code++) {
        size_t size = strlen(*code);
        if (slice_starts(error, slice_text(*code)) && (error.size == size || error.data[size] == ' ')) return true;
    }
    return false;
}

/* Read the keys of an item that was sent into apply->keys. */
static const struct command *keys_of_item(struct apply *apply, const struct apply_item *item) {
    size_t used = 0;
    struct why why;
    struct slice raw = slice_take(slice_drop(buf_slice(&apply->wire), item->at), item->size);
    enum step step = resp_request_next(&apply->parser, &resp_request_limits_open, raw, &used, &why);
    if (step != STEP_DONE) { /* larger than what clients may send */
        apply->keys.count = 0;
        resp_request_close(&apply->parser);
        apply->parser = (struct resp_request){0};
        return NULL;
    }
    const struct command *command = command_lookup(apply->parser.argc, apply->parser.argv);
    (void)apply_keys_of(&apply->keys, command, apply->parser.argc, apply->parser.argv, item->db);
    return command;
}

/* All keys that the unit of ITEM writes are dirty. */
static void mark_unit(struct apply *apply, const struct apply_item *item, const char *reason) {
    for (size_t i = 0; i < apply->item_count; i++) {
        const struct apply_item *other = &apply->items[i];
        if (other->plain || other->unit != item->unit) continue;
        (void)keys_of_item(apply, other);
        apply_mark_written(apply, reason);
    }
}

static void note_trouble(struct apply *apply, struct slice error) {
    if (apply->trouble.text[0]) return;
    (void)why_set(&apply->trouble, ERR_REFUSED, "the target answers: %.*s", (int)(error.size < 200 ? error.size : 200),
                  (const char *)error.data);
}

static void fail_copy(struct apply *apply, const struct apply_item *item, struct slice error) {
    struct apply_copy *copy = apply_copy_at(apply, item->unit);
    copy->failed = true;
    size_t size = error.size < sizeof copy->reason - 1 ? error.size : sizeof copy->reason - 1;
    memcpy(copy->reason, error.data, size);
    copy->reason[size] = '\0';
}

/* The answer to a command inside the MULTI, before EXEC. */
static void queued(struct apply *apply, struct apply_item *item, const struct resp_reply *reply) {
    if (!resp_reply_is_error(reply)) {
        if (reply->kind != RESP_SIMPLE) apply->broken = true;
        return;
    }
    item->refused = apply->refused = true;
    if (item->plain || apply_error_is_state(reply->text)) {
        apply->state_error = true;
        note_trouble(apply, reply->text);
    } else if (apply->copy_batch) {
        fail_copy(apply, item, reply->text);
    }
}

/* The target's clock, from the answer to TIME. */
static void read_time(struct apply *apply, const struct resp_reply *reply) {
    int64_t seconds = 0, micros = 0;
    if (reply->kind != RESP_ARRAY || reply->count != 2) return;
    if (!resp_reply_to_int(&reply->child[0], &seconds) || !resp_reply_to_int(&reply->child[1], &micros)) return;
    apply->target_ms = seconds * 1000 + micros / 1000;
}

/* One command of an EXEC that was carried out. */
static void executed(struct apply *apply, const struct apply_item *item, const struct resp_reply *reply) {
    if (resp_reply_is_error(reply)) {
        if (apply->copy_batch) fail_copy(apply, item, reply->text);
        else mark_unit(apply, item, "the target refused a command");
        return;
    }
    if (apply->copy_batch) return;
    if (!apply->rules.import_mode) {
        if (item->deadline_ms <= apply->target_ms) {
            mark_unit(apply, item, "its deadline passed at the target");
            return;
        }
        if (reply->kind == RESP_INT && reply->number == 0) {
            const struct command *command = keys_of_item(apply, item);
            if (command && apply_changed_nothing(command, 0)) mark_unit(apply, item, "it was not there at the target");
        }
    }
    if (dirty_count(&apply->dirty) == 0) return;
    (void)keys_of_item(apply, item);
    if (apply_touches_dirty(apply)) apply_mark_written(apply, "it was written from a dirty key");
}

static void exec_done(struct apply *apply, const struct resp_reply *reply) {
    ASSERT(apply->item_count >= 2);
    size_t inside = apply->item_count - 2;
    if (reply->kind != RESP_ARRAY || reply->count != inside) {
        apply->broken = true;
        if (resp_reply_is_error(reply)) {
            apply->broken = false;
            apply->aborted = true;
            if (!apply->refused) {
                apply->state_error = true;
                note_trouble(apply, reply->text);
            }
        }
        return;
    }
    for (size_t i = 0; i < inside; i++)
        if (apply->items[i + 1].plain) read_time(apply, &reply->child[i]);
    for (size_t i = 0; i < inside; i++) {
        const struct apply_item *item = &apply->items[i + 1];
        if (!item->plain) {
            executed(apply, item, &reply->child[i]);
        } else if (resp_reply_is_error(&reply->child[i])) {
            apply->broken = true; /* the checkpoint was refused, and what stands before it was not */
            note_trouble(apply, reply->child[i].text);
        }
    }
}

void apply_answer(struct apply *apply, const struct resp_reply *reply) {
    ASSERT(apply->answers < apply->item_count);
    size_t at = apply->answers++;
    if (at + 1 < apply->item_count) queued(apply, &apply->items[at], reply);
    else exec_done(apply, reply);
}

/* Commands that the target will never take: their units' keys become dirty, the rest is sent again. */
static void mark_refused(struct apply *apply) {
    for (size_t i = 0; i < apply->item_count; i++)
        if (apply->items[i].refused && !apply->items[i].plain)
            mark_unit(apply, &apply->items[i], "the target does not take the command");
}

static void applied(struct apply *apply) {
    if (apply->copy_batch) apply_copies_done(apply);
    apply->place = apply->end;
    if (!apply->copy_batch) apply->units_total += apply->units;
    deadlines_commit(&apply->deadlines);
    if (apply->flushed_db != APPLY_FLUSHED_NONE) dirty_clear(&apply->dirty, apply->place, apply->flushed_db);
    dirty_seen(&apply->dirty, apply->place);
}

enum apply_verdict apply_batch_end(struct apply *apply, struct why *why) {
    ASSERT(apply->answers == apply->item_count);
    if (apply->broken) {
        (void)why_set(why, ERR_PROTO, "%s", apply->trouble.text[0] ? apply->trouble.text : "the target's answers make no sense");
        return APPLY_BROKEN;
    }
    if (!apply->aborted && !apply->state_error) {
        applied(apply);
        return APPLY_APPLIED;
    }
    deadlines_abort(&apply->deadlines);
    if (apply->state_error) {
        *why = apply->trouble;
        return APPLY_RETRY;
    }
    if (apply->copy_batch) apply_copies_done(apply);
    else mark_refused(apply);
    return APPLY_REBUILD;
}
