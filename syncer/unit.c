/* unit.c -- the replication stream as units of apply. See unit.h. */
#include "syncer/unit.h"

#include "lib/base/mem.h"

struct unit_span {
    size_t at, size;   /* of the command in the unit */
    size_t first, argc; /* in reader->args */
    int db;
};

static const struct resp_request_limits limits = {
    .args_max = 1 << 26, .bulk_bytes_max = (size_t)1 << 30, .total_bytes_max = UNIT_BYTES_MAX, .authenticated = true};

void unit_reader_init(struct unit_reader *reader, uint64_t offset, int db) {
    *reader = (struct unit_reader){.offset = offset, .db = db};
}

void unit_reader_close(struct unit_reader *reader) {
    buf_close(&reader->in);
    resp_request_close(&reader->request);
    mem_free(reader->spans);
    mem_free(reader->args);
    mem_free(reader->commands);
    mem_free(reader->argv);
    *reader = (struct unit_reader){0};
}

static void forget_unit(struct unit_reader *reader) {
    reader->scanned = reader->span_count = reader->arg_count = 0;
    reader->in_multi = false;
}

void unit_reader_move(struct unit_reader *reader, uint64_t offset, int db) {
    buf_clear(&reader->in);
    resp_request_close(&reader->request);
    reader->request = (struct resp_request){0};
    reader->taken = 0;
    reader->offset = offset;
    reader->db = db;
    forget_unit(reader);
}

static void *grown(void *array, size_t *cap, size_t wanted, size_t size) {
    if (wanted <= *cap) return array;
    while (*cap < wanted) *cap = *cap ? *cap * 2 : 64;
    return mem_realloc(array, *cap * size);
}

/* Remember the request that was just read; it stands at `scanned` of the unit. */
static void keep(struct unit_reader *reader, int db) {
    const struct resp_request *request = &reader->request;
    const uint8_t *unit = reader->in.data + reader->in.start;
    reader->spans = grown(reader->spans, &reader->span_cap, reader->span_count + 1, sizeof *reader->spans);
    reader->args = grown(reader->args, &reader->arg_cap, reader->arg_count + request->argc, sizeof *reader->args);
    reader->spans[reader->span_count++] = (struct unit_span){
        .at = reader->scanned, .size = request->size_bytes, .first = reader->arg_count, .argc = request->argc, .db = db};
    for (size_t i = 0; i < request->argc; i++)
        reader->args[reader->arg_count++] =
            (struct resp_span){.at = (size_t)(request->argv[i].data - unit), .size = request->argv[i].size};
}

static void fill(struct unit_reader *reader, struct unit *unit, size_t size, int db) {
    const uint8_t *bytes = reader->in.data + reader->in.start;
    reader->commands = grown(reader->commands, &reader->command_cap, reader->span_count, sizeof *reader->commands);
    reader->argv = grown(reader->argv, &reader->argv_cap, reader->arg_count, sizeof *reader->argv);
    for (size_t i = 0; i < reader->arg_count; i++)
        reader->argv[i] = slice_from(bytes + reader->args[i].at, reader->args[i].size);
    for (size_t i = 0; i < reader->span_count; i++) {
        const struct unit_span *s = &reader->spans[i];
        struct unit_command *c = &reader->commands[i];
        *c = (struct unit_command){.raw = slice_from(bytes + s->at, s->size), .argv = reader->argv + s->first,
                                   .argc = s->argc, .db = s->db};
        c->command = command_lookup(c->argc, c->argv);
    }
    *unit = (struct unit){.commands = reader->commands, .count = reader->span_count, .start = reader->offset,
                          .end = reader->offset + size, .end_db = db};
    reader->taken = size;
    reader->offset += size;
    reader->db = db;
    forget_unit(reader);
}

static enum step bad(struct why *why, const struct unit_reader *reader, const char *what) {
    (void)why_set(why, ERR_PROTO, "the stream at offset %llu: %s", (unsigned long long)reader->offset, what);
    return STEP_FAIL;
}

/* One request was read. *ENDS: the unit ends behind it. */
static enum step take(struct unit_reader *reader, bool *ends, struct why *why) {
    const struct resp_request *request = &reader->request;
    int64_t db = 0;
    *ends = !reader->in_multi;
    if (request->argc == 0) return STEP_DONE; /* an empty line: a keep-alive */
    if (request->is_inline) return bad(why, reader, "an inline command");
    const struct slice *argv = request->argv;
    if (slice_equal_nocase(argv[0], SLICE("select"))) {
        if (request->argc != 2 || !slice_to_int(argv[1], &db) || db < 0 || db > 1 << 20)
            return bad(why, reader, "a SELECT without a sensible number");
        reader->multi_db = (int)db;
    } else if (slice_equal_nocase(argv[0], SLICE("multi"))) {
        if (reader->in_multi) return bad(why, reader, "MULTI inside MULTI");
        reader->in_multi = true;
        *ends = false;
    } else if (slice_equal_nocase(argv[0], SLICE("exec"))) {
        if (!reader->in_multi) return bad(why, reader, "EXEC without MULTI");
        *ends = true;
    } else {
        keep(reader, reader->multi_db);
    }
    return STEP_DONE;
}

enum step unit_next(struct unit_reader *reader, struct unit *unit, struct why *why) {
    if (reader->taken) buf_consume(&reader->in, reader->taken);
    reader->taken = 0;
    if (reader->scanned == 0) reader->multi_db = reader->db;
    for (;;) {
        size_t used = 0;
        bool ends = false;
        struct slice rest = slice_drop(buf_slice(&reader->in), reader->scanned);
        if (rest.size == 0) return STEP_MORE;
        enum step step = resp_request_next(&reader->request, &limits, rest, &used, why);
        if (step == STEP_FAIL) {
            (void)why_add(why, ERR_PROTO, "the stream at offset %llu", (unsigned long long)reader->offset);
            return STEP_FAIL;
        }
        if (step == STEP_MORE) {
            if (buf_size(&reader->in) > UNIT_BYTES_MAX) return bad(why, reader, "a unit of more than 2 GB");
            return STEP_MORE;
        }
        step = take(reader, &ends, why);
        if (step != STEP_DONE) return step;
        reader->scanned += used;
        if (!ends) continue;
        fill(reader, unit, reader->scanned, reader->multi_db);
        return STEP_DONE;
    }
}
