/* rdb_read.c -- a whole RDB: header, opcodes, keys, the end. See rdb_read.h. */
#include "lib/redis/rdb_read.h"

#include "lib/base/mem.h"
#include "lib/redis/bytes.h"
#include "lib/redis/rdb_value.h"

#define NAME_SHOWN 64u /* characters of a key in a sentence */
#define HEADER_BYTES 9u

struct rdb_reader {
    const struct rdb_handler *handler;
    struct rdb_in in;
    struct rdb_value value;
    struct rdb_limits limits;
    struct rdb_key key;   /* what is known of the next key */
    struct rdb_room name; /* owns key.key */
    bool named;           /* key.key is set: a sentence may say it */
    uint64_t op_offset;   /* of the opcode that is read */
    unsigned version;
    uint64_t skipped;
    bool resumed, ended;
    bool unsummed; /* resumed without a sum */
    bool read_key; /* by rdb_reader_key() */
};

static const struct rdb_handler check_only;

struct rdb_reader *rdb_reader_open(struct rdb_source *source, struct rdb_limits limits,
                                   const struct rdb_handler *handler) {
    struct rdb_reader *reader = NEW(struct rdb_reader);
    reader->handler = handler;
    reader->limits = limits;
    rdb_in_init(&reader->in, source, slice_from(NULL, 0));
    rdb_value_init(&reader->value, &reader->in, limits);
    return reader;
}

void rdb_reader_close(struct rdb_reader *reader) {
    if (reader == NULL) return;
    rdb_value_close(&reader->value);
    rdb_in_close(&reader->in);
    mem_free(reader->name.data);
    mem_free(reader);
}

void rdb_reader_resume(struct rdb_reader *reader, struct rdb_position position) {
    ASSERT(position.version > 0 && position.version <= RDB_VERSION_MAX);
    reader->version = position.version;
    reader->key.db = position.db;
    reader->in.end_offset = position.offset;
    reader->resumed = reader->unsummed = true;
}

void rdb_reader_know_sum(struct rdb_reader *reader, uint64_t sum) {
    reader->in.crc = sum;
    reader->unsummed = false;
}

unsigned rdb_reader_version(const struct rdb_reader *reader) {
    return reader->version;
}

uint64_t rdb_reader_offset(const struct rdb_reader *reader) {
    return rdb_in_offset(&reader->in);
}

uint64_t rdb_reader_sum(struct rdb_reader *reader) {
    return rdb_in_crc(&reader->in);
}

uint64_t rdb_reader_skipped(const struct rdb_reader *reader) {
    return reader->skipped;
}

struct slice rdb_reader_rest(const struct rdb_reader *reader) {
    return slice_from(reader->in.at, (size_t)(reader->in.end - reader->in.at));
}

static enum err read_header(struct rdb_reader *reader, struct why *why) {
    const uint8_t *p;
    RDB_TRY(rdb_in_take(&reader->in, HEADER_BYTES, &p, why));
    if (memcmp(p, "VALKEY", 6) == 0)
        return why_set(why, ERR_CORRUPT,
                       "this is an RDB in the format of Valkey 9, which is not "
                       "known; have it written for version 8.1");
    if (memcmp(p, "REDIS", 5) != 0) return why_set(why, ERR_CORRUPT, "this is not an RDB file");
    unsigned version = 0;
    for (size_t i = 5; i < HEADER_BYTES; i++) {
        if (p[i] < '0' || p[i] > '9')
            return why_set(why, ERR_CORRUPT, "the RDB version is no number");
        version = version * 10 + (unsigned)(p[i] - '0');
    }
    if (version < 1 || version > RDB_VERSION_MAX)
        return why_set(why, ERR_CORRUPT, "RDB version %u is not known, only 1 to %d are", version,
                       RDB_VERSION_MAX);
    reader->version = version;
    return OK;
}

/* ---- keys */

static void key_forget(struct rdb_reader *reader) {
    reader->named = false;
    reader->key = (struct rdb_key){.db = reader->key.db,
                                   .expire_at_ms = -1,
                                   .idle_s = -1,
                                   .freq = -1,
                                   .start_offset = UINT64_MAX};
}

static enum err value_in_pieces(struct rdb_reader *reader, struct why *why) {
    struct rdb_key *key = &reader->key;
    RDB_TRY(rdb_value_read(&reader->value, key, reader->handler, why));
    key->end_offset = rdb_in_offset(&reader->in);
    const struct rdb_handler *h = reader->handler;
    if (h->key_end && !reader->value.empty) return h->key_end(h->self, key, why);
    return OK;
}

/* Check the value while it is recorded, then give it away whole; if it is too large, read it again
 * in pieces. */
static enum err value_whole(struct rdb_reader *reader, struct why *why) {
    struct slice payload;
    rdb_in_record(&reader->in, reader->limits.raw_bytes_max);
    enum err err = rdb_value_read(&reader->value, &reader->key, &check_only, why);
    if (err != OK && !reader->in.overflowed) return err;
    if (err == OK && rdb_in_recorded(&reader->in, &payload)) {
        reader->key.end_offset = rdb_in_offset(&reader->in);
        if (reader->value.empty) return OK;
        return reader->handler->value_raw(reader->handler->self, &reader->key, payload, why);
    }
    rdb_in_replay(&reader->in);
    return value_in_pieces(reader, why);
}

