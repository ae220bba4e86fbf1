/* fuzz_script.c -- the boundaries of scripts: random calls of redis.call, cjson, cmsgpack, struct,
 * bit and the library of Lua, with odd arguments, run by EVAL in an engine without sockets.
 *
 * The input is a program in bytes: each statement is a function and its arguments, which are odd
 * numbers, strings of the input, tables of these, or what earlier calls returned. It is written as
 * Lua and run; whatever it does, the engine goes on and there is exactly one reply. After 64 inputs
 * the keys are thrown away.
 */
#include "lib/base/mem.h"
#include "lib/redis/resp.h"
#include "server/execute.h"
#include "server/script.h"
#include "server/start.h"

static const char *const functions[] = {"redis.call",
                                        "redis.pcall",
                                        "redis.call",
                                        "redis.pcall",
                                        "redis.error_reply",
                                        "redis.status_reply",
                                        "redis.sha1hex",
                                        "redis.setresp",
                                        "redis.log",
                                        "redis.set_repl",
                                        "redis.acl_check_cmd",
                                        "redis.breakpoint",
                                        "redis.debug",
                                        "redis.replicate_commands",
                                        "redis.register_function",
                                        "cjson.encode",
                                        "cjson.decode",
                                        "cjson.encode_max_depth",
                                        "cjson.decode_max_depth",
                                        "cjson.encode_sparse_array",
                                        "cjson.encode_number_precision",
                                        "cjson.encode_invalid_numbers",
                                        "cjson.decode_invalid_numbers",
                                        "cjson.encode_keep_buffer",
                                        "cjson.new",
                                        "cmsgpack.pack",
                                        "cmsgpack.unpack",
                                        "cmsgpack.unpack_one",
                                        "cmsgpack.unpack_limit",
                                        "struct.pack",
                                        "struct.unpack",
                                        "struct.size",
                                        "bit.tobit",
                                        "bit.tohex",
                                        "bit.bnot",
                                        "bit.band",
                                        "bit.bor",
                                        "bit.bxor",
                                        "bit.lshift",
                                        "bit.rshift",
                                        "bit.arshift",
                                        "bit.rol",
                                        "bit.ror",
                                        "bit.bswap",
                                        "string.format",
                                        "string.rep",
                                        "string.sub",
                                        "string.byte",
                                        "string.char",
                                        "string.find",
                                        "string.match",
                                        "string.gsub",
                                        "string.gmatch",
                                        "string.reverse",
                                        "string.upper",
                                        "string.len",
                                        "string.dump",
                                        "table.concat",
                                        "table.insert",
                                        "table.remove",
                                        "table.sort",
                                        "table.maxn",
                                        "table.getn",
                                        "table.foreach",
                                        "unpack",
                                        "select",
                                        "tostring",
                                        "tonumber",
                                        "type",
                                        "next",
                                        "pairs",
                                        "ipairs",
                                        "rawget",
                                        "rawset",
                                        "rawequal",
                                        "getmetatable",
                                        "setmetatable",
                                        "getfenv",
                                        "setfenv",
                                        "pcall",
                                        "xpcall",
                                        "error",
                                        "assert",
                                        "math.floor",
                                        "math.fmod",
                                        "math.random",
                                        "math.randomseed",
                                        "math.ldexp",
                                        "math.max",
                                        "os.clock",
                                        "collectgarbage",
                                        "loadstring",
                                        "load",
                                        "print",
                                        "newproxy",
                                        "coroutine.create",
                                        "coroutine.wrap",
                                        "coroutine.resume",
                                        "coroutine.yield",
                                        "function(...) return ... end"};

