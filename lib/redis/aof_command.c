/* aof_command.c -- read the commands of an AOF one by one. See aof.h. */
#include "lib/redis/aof.h"

#include "lib/base/mem.h"

#define LINE_SIZE_MAX 32         /* bytes: a mark, a number, \r\n */
#define ANNOTATION_SIZE_MAX 1024 /* bytes, as in Redis */

void aof_command_close(struct aof_command *command) {
    mem_free(command->args);
    *command = (struct aof_command){0};
}

static void command_add(struct aof_command *command, struct slice arg) {
    if (command->count == command->room) {
        command->room = command->room ? command->room * 2 : 16;
        command->args = mem_realloc(command->args, command->room * sizeof *command->args);
    }
    command->args[command->count++] = arg;
}

/* A line "<MARK><number>\r\n" at *AT. */
static enum step take_number(struct slice bytes, size_t *at, uint8_t mark, int64_t min, int64_t max,
                             int64_t *number, struct why *why) {
    struct slice rest = slice_drop(bytes, *at);
    if (rest.size == 0) return STEP_MORE;
    if (rest.data[0] != mark) {
        (void)why_set(why, ERR_CORRUPT, "expected '%c', found byte 0x%02x", mark, rest.data[0]);
        return STEP_FAIL;
    }
    size_t shown = rest.size < LINE_SIZE_MAX ? rest.size : LINE_SIZE_MAX;
    const uint8_t *end = memchr(rest.data, '\n', shown);
    if (!end) {
        if (rest.size < LINE_SIZE_MAX) return STEP_MORE;
        (void)why_set(why, ERR_CORRUPT, "a number without an end");
        return STEP_FAIL;
    }
    size_t size = (size_t)(end - rest.data) + 1;
    if (size < 4 || rest.data[size - 2] != '\r' ||
        !slice_to_int(slice_from(rest.data + 1, size - 3), number) || *number < min ||
        *number > max) {
        (void)why_set(why, ERR_CORRUPT, "a number that is none, or is out of range, after '%c'",
                      mark);
        return STEP_FAIL;
    }
    *at += size;
    return STEP_DONE;
}

static enum step take_annotation(struct slice bytes, size_t *used_bytes, struct why *why) {
    size_t shown = bytes.size < ANNOTATION_SIZE_MAX ? bytes.size : ANNOTATION_SIZE_MAX;
    const uint8_t *end = memchr(bytes.data, '\n', shown);
    if (end) {
        *used_bytes = (size_t)(end - bytes.data) + 1;
        return STEP_DONE;
    }
    if (bytes.size < ANNOTATION_SIZE_MAX) return STEP_MORE;
    (void)why_set(why, ERR_CORRUPT, "an annotation without an end");
    return STEP_FAIL;
}

/* "$<size>\r\n<bytes>\r\n" at *AT. */
static enum step take_arg(struct slice bytes, size_t *at, struct aof_command *command,
                          size_t *wanted_bytes, struct why *why) {
    int64_t size;
    enum step step = take_number(bytes, at, '$', 0, AOF_ARG_SIZE_MAX, &size, why);
    if (step != STEP_DONE) return step;
    if (bytes.size - *at < (size_t)size + 2) {
        *wanted_bytes = *at + (size_t)size + 2;
        return STEP_MORE;
    }
    command_add(command, slice_from(bytes.data + *at, (size_t)size));
    *at += (size_t)size + 2;
    if (bytes.data[*at - 2] == '\r' && bytes.data[*at - 1] == '\n') return STEP_DONE;
    (void)why_set(why, ERR_CORRUPT, "an argument of %lld bytes is not followed by a line end",
                  (long long)size);
    return STEP_FAIL;
}

enum step aof_next(struct slice bytes, struct aof_command *command, size_t *used_bytes,
                   size_t *wanted_bytes, struct why *why) {
    command->count = 0;
    *wanted_bytes = bytes.size + 1;
    if (bytes.size == 0) return STEP_MORE;
    if (bytes.data[0] == '#') return take_annotation(bytes, used_bytes, why);
    size_t at = 0;
    int64_t count;
    enum step step = take_number(bytes, &at, '*', 1, AOF_ARGS_MAX, &count, why);
    for (int64_t i = 0; step == STEP_DONE && i < count; i++)
        step = take_arg(bytes, &at, command, wanted_bytes, why);
    if (step == STEP_DONE) *used_bytes = at;
    return step;
}