/* The nine letters in which a module's id names it. */
static void module_name(uint64_t id, char name[10]) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t i = 0; i < 9; i++) name[8 - i] = letters[id >> (10 + 6 * i) & 63];
    name[9] = '\0';
}

static enum err refuse_module(struct rdb_reader *reader, const char *what, struct why *why) {
    uint64_t id;
    char name[10];
    RDB_TRY(rdb_length(&reader->value, &id, why));
    module_name(id, name);
    return why_set(why, ERR_CORRUPT, "%s of the module type %s, which only that module can read",
                   what, name);
}

static enum err read_key(struct rdb_reader *reader, uint8_t rdb_type, struct why *why) {
    struct rdb_key *key = &reader->key;
    bool known = rdb_type_value(rdb_type, &key->type);
    if (!known && rdb_type != RDB_MODULE && rdb_type != RDB_MODULE_2)
        return why_set(why, ERR_CORRUPT, "%u is no opcode and no type that is known",
                       (unsigned)rdb_type);
    if (key->start_offset == UINT64_MAX) key->start_offset = reader->op_offset;
    key->rdb_type = rdb_type;
    bool moves = reader->in.source != NULL; /* what was taken from memory stays where it is */
    RDB_TRY(rdb_text(&reader->value, &reader->name, moves, &key->key, why));
    reader->named = true;
    if (!known) return refuse_module(reader, "a value", why);
    bool whole = reader->handler->value_raw && reader->limits.raw_bytes_max > 0;
    RDB_TRY(whole ? value_whole(reader, why) : value_in_pieces(reader, why));
    if (reader->value.empty) {
        reader->skipped++;
        if (reader->handler->key_empty) reader->handler->key_empty(reader->handler->self, key);
    }
    key_forget(reader);
    reader->read_key = true;
    return OK;
}

/* ---- opcodes */

static enum err read_aux(struct rdb_reader *reader, struct why *why) {
    struct slice name, text;
    RDB_TRY(rdb_text(&reader->value, &reader->value.one, true, &name, why));
    RDB_TRY(rdb_text(&reader->value, &reader->value.two, false, &text, why));
    const struct rdb_handler *h = reader->handler;
    return h->aux ? h->aux(h->self, name, text, why) : OK;
}

static enum err read_function(struct rdb_reader *reader, struct why *why) {
    struct slice code;
    RDB_TRY(rdb_text(&reader->value, &reader->value.one, false, &code, why));
    const struct rdb_handler *h = reader->handler;
    return h->function ? h->function(h->self, code, why) : OK;
}

static enum err read_select(struct rdb_reader *reader, struct why *why) {
    uint64_t db;
    RDB_TRY(rdb_length(&reader->value, &db, why));
    if (db >= reader->limits.databases_max || db > UINT32_MAX)
        return why_set(why, ERR_LIMIT, "database %llu is over the limit of %llu databases",
                       (unsigned long long)db, (unsigned long long)reader->limits.databases_max);
    reader->key.db = (uint32_t)db;
    const struct rdb_handler *h = reader->handler;
    return h->select_db ? h->select_db(h->self, (uint32_t)db, why) : OK;
}

static enum err read_lengths(struct rdb_reader *reader, uint64_t *lengths, size_t count,
                             struct why *why) {
    for (size_t i = 0; i < count; i++) RDB_TRY(rdb_length(&reader->value, &lengths[i], why));
    return OK;
}

static enum err read_resize(struct rdb_reader *reader, struct why *why) {
    uint64_t sizes[2];
    RDB_TRY(read_lengths(reader, sizes, 2, why));
    const struct rdb_handler *h = reader->handler;
    return h->resize ? h->resize(h->self, sizes[0], sizes[1], why) : OK;
}

static enum err read_expire(struct rdb_reader *reader, uint8_t opcode, struct why *why) {
    const uint8_t *p;
    if (opcode == RDB_OP_EXPIRE_MS)
        return rdb_time_ms(&reader->value, &reader->key.expire_at_ms, why);
    RDB_TRY(rdb_in_take(&reader->in, 4, &p, why));
    reader->key.expire_at_ms = bytes_le_signed(p, 4) * 1000;
    return OK;
}

static enum err read_idle(struct rdb_reader *reader, struct why *why) {
    uint64_t idle_s;
    RDB_TRY(rdb_length(&reader->value, &idle_s, why));
    reader->key.idle_s = idle_s < INT64_MAX ? (int64_t)idle_s : INT64_MAX;
    return OK;
}

static enum err read_freq(struct rdb_reader *reader, struct why *why) {
    uint8_t freq;
    RDB_TRY(rdb_byte(&reader->value, &freq, why));
    reader->key.freq = freq;
    return OK;
}