static const char *const numbers[] = {"0",
                                      "1",
                                      "-1",
                                      "2",
                                      "3",
                                      "7",
                                      "8",
                                      "15",
                                      "16",
                                      "17",
                                      "255",
                                      "256",
                                      "-128",
                                      "0.5",
                                      "-0.5",
                                      "1e15",
                                      "2147483647",
                                      "2147483648",
                                      "-2147483648",
                                      "-2147483649",
                                      "4294967295",
                                      "4294967296",
                                      "9007199254740993",
                                      "9223372036854775807",
                                      "-9223372036854775808",
                                      "1e19",
                                      "1e308",
                                      "-1e308",
                                      "1/0",
                                      "-1/0",
                                      "0/0",
                                      "5e-324",
                                      "true",
                                      "false",
                                      "nil",
                                      "cjson.null",
                                      "KEYS",
                                      "ARGV",
                                      "_G",
                                      "redis",
                                      "cjson",
                                      "string",
                                      "pcall",
                                      "\"\"",
                                      "\"key\"",
                                      "{}",
                                      "{1,2,3}",
                                      "{err='x'}",
                                      "{ok='x'}",
                                      "{double=1.5}",
                                      "{map={a=1}}",
                                      "{set={a=true}}",
                                      "{big_number='12'}",
                                      "{verbatim_string={format='txt',string='x'}}",
                                      "{[1]=1,[1000000]=2}",
                                      "{a={b={c={}}}}"};

/* Formats of struct, string.format and patterns are seldom hit by chance. */
static const char *const texts[] = {">I4",
                                    "<i8",
                                    "!8d",
                                    "bBhHiIlLTfdsxcX",
                                    "c0",
                                    "i16s",
                                    "=f",
                                    "I33",
                                    "c2147483647",
                                    "%s%d%q",
                                    "%99.99f",
                                    "%5.200s",
                                    "%a+(.-)%1",
                                    "(()",
                                    "[^%w]*$",
                                    "%b()",
                                    "%f[%a]",
                                    "{\"a\":[1,2,{}]}",
                                    "[1e999]",
                                    "\"\\ud800\\udc00\"",
                                    "[[[[[[[[",
                                    "\x93\x01\x02\x03",
                                    "\xdf\xff\xff\xff\xff",
                                    "\xc1",
                                    "\xd9\x05",
                                    "return 1",
                                    "key",
                                    "10",
                                    "WITHSCORES",
                                    "COUNT",
                                    "LIMIT",
                                    "0-1",
                                    "*",
                                    "(1",
                                    "[a",
                                    "+inf",
                                    "-",
                                    "PX",
                                    "STREAMS",
                                    "BY",
                                    "GET",
                                    "#",
                                    "nosort",
                                    "u64",
                                    "OVERFLOW",
                                    "FAIL"};

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))
#define STATEMENTS_MAX 12
#define RESULTS 4

struct input {
    const uint8_t *at, *end;
};

static unsigned byte(struct input *in) {
    return in->at < in->end ? *in->at++ : 0;
}

static void put_string(struct buf *out, const uint8_t *bytes, size_t size) {
    buf_byte(out, '"');
    for (size_t i = 0; i < size; i++) buf_printf(out, "\\%03u", bytes[i]);
    buf_byte(out, '"');
}

static void put_value(struct buf *out, struct input *in, unsigned statement, int depth);

static void put_table(struct buf *out, struct input *in, unsigned statement, int depth) {
    unsigned count = byte(in) % 5;
    buf_byte(out, '{');
    for (unsigned i = 0; i < count && depth > 0; i++) {
        if (byte(in) & 1) buf_printf(out, "k%u=", byte(in) % 3);
        put_value(out, in, statement, depth - 1);
        buf_byte(out, ',');
    }
    buf_byte(out, '}');
}

static void put_command(struct buf *out, struct input *in) {
    const struct command *command =
        command_at((byte(in) * 256u + byte(in)) % (unsigned)command_count);
    const char *bar = strchr(command->name, '|');
    if (bar)
        buf_printf(out, "\"%.*s\",\"%s\"", (int)(bar - command->name), command->name, bar + 1);
    else
        buf_printf(out, "\"%s\"", command->name);
}

