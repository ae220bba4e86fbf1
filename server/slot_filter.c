/* slot_filter.c -- the stream of some slots. See slot_filter.h. */
#include "server/slot_filter.h"

#include "lib/base/mem.h"
#include "lib/redis/command.h"
#include "lib/redis/resp.h"

#include <stdio.h>

#define PENDING_KEPT ((size_t)1 << 20)
#define PING_HEAD "*2\r\n$4\r\nPING\r\n$"
#define PING_BYTES_MIN 64u /* smaller gaps are lines */

struct slot_filter {
    struct slot_set slots;
    struct resp_request request;
    struct buf pending; /* from the beginning of a command */
    struct command_key *keys;
    size_t room;
    struct buf scratch;
};

struct slot_filter *slot_filter_new(const struct slot_set *slots) {
    struct slot_filter *filter = NEW(struct slot_filter);
    filter->slots = *slots;
    return filter;
}

void slot_filter_free(struct slot_filter *filter) {
    if (filter == NULL) return;
    resp_request_close(&filter->request);
    buf_close(&filter->pending);
    buf_close(&filter->scratch);
    mem_free(filter->keys);
    mem_free(filter);
}

/* SIZE bytes that say nothing. */
static void put_padding(struct buf *out, size_t size) {
    if (size >= PING_BYTES_MIN) {
        char head[48];
        size_t rest = size - (sizeof PING_HEAD - 1) - 4; /* the two line ends */
        size_t digits = 1;
        for (size_t left = rest - 1; left >= 10; left /= 10) digits++;
        size_t text = rest - digits; /* it may have a digit less than REST: then a line more */
        int head_size = snprintf(head, sizeof head, PING_HEAD "%zu\r\n", text);
        buf_append(out, head, (size_t)head_size);
        memset(buf_room(out, text + 2), '.', text);
        buf_filled(out, text);
        buf_append(out, "\r\n", 2);
        size -= (size_t)head_size + text + 2;
    }
    memset(buf_room(out, size + 1), '\n', size);
    buf_filled(out, size);
}

static bool is_wanted(const struct slot_filter *filter, struct slice key) {
    return slot_set_has(&filter->slots, slot_cluster(key));
}

/* The keys of the command into filter->keys. */
static enum err find_keys(struct slot_filter *filter, const struct command *command, size_t *count,
                          struct why *why) {
    const struct resp_request *request = &filter->request;
    *count = 0;
    if (command == NULL || !command_has_keys(command)) return OK;
    if (!command_arity_fits(command, request->argc)) return OK; /* nobody will run it */
    if (filter->room < request->argc) {
        filter->room = request->argc;
        mem_free(filter->keys);
        filter->keys = NEW_ARRAY(struct command_key, filter->room);
    }
    return command_keys(command, request->argc, request->argv, filter->keys, filter->room, count,
                        why);
}

/* How many arguments go with each key; 0: the command cannot be cut. */
static size_t step_of(struct slice name) {
    if (slice_equal_nocase(name, SLICE("del")) || slice_equal_nocase(name, SLICE("unlink")))
        return 1;
    if (slice_equal_nocase(name, SLICE("mset")) || slice_equal_nocase(name, SLICE("msetnx")))
        return 2;
    return 0;
}

/* The command with its wanted keys alone, and padding. */
static void put_part(struct slot_filter *filter, size_t wanted, size_t step, struct slice whole,
                     struct buf *out) {
    const struct resp_request *request = &filter->request;
    buf_clear(&filter->scratch);
    resp_write_array(&filter->scratch, 1 + wanted * step);
    resp_write_bulk(&filter->scratch, request->argv[0]);
    for (size_t at = 1; at + step <= request->argc; at += step)
        for (size_t i = 0; i < step && is_wanted(filter, request->argv[at]); i++)
            resp_write_bulk(&filter->scratch, request->argv[at + i]);
    ASSERT(buf_size(&filter->scratch) <= whole.size);
    buf_add(out, buf_slice(&filter->scratch));
    put_padding(out, whole.size - buf_size(&filter->scratch));
}

static enum err take_command(struct slot_filter *filter, struct slice whole, struct buf *out,
                             struct why *why) {
    const struct resp_request *request = &filter->request;
    size_t count = 0, wanted = 0;
    if (request->argc > 0) {
        const struct command *command = command_lookup(request->argc, request->argv);
        enum err err = find_keys(filter, command, &count, why);
        if (err) return why_add(why, err, "a command of the stream");
    }
    for (size_t i = 0; i < count; i++)
        wanted += is_wanted(filter, request->argv[filter->keys[i].at]);
    if (wanted == count) {
        buf_add(out, whole);
    } else if (wanted == 0) {
        put_padding(out, whole.size);
    } else {
        size_t step = step_of(request->argv[0]);
        if (step == 0 || request->is_inline)
            return why_set(why, ERR_REFUSED, "%.*s has keys in slots of both kinds",
                           (int)(request->argv[0].size < 40 ? request->argv[0].size : 40),
                           (const char *)request->argv[0].data);
        put_part(filter, wanted, step, whole, out);
    }
    return OK;
}

enum err slot_filter_take(struct slot_filter *filter, struct slice bytes, struct buf *out,
                          struct why *why) {
    buf_add(&filter->pending, bytes);
    for (;;) {
        size_t used = 0;
        struct slice all = buf_slice(&filter->pending);
        enum step step = all.size ? resp_request_next(&filter->request, &resp_request_limits_open,
                                                      all, &used, why)
                                  : STEP_MORE;
        if (step == STEP_FAIL) return why_add(why, ERR_PROTO, "the stream");
        if (step == STEP_MORE) break;
        enum err err = take_command(filter, slice_take(all, used), out, why);
        if (err) return err;
        buf_consume(&filter->pending, used);
    }
    buf_shrink(&filter->pending, PENDING_KEPT);
    return OK;
}