static enum err read_end(struct rdb_reader *reader, struct why *why) {
    reader->ended = true;
    bool verified = false;
    if (reader->version >= 5) {
        const uint8_t *p;
        uint64_t sum = rdb_in_crc(&reader->in);
        RDB_TRY(rdb_in_take(&reader->in, 8, &p, why));
        uint64_t wanted = bytes_le(p, 8);
        verified = wanted != 0 && !reader->unsummed; /* 0: written without */
        if (verified && wanted != sum)
            return why_set(why, ERR_CORRUPT,
                           "CRC error: the checksum is %016llx and should be %016llx",
                           (unsigned long long)sum, (unsigned long long)wanted);
    }
    const struct rdb_handler *h = reader->handler;
    return h->end ? h->end(h->self, verified, why) : OK;
}

/* What decorates a key is part of it. */
static bool decorates(uint8_t opcode) {
    return opcode == RDB_OP_EXPIRE_MS || opcode == RDB_OP_EXPIRE_S || opcode == RDB_OP_IDLE ||
           opcode == RDB_OP_FREQ;
}

static enum err read_op(struct rdb_reader *reader, struct why *why) {
    uint8_t opcode;
    uint64_t ignored[3];
    reader->op_offset = rdb_in_offset(&reader->in);
    RDB_TRY(rdb_byte(&reader->value, &opcode, why));
    if (opcode < RDB_OP_SLOT_INFO) return read_key(reader, opcode, why);
    if (decorates(opcode) && reader->key.start_offset == UINT64_MAX)
        reader->key.start_offset = reader->op_offset;
    switch ((enum rdb_opcode)opcode) {
    case RDB_OP_SLOT_INFO: return read_lengths(reader, ignored, 3, why);
    case RDB_OP_FUNCTION: return read_function(reader, why);
    case RDB_OP_FUNCTION_PRE_GA:
        return why_set(why, ERR_CORRUPT, "functions in the form from before Redis 7.0");
    case RDB_OP_MODULE_AUX: return refuse_module(reader, "data", why);
    case RDB_OP_IDLE: return read_idle(reader, why);
    case RDB_OP_FREQ: return read_freq(reader, why);
    case RDB_OP_AUX: return read_aux(reader, why);
    case RDB_OP_RESIZE: return read_resize(reader, why);
    case RDB_OP_EXPIRE_MS:
    case RDB_OP_EXPIRE_S: return read_expire(reader, opcode, why);
    case RDB_OP_SELECT: return read_select(reader, why);
    case RDB_OP_END: return read_end(reader, why);
    }
    UNREACHABLE("opcode above 243");
}

/* A key as text: what cannot be printed becomes a dot, the rest is cut. */
static void name_show(struct slice key, char shown[NAME_SHOWN + 4]) {
    size_t size = key.size < NAME_SHOWN ? key.size : NAME_SHOWN;
    for (size_t i = 0; i < size; i++)
        shown[i] = key.data[i] >= ' ' && key.data[i] < 127 ? (char)key.data[i] : '.';
    memcpy(shown + size, key.size > size ? "..." : "", 4 - 3 * (key.size <= size));
}

static enum err explain(const struct rdb_reader *reader, enum err err, struct why *why) {
    char shown[NAME_SHOWN + 4];
    unsigned long long at = rdb_in_offset(&reader->in);
    if (!reader->named) return why_add(why, err, "RDB, near byte %llu", at);
    name_show(reader->key.key, shown);
    return why_add(why, err, "RDB, near byte %llu, database %u, key \"%s\" from byte %llu", at,
                   reader->key.db, shown, (unsigned long long)reader->key.start_offset);
}

enum err rdb_reader_run(struct rdb_reader *reader, struct why *why) {
    ASSERT(!reader->ended);
    enum err err = reader->resumed ? OK : read_header(reader, why);
    key_forget(reader);
    while (err == OK && !reader->ended) err = read_op(reader, why);
    return err == OK ? OK : explain(reader, err, why);
}

enum err rdb_reader_key(struct rdb_reader *reader, struct why *why) {
    ASSERT(reader->resumed);
    enum err err = OK;
    key_forget(reader);
    reader->read_key = false;
    while (err == OK && !reader->ended && !reader->read_key) err = read_op(reader, why);
    return err == OK ? OK : explain(reader, err, why);
}

enum err rdb_reader_part(struct rdb_reader *reader, struct slice bytes,
                         struct rdb_position position, const uint64_t *sum, struct why *why) {
    struct rdb_in *in = &reader->in;
    ASSERT(in->source == NULL && in->live_at == NULL);
    rdb_reader_resume(reader, position);
    in->at = bytes.data;
    in->end = bytes.data + bytes.size;
    in->end_offset = position.offset + bytes.size;
    reader->ended = false;
    if (sum) rdb_reader_know_sum(reader, *sum);
    enum err err = OK;
    key_forget(reader);
    while (err == OK && in->at < in->end) err = read_op(reader, why);
    return err == OK ? OK : explain(reader, err, why);
}
