/* bit_commands.c -- SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP. Behaviour and texts follow Redis 7.0
 * (bitops.c).
 */
#include "server/bit_args.h"
#include "server/bits.h"
#include "server/types.h"

#include "lib/base/mem.h"

#define BYTES_MAX (UINT64_C(1) << 32) /* of a string, whatever a master says */

bool arg_bit_offset(struct client *c, struct slice arg, unsigned width, uint64_t *offset) {
    int64_t place;
    bool obeys = c->flags & (CLIENT_MASTER | CLIENT_LOADING);
    uint64_t most = obeys ? BYTES_MAX : (uint64_t)c->engine->settings.proto_max_bulk_len;
    bool counted = width > 0 && arg.size > 0 && arg.data[0] == '#';
    if (slice_to_int(counted ? slice_drop(arg, 1) : arg, &place)) {
        if (counted) place = (int64_t)((uint64_t)place * width);
        *offset = (uint64_t)place;
        if (place >= 0 && *offset >> 3 < most) return true;
    }
    reply_error(c, "ERR bit offset is not an integer or out of range");
    return false;
}

uint8_t *bits_write(struct client *c, uint64_t first, uint64_t last, size_t *size, bool *grew) {
    uint8_t *bytes;
    struct slice key = c->argv[1];
    size_t wanted = (size_t)(last >> 3) + 1;
    struct entry *e = key_lookup(c, key);
    if (e && entry_type(e) != TYPE_STRING) {
        reply_wrong_type(c);
        return NULL;
    }
    size_t old_size = e ? entry_string_size(e) : 0;
    *grew = wanted > old_size;
    *size = *grew ? wanted : old_size;
    if (e == NULL) {
        struct value value = {.type = TYPE_STRING, .encoding = ENC_RAW, .bytes = SLICE("")};
        e = key_add(c, key, &value);
    }
    (void)db_string_edit_range(c->db, e, *size, (size_t)(first >> 3), wanted, &bytes);
    return bytes;
}

static void set_bit(struct client *c) {
    uint64_t offset;
    int64_t bit;
    size_t size;
    bool changed;
    const char *error = "bit is not an integer or out of range";
    if (!arg_bit_offset(c, c->argv[2], 0, &offset) ||
        !arg_int_range(c, c->argv[3], 0, 1, &bit, error))
        return;
    uint8_t *bytes = bits_write(c, offset, offset, &size, &changed);
    if (bytes == NULL) return;
    uint64_t old = bits_get(slice_from(bytes, size), offset, 1, false);
    if (changed || old != (uint64_t)bit) {
        bits_set(bytes, offset, 1, (uint64_t)bit);
        key_changed(c, c->argv[1], NOTIFY_STRING, "setbit", 1);
    }
    reply_int(c, (int64_t)old);
}

static void get_bit(struct client *c) {
    uint64_t offset;
    bool wrong;
    char scratch[ENTRY_INT_TEXT];
    if (!arg_bit_offset(c, c->argv[2], 0, &offset)) return;
    struct entry *e = key_read_typed(c, c->argv[1], TYPE_STRING, &wrong);
    if (wrong) return;
    reply_int(c, e ? (int64_t)bits_get(entry_string(e, scratch), offset, 1, false) : 0);
}

/* ---- BITCOUNT, BITPOS ---- */

static bool unit(struct client *c, struct slice arg, bool *in_bits) {
    *in_bits = arg_is(arg, "bit");
    if (*in_bits || arg_is(arg, "byte")) return true;
    reply_syntax_error(c);
    return false;
}

/* START to END, from the end if negative, in bits or bytes of BYTES, as bits; false if empty. */
static bool range_of(struct slice bytes, int64_t start, int64_t end, bool in_bits, uint64_t *first,
                     uint64_t *last) {
    int64_t total = (int64_t)bytes.size * (in_bits ? 8 : 1);
    if (start < 0) start += total;
    if (end < 0) end += total;
    if (start < 0) start = 0;
    if (end < 0) end = 0;
    if (end >= total) end = total - 1;
    if (start > end) return false;
    *first = (uint64_t)start * (in_bits ? 1 : 8);
    *last = in_bits ? (uint64_t)end : (uint64_t)end * 8 + 7;
    return true;
}

static void bitcount(struct client *c) {
    bool wrong, in_bits = false;
    int64_t start = 0, end = -1;
    uint64_t first, last;
    char scratch[ENTRY_INT_TEXT];
    struct entry *e = key_read_typed(c, c->argv[1], TYPE_STRING, &wrong);
    if (wrong) return;
    if (e && (c->argc == 3 || c->argc > 5)) {
        reply_syntax_error(c);
        return;
    }
    if (e && c->argc > 3 &&
        (!arg_int(c, c->argv[2], &start, NULL) || !arg_int(c, c->argv[3], &end, NULL)))
        return;
    if (e == NULL || (start < 0 && end < 0 && start > end)) {
        reply_int(c, 0);
        return;
    }
    if (c->argc == 5 && !unit(c, c->argv[4], &in_bits)) return;
    struct slice bytes = entry_string(e, scratch);
    bool some = range_of(bytes, start, end, in_bits, &first, &last);
    reply_int(c, some ? (int64_t)bits_count(bytes, first, last) : 0);
}