static void put_value(struct buf *out, struct input *in, unsigned statement, int depth) {
    unsigned kind = byte(in);
    size_t size = kind >> 4, left = (size_t)(in->end - in->at);
    if (kind % 6 == 0) {
        size = size < left ? size : left;
        put_string(out, in->at, size);
        in->at += size;
    } else if (kind % 6 == 1) {
        buf_printf(out, "%s", numbers[byte(in) % COUNT_OF(numbers)]);
    } else if (kind % 6 == 2) {
        const char *text = texts[byte(in) % COUNT_OF(texts)];
        put_string(out, (const uint8_t *)text, strlen(text));
    } else if (kind % 6 == 3 && depth > 0) {
        put_table(out, in, statement, depth);
    } else if (kind % 6 <= 4 && statement > 0) {
        buf_printf(out, "r%u[%u]", byte(in) % statement, byte(in) % RESULTS + 1);
    } else {
        buf_printf(out, "\"k%u\"", byte(in) % 4);
    }
}

static void put_statement(struct buf *out, struct input *in, unsigned statement) {
    const char *function = functions[byte(in) % COUNT_OF(functions)];
    unsigned arguments = byte(in) % 7;
    bool calls = strstr(function, "call") && strncmp(function, "redis", 5) == 0;
    buf_printf(out, "local r%u={select(2,pcall(%s", statement, function);
    if (calls) {
        buf_byte(out, ',');
        put_command(out, in);
    }
    for (unsigned i = 0; i < arguments; i++) {
        buf_byte(out, ',');
        put_value(out, in, statement, 3);
    }
    buf_printf(out, "))}\n");
}

/* ---- the engine ---- */

static const struct resp_limits limits = {UINT32_MAX, UINT32_MAX, UINT32_MAX};
static struct engine *engine;
static struct client *client;

static void start(void) {
    char *options[] = {(char *)(uintptr_t) "server", (char *)(uintptr_t) "--save",
                       (char *)(uintptr_t) "", (char *)(uintptr_t) "--lua-memory-limit",
                       (char *)(uintptr_t) "16777216"};
    struct why why;
    engine = engine_new();
    config_init(engine);
    enum err err = config_read_all(engine, 5, options, &why);
    ASSERT(err == OK);
    engine_make_dbs(engine);
    command_groups_bind(engine);
    client = client_new_fake(engine, 0);
}

/* Exactly one reply came, whole. */
static void run(int argc, struct slice *argv) {
    struct resp_skip skip = {0};
    struct why why;
    size_t used = 0;
    buf_clear(&client->out);
    client_execute(client, argc, argv);
    struct slice out = buf_slice(&client->out);
    ASSERT(resp_skip_next(&skip, &limits, out, &used, &why) == STEP_DONE);
    ASSERT(used == out.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static unsigned inputs;
    if (engine == NULL) start();
    if (size < 4) return 0;
    struct input in = {data + 1, data + size};
    struct buf script = {0};
    unsigned statement = 0;
    if (data[0] & 1) buf_printf(&script, "redis.setresp(3)\n");
    while (in.at < in.end && statement < STATEMENTS_MAX) put_statement(&script, &in, statement++);
    buf_printf(&script, "return r%u%s", statement - 1, data[0] & 2 ? "" : "[1]");
    struct slice argv[] = {SLICE("eval"), buf_slice(&script), SLICE("1"), SLICE("k0"), SLICE("x")};
    client->resp = data[0] & 4 ? 3 : 2;
    run(5, argv);
    client->resp = 2;
    if (++inputs % 64 == 0) {
        struct slice flush[] = {SLICE("flushall"), SLICE("sync")};
        struct slice forget[] = {SLICE("script"), SLICE("flush"), SLICE("sync")};
        run(2, flush);
        run(3, forget);
    }
    buf_close(&script);
    return 0;
}
