/* fuzz_request.c -- any bytes as requests and inline commands: the same requests wherever the bytes
 * are split, and written again they are read as they were.
 *
 * The first byte says in which pieces the bytes arrive, and whether their sender is known.
 */
#include "lib/base/mem.h"
#include "lib/redis/command.h"
#include "lib/redis/resp.h"

/* What was read, one request after the other, and how it ended. */
struct heard {
    struct buf words;
    enum step end;
};

static void keep(struct heard *heard, const struct resp_request *request) {
    buf_printf(&heard->words, "<%zu %d>", request->argc, request->is_inline);
    for (size_t i = 0; i < request->argc; i++) {
        buf_printf(&heard->words, "(%zu)", request->argv[i].size);
        buf_add(&heard->words, request->argv[i]);
    }
}

/* What is known of a command by its words alone: no words may break that. */
static void look_up(const struct resp_request *request) {
    struct buf error = {0};
    if (request->argc == 0) return;
    const struct command *command = command_admit(request->argc, request->argv, &error);
    ASSERT((command == NULL) == (buf_size(&error) > 0));
    buf_close(&error);
}

static void write_again(const struct resp_request *request) {
    struct resp_request second = {0};
    struct buf bytes = {0};
    struct why why;
    size_t used;
    if (request->argc == 0) return;
    resp_write_command(&bytes, request->argc, request->argv);
    struct slice all = buf_slice(&bytes);
    ASSERT(resp_request_next(&second, &resp_request_limits_open, all, &used, &why) == STEP_DONE);
    ASSERT(used == all.size && second.argc == request->argc && !second.is_inline);
    for (size_t i = 0; i < second.argc; i++)
        ASSERT(slice_equal(second.argv[i], request->argv[i]));
    resp_request_close(&second);
    buf_close(&bytes);
}

static void hear(struct slice bytes, size_t piece, const struct resp_request_limits *limits,
                 struct heard *heard) {
    struct resp_request request = {0};
    struct why why;
    size_t at = 0, shown = 0;
    heard->end = STEP_MORE;
    while (shown < bytes.size && heard->end != STEP_FAIL) {
        shown = bytes.size - shown < piece ? bytes.size : shown + piece;
        for (;;) {
            size_t used = 0;
            uint8_t *exact = mem_dup(bytes.data + at, shown - at);
            heard->end =
                resp_request_next(&request, limits, slice_from(exact, shown - at), &used, &why);
            if (heard->end == STEP_DONE) {
                ASSERT(used > 0 && used <= shown - at);
                keep(heard, &request);
                look_up(&request);
                write_again(&request);
                at += used;
            }
            mem_free(exact);
            if (heard->end != STEP_DONE) break;
        }
    }
    resp_request_close(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    struct slice bytes = slice_from(data + 1, size - 1);
    const struct resp_request_limits *limits =
        data[0] & 64 ? &resp_request_limits_closed : &resp_request_limits_open;
    struct heard whole = {0}, pieces = {0};
    hear(bytes, bytes.size, limits, &whole);
    hear(bytes, 1 + data[0] % 40, limits, &pieces);
    ASSERT(whole.end == pieces.end &&
           slice_equal(buf_slice(&whole.words), buf_slice(&pieces.words)));
    buf_close(&whole.words);
    buf_close(&pieces.words);
    return 0;
}
