/* fuzz_aof.c -- any bytes as the manifest of an AOF, and as an AOF: refused, or read, and what was
 * read is the same when it is written and read again. */
#include "lib/base/mem.h"
#include "lib/redis/aof.h"
#include "lib/redis/resp.h"

#include <string.h>

static void check_names(const struct aof_manifest *manifest) {
    unsigned bases = 0;
    for (size_t i = 0; i < manifest->count; i++) {
        const char *name = manifest->files[i].name;
        ASSERT(*name && !strchr(name, '/') && strcmp(name, "..") != 0 && strcmp(name, ".") != 0);
        bases += manifest->files[i].type == AOF_BASE;
    }
    ASSERT(bases <= 1);
}

static void manifest(struct slice text) {
    struct aof_manifest first = {0}, second = {0};
    struct buf written = {0};
    struct why why = {{0}};
    if (aof_manifest_parse(text, &first, &why) != OK) {
        ASSERT(first.count == 0 && why.text[0] != '\0');
        return;
    }
    check_names(&first);
    if (first.count == 0) return; /* only comments: nothing is written for it */
    aof_manifest_format(&first, &written);
    ASSERT(aof_manifest_parse(buf_slice(&written), &second, &why) == OK);
    ASSERT(first.count == second.count);
    (void)aof_manifest_new_base(&second, "appendonly.aof", true);
    (void)aof_manifest_new_incr(&second, "appendonly.aof");
    aof_manifest_retire_incr(&second, 1);
    aof_manifest_drop_history(&second);
    check_names(&second);
    aof_manifest_close(&first);
    aof_manifest_close(&second);
    buf_close(&written);
}

static void commands(struct slice bytes) {
    struct aof_command command = {0}, again = {0};
    struct why why;
    size_t used, wanted = 0, same;
    while (bytes.size) {
        struct buf written = {0};
        enum step step = aof_next(bytes, &command, &used, &wanted, &why);
        if (step == STEP_MORE) ASSERT(wanted > bytes.size);
        if (step != STEP_DONE) break;
        ASSERT(used > 0 && used <= bytes.size);
        if (command.count) {
            resp_write_command(&written, command.count, command.args);
            ASSERT(aof_next(buf_slice(&written), &again, &same, &wanted, &why) == STEP_DONE);
            ASSERT(same == buf_size(&written) && again.count == command.count);
        }
        ASSERT(aof_next(slice_take(bytes, used - 1), &again, &same, &wanted, &why) == STEP_MORE);
        buf_close(&written);
        bytes = slice_drop(bytes, used);
    }
    aof_command_close(&command);
    aof_command_close(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *exact = mem_dup(data, size);
    manifest(slice_from(exact, size));
    commands(slice_from(exact, size));
    mem_free(exact);
    return 0;
}
