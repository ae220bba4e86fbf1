/* bitfield_commands.c -- BITFIELD and BITFIELD_RO: integers of any width in a string. Behaviour and
 * texts follow Redis 7.0 (bitops.c).
 */
#include "server/bit_args.h"
#include "server/bits.h"
#include "server/types.h"

#include "lib/base/mem.h"

enum action { ACTION_GET, ACTION_SET, ACTION_ADD };

struct step {
    enum action action;
    bool is_signed;
    unsigned width;
    uint64_t at;
    int64_t number; /* to set or to add */
    enum bits_overflow overflow;
};

struct program {
    struct step *steps;
    size_t count;
    bool writes;
    uint64_t first, last; /* bits that are written */
    enum bits_overflow overflow;
};

static bool read_overflow(struct client *c, struct slice arg, struct program *p) {
    if (arg_is(arg, "wrap")) {
        p->overflow = BITS_WRAP;
    } else if (arg_is(arg, "sat")) {
        p->overflow = BITS_SATURATE;
    } else if (arg_is(arg, "fail")) {
        p->overflow = BITS_FAIL;
    } else {
        reply_error(c, "ERR Invalid OVERFLOW type specified");
        return false;
    }
    return true;
}

/* "i16", "u8": signed up to 64 bits, unsigned up to 63. */
static bool read_width(struct client *c, struct slice arg, struct step *step) {
    int64_t width;
    step->is_signed = arg.size && arg.data[0] == 'i';
    bool good = step->is_signed || (arg.size && arg.data[0] == 'u');
    if (good && slice_to_int(slice_drop(arg, 1), &width) && width >= 1 &&
        width <= (step->is_signed ? 64 : 63)) {
        step->width = (unsigned)width;
        return true;
    }
    reply_error(c, "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not "
                   "supported but i64 is.");
    return false;
}

/* The step at argument *AT, with all that belongs to it. */
static bool read_step(struct client *c, int *at, struct program *p) {
    const struct slice *arg = &c->argv[*at];
    int more = c->argc - *at - 1;
    struct step step = {.overflow = p->overflow};
    if (more >= 1 && arg_is(*arg, "overflow")) {
        *at += 1;
        return read_overflow(c, arg[1], p);
    }
    if (more >= 2 && arg_is(*arg, "get")) {
        step.action = ACTION_GET;
    } else if (more >= 3 && arg_is(*arg, "set")) {
        step.action = ACTION_SET;
    } else if (more >= 3 && arg_is(*arg, "incrby")) {
        step.action = ACTION_ADD;
    } else {
        reply_syntax_error(c);
        return false;
    }
    if (!read_width(c, arg[1], &step) || !arg_bit_offset(c, arg[2], step.width, &step.at))
        return false;
    *at += 2;
    if (step.action != ACTION_GET) {
        if (!arg_int(c, arg[3], &step.number, NULL)) return false;
        *at += 1;
        if (!p->writes || p->first > step.at) p->first = step.at;
        p->writes = true;
        if (p->last < step.at + step.width - 1) p->last = step.at + step.width - 1;
    }
    p->steps[p->count++] = step;
    return true;
}

/* Set or add; true if something changed, as all does in a string that GREW. */
static bool change(struct client *c, const struct step *s, uint8_t *bytes, size_t size, bool grew) {
    int64_t old = (int64_t)bits_get(slice_from(bytes, size), s->at, s->width, s->is_signed), new;
    bool adds = s->action == ACTION_ADD;
    if (!bits_add(adds ? old : s->number, adds ? s->number : 0, s->width, s->is_signed, s->overflow,
                  &new)) {
        reply_null(c);
        return false;
    }
    reply_int(c, adds ? new : old);
    bits_set(bytes, s->at, s->width, (uint64_t) new);
    return grew || old != new;
}

static void run(struct client *c, const struct program *p, uint8_t *bytes, struct slice string,
                bool grew) {
    uint64_t changes = 0;
    reply_array(c, p->count);
    for (size_t i = 0; i < p->count; i++) {
        const struct step *s = &p->steps[i];
        if (s->action == ACTION_GET)
            reply_int(c, (int64_t)bits_get(string, s->at, s->width, s->is_signed));
        else
            changes += change(c, s, bytes, string.size, grew);
    }
    if (changes > 0)
        key_changed(c, c->argv[1], NOTIFY_STRING, "setbit", changes);
    else if (grew) /* all failed; Redis tells nobody, and its replicas lack the longer string */
        key_changed(c, c->argv[1], NOTIFY_NONE, NULL, 1);
}

static void execute(struct client *c, const struct program *p, bool may_write) {
    char scratch[ENTRY_INT_TEXT];
    bool wrong, grew = false;
    size_t size = 0;
    if (!p->writes) {
        struct entry *e = key_read_typed(c, c->argv[1], TYPE_STRING, &wrong);
        if (!wrong) run(c, p, NULL, e ? entry_string(e, scratch) : SLICE(""), false);
    } else if (!may_write) {
        reply_error(c, "ERR BITFIELD_RO only supports the GET subcommand");
    } else {
        uint8_t *bytes = bits_write(c, p->first, p->last, &size, &grew);
        if (bytes) run(c, p, bytes, slice_from(bytes, size), grew);
    }
}

static void fields(struct client *c, bool may_write) {
    struct program p = {.steps = NEW_ARRAY(struct step, (size_t)c->argc)};
    int i = 2;
    while (i < c->argc && read_step(c, &i, &p)) i++;
    if (i == c->argc) execute(c, &p, may_write);
    mem_free(p.steps);
}

static void bitfield(struct client *c) {
    fields(c, true);
}

static void bitfield_ro(struct client *c) {
    fields(c, false);
}

void bitfield_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"bitfield", bitfield},
                                                      {"bitfield_ro", bitfield_ro}};
    command_bind(engine, bindings, COUNT(bindings));
}
