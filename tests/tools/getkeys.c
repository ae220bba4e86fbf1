/* getkeys.c -- show the command table to a test.
 *
 *   getkeys table   one line a row: name, arity, since, group, flags, categories
 *   getkeys keys    reads requests (RESP) from standard input; for each prints one line:
 *                   `unknown`, `arity`, `nokeys`, `invalid`, or `POSITION:flag,flag ...`
 */
#include "lib/redis/command.h"
#include "lib/redis/resp.h"

#include <stdio.h>
#include <stdlib.h>

#define KEYS_MAX 1024

static void print_bits(uint32_t bits, unsigned count, const char *(*name)(unsigned)) {
    const char *comma = "";
    for (unsigned i = 0; i < count; i++) {
        if ((bits & (1u << i)) == 0) continue;
        printf("%s%s", comma, name(i));
        comma = ",";
    }
}

static void print_table(void) {
    for (size_t i = 0; i < command_count; i++) {
        const struct command *row = command_at(i);
        printf("%s %d %s %s ", row->name, row->arity, row->since, command_group_name(row->group));
        print_bits(row->flags, COMMAND_FLAGS, command_flag_name);
        printf(" ");
        print_bits(row->acl, COMMAND_ACLS, command_acl_name);
        printf("\n");
    }
}

static void print_keys(const struct resp_request *request) {
    const struct command *command = command_lookup(request->argc, request->argv);
    if (command == NULL) {
        puts("unknown");
        return;
    }
    if (!command_has_keys(command)) {
        puts("nokeys");
        return;
    }
    if (!command_arity_fits(command, request->argc)) {
        puts("arity");
        return;
    }
    struct command_key keys[KEYS_MAX];
    size_t count = 0;
    struct why why;
    enum err err =
        command_keys(command, request->argc, request->argv, keys, KEYS_MAX, &count, &why);
    if (err != OK) {
        puts("invalid");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        printf("%s%u:", i ? " " : "", keys[i].at);
        print_bits(keys[i].flags, COMMAND_KEY_FLAGS, command_key_flag_name);
    }
    puts("");
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "table") == 0) {
        print_table();
        return 0;
    }
    struct buf in = {0};
    size_t got;
    while ((got = fread(buf_room(&in, 65536), 1, 65536, stdin)) > 0) buf_filled(&in, got);
    struct resp_request request = {0};
    struct why why;
    size_t used = 0;
    while (resp_request_next(&request, &resp_request_limits_open, buf_slice(&in), &used, &why) ==
           STEP_DONE) {
        print_keys(&request);
        buf_consume(&in, used);
    }
    size_t left = buf_size(&in);
    resp_request_close(&request);
    buf_close(&in);
    return left == 0 ? 0 : 1;
}