static void bitpos(struct client *c) {
    bool wrong, in_bits = false;
    int64_t bit, start = 0, end = -1;
    uint64_t first, last, found;
    char scratch[ENTRY_INT_TEXT];
    if (!arg_int(c, c->argv[2], &bit, NULL)) return;
    if (bit != 0 && bit != 1) {
        reply_error(c, "ERR The bit argument must be 1 or 0.");
        return;
    }
    struct entry *e = key_read_typed(c, c->argv[1], TYPE_STRING, &wrong);
    if (wrong) return;
    if (e == NULL) {
        reply_int(c, bit ? -1 : 0);
        return;
    }
    if (c->argc > 6) {
        reply_syntax_error(c);
        return;
    }
    if (c->argc > 3 && !arg_int(c, c->argv[3], &start, NULL)) return;
    if (c->argc > 5 && !unit(c, c->argv[5], &in_bits)) return;
    if (c->argc > 4 && !arg_int(c, c->argv[4], &end, NULL)) return;
    struct slice bytes = entry_string(e, scratch);
    if (!range_of(bytes, start, end, in_bits, &first, &last))
        reply_int(c, -1);
    else if (bits_find(bytes, first, last, bit, &found))
        reply_int(c, (int64_t)found);
    else /* without an end, zeros follow the string */
        reply_int(c, bit == 0 && c->argc < 5 ? (int64_t)bytes.size * 8 : -1);
}

/* ---- BITOP ---- */

enum operation { OP_AND, OP_OR, OP_XOR, OP_NOT, OPS };

/* MORE joins the SIZE bytes at RESULT; what it lacks is zero. */
static void operate(enum operation op, uint8_t *restrict result, size_t size, struct slice more) {
    const uint8_t *restrict from = more.data;
    if (op == OP_AND) {
        for (size_t i = 0; i < more.size; i++) result[i] &= from[i];
        if (more.size < size) memset(result + more.size, 0, size - more.size);
    } else if (op == OP_OR) {
        for (size_t i = 0; i < more.size; i++) result[i] |= from[i];
    } else {
        for (size_t i = 0; i < more.size; i++) result[i] ^= from[i];
    }
}

static uint8_t *combine(enum operation op, const struct slice *sources, int count, size_t size) {
    uint8_t *result = mem_zalloc(size);
    if (sources[0].size) memcpy(result, sources[0].data, sources[0].size);
    for (int i = 1; i < count; i++) operate(op, result, size, sources[i]);
    for (size_t i = 0; op == OP_NOT && i < size; i++) result[i] = (uint8_t)~result[i];
    return result;
}

static void store_result(struct client *c, const uint8_t *result, size_t size) {
    struct slice key = c->argv[2];
    if (size > 0) {
        struct value value = {
            .type = TYPE_STRING, .encoding = ENC_RAW, .bytes = slice_from(result, size)};
        key_replace(c, key, &value);
        key_changed(c, key, NOTIFY_STRING, "set", 1);
    } else if (key_delete(c, key)) {
        key_changed(c, key, NOTIFY_GENERIC, "del", 1);
    }
    reply_int(c, (int64_t)size);
}

static bool operation_of(struct client *c, enum operation *op) {
    static const char *const names[OPS] = {"and", "or", "xor", "not"};
    for (*op = OP_AND; *op < OPS && !arg_is(c->argv[1], names[*op]); ++*op) {
    }
    if (*op == OPS) {
        reply_syntax_error(c);
        return false;
    }
    if (*op != OP_NOT || c->argc == 4) return true;
    reply_error(c, "ERR BITOP NOT must be called with a single source key.");
    return false;
}

static void bitop(struct client *c) {
    enum operation op;
    int count = c->argc - 3;
    size_t size = 0;
    bool wrong = false;
    if (!operation_of(c, &op)) return;
    struct slice *sources = NEW_ARRAY(struct slice, (size_t)count);
    char(*scratch)[ENTRY_INT_TEXT] = mem_alloc((size_t)count * sizeof *scratch);
    for (int i = 0; i < count && !wrong; i++) {
        struct entry *e = key_read_typed(c, c->argv[3 + i], TYPE_STRING, &wrong);
        if (e) sources[i] = entry_string(e, scratch[i]);
        if (sources[i].size > size) size = sources[i].size;
    }
    if (!wrong) {
        uint8_t *result = combine(op, sources, count, size);
        store_result(c, result, size);
        mem_free(result);
    }
    mem_free(scratch);
    mem_free(sources);
}

void bit_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"setbit", set_bit},
                                                      {"getbit", get_bit},
                                                      {"bitcount", bitcount},
                                                      {"bitpos", bitpos},
                                                      {"bitop", bitop}};
    command_bind(engine, bindings, COUNT(bindings));
}
