/* client_commands.c -- CLIENT. */
#include "lib/base/mem.h"
#include "server/acl.h"
#include "server/args.h"
#include "server/block.h"
#include "server/client_info.h"
#include "server/client_memory.h"
#include "server/engine.h"
#include "server/groups.h"
#include "server/pause.h"
#include "server/reply.h"

static bool type_from(struct slice word, const char **type) {
    static const char *const names[] = {"normal", "master", "replica", "pubsub"};
    if (arg_is(word, "slave")) word = SLICE("replica");
    for (size_t i = 0; i < COUNT(names); i++)
        if (arg_is(word, names[i])) {
            *type = names[i];
            return true;
        }
    return false;
}

static void run_id(struct client *c) {
    reply_int(c, (int64_t)c->id);
}

static void run_info(struct client *c) {
    struct buf line = {0};
    client_describe(c, &line);
    buf_byte(&line, '\n');
    reply_verbatim(c, "txt", buf_slice(&line));
    buf_close(&line);
}

static bool listed(struct client *c, const struct client *other, const char *type) {
    if (other->flags & CLIENT_CLOSE_NOW) return false;
    if (type) return strcmp(client_type_name(other), type) == 0;
    if (c->argc == 2) return true;
    int64_t id;
    for (int i = 3; i < c->argc; i++)
        if (slice_to_int(c->argv[i], &id) && id > 0 && (uint64_t)id == other->id) return true;
    return false;
}

static void run_list(struct client *c) {
    const char *type = NULL;
    int64_t id;
    if (c->argc > 2 && arg_is(c->argv[2], "type") && c->argc == 4) {
        if (!type_from(c->argv[3], &type)) {
            reply_error(c, "ERR Unknown client type '%.*s'",
                        (int)(c->argv[3].size < 128 ? c->argv[3].size : 128),
                        (const char *)c->argv[3].data);
            return;
        }
    } else if (c->argc > 3 && arg_is(c->argv[2], "id")) {
        for (int i = 3; i < c->argc; i++) {
            if (slice_to_int(c->argv[i], &id)) continue;
            reply_error(c, "ERR Invalid client ID");
            return;
        }
    } else if (c->argc != 2) {
        reply_syntax_error(c);
        return;
    }
    struct buf text = {0};
    for (const struct client *other = c->engine->clients; other; other = other->next) {
        if (!listed(c, other, type)) continue;
        client_describe(other, &text);
        buf_byte(&text, '\n');
    }
    reply_verbatim(c, "txt", buf_slice(&text));
    buf_close(&text);
}

/* ---- names ---- */

static void run_setname(struct client *c) {
    if (!client_name_is_good(c->argv[2])) {
        reply_error(c, "ERR Client names cannot contain spaces, newlines or special characters.");
        return;
    }
    client_set_text(&c->name, c->argv[2]);
    reply_ok(c);
}

static void run_getname(struct client *c) {
    if (c->name)
        reply_bulk_text(c, c->name);
    else
        reply_null(c);
}

static void run_setinfo(struct client *c) {
    bool name = arg_is(c->argv[2], "lib-name"), version = arg_is(c->argv[2], "lib-ver");
    if (!name && !version) {
        reply_error(c, "ERR Unrecognized option '%.*s'",
                    (int)(c->argv[2].size < 128 ? c->argv[2].size : 128),
                    (const char *)c->argv[2].data);
    } else if (!client_name_is_good(c->argv[3])) {
        reply_error(c, "ERR %s cannot contain spaces, newlines or special characters.",
                    name ? "lib-name" : "lib-ver");
    } else {
        client_set_text(name ? &c->lib_name : &c->lib_ver, c->argv[3]);
        reply_ok(c);
    }
}

/* ---- KILL ---- */

struct kill_filter {
    struct slice addr, laddr;
    bool has_addr, has_laddr, has_id, skip_me;
    const struct acl_user *user;
    const char *type;
    int64_t id;
};

static bool read_kill_filter(struct client *c, struct kill_filter *f) {
    *f = (struct kill_filter){.skip_me = true};
    for (int i = 2; i < c->argc; i += 2) {
        if (i + 1 >= c->argc) {
            reply_syntax_error(c);
            return false;
        }
        struct slice word = c->argv[i], value = c->argv[i + 1];
        if (arg_is(word, "id")) {
            if (!arg_int_range(c, value, 1, INT64_MAX, &f->id,
                               "client-id should be greater than 0"))
                return false;
            f->has_id = true;
        } else if (arg_is(word, "type")) {
            if (!type_from(value, &f->type)) {
                reply_error(c, "ERR Unknown client type '%.*s'",
                            (int)(value.size < 128 ? value.size : 128), (const char *)value.data);
                return false;
            }
        } else if (arg_is(word, "addr"))
            f->addr = value, f->has_addr = true;
        else if (arg_is(word, "laddr"))
            f->laddr = value, f->has_laddr = true;
        else if (arg_is(word, "user")) {
            f->user = acl_user_named(c->engine, value);
            if (f->user == NULL) {
                reply_error(c, "ERR No such user '%.*s'",
                            (int)(value.size < 128 ? value.size : 128), (const char *)value.data);
                return false;
            }
        } else if (arg_is(word, "skipme") && (arg_is(value, "yes") || arg_is(value, "no")))
            f->skip_me = arg_is(value, "yes");
        else {
            reply_syntax_error(c);
            return false;
        }
    }
    return true;
}

static bool to_kill(const struct client *c, const struct client *other,
                    const struct kill_filter *f) {
    if (other->flags & CLIENT_CLOSE_NOW) return false;
    if (f->has_addr && !slice_equal(f->addr, slice_text(other->peer))) return false;
    if (f->has_laddr && !slice_equal(f->laddr, slice_text(other->local))) return false;
    if (f->type && strcmp(client_type_name(other), f->type) != 0) return false;
    if (f->user && f->user != other->user) return false;
    if (f->has_id && (uint64_t)f->id != other->id) return false;
    return !(c == other && f->skip_me);
}

static void run_kill(struct client *c) {
    struct kill_filter f = {.has_addr = true, .skip_me = false};
    bool old_form = c->argc == 3;
    if (old_form)
        f.addr = c->argv[2];
    else if (!read_kill_filter(c, &f))
        return;
    int64_t killed = 0;
    bool myself = false;
    for (struct client *other = c->engine->clients; other; other = other->next) {
        if (!to_kill(c, other, &f)) continue;
        killed++;
        if (other == c)
            myself = true;
        else
            client_close_later(other);
    }
    if (!old_form)
        reply_int(c, killed);
    else if (killed)
        reply_ok(c);
    else
        reply_error(c, "ERR No such client");
    if (myself) client_close_after_reply(c);
}

/* ---- REPLY, PAUSE, UNBLOCK, NO-EVICT ... ---- */

static void run_reply(struct client *c) {
    if (arg_is(c->argv[2], "on")) {
        c->flags &= ~(uint64_t)(CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT);
        reply_ok(c);
    } else if (arg_is(c->argv[2], "off"))
        c->flags |= CLIENT_REPLY_OFF;
    else if (arg_is(c->argv[2], "skip")) {
        if (!(c->flags & CLIENT_REPLY_OFF)) c->flags |= CLIENT_REPLY_SKIP_NEXT;
    } else
        reply_syntax_error(c);
}

static void run_pause(struct client *c) {
    bool all = true;
    int64_t end_ms;
    if (c->argc == 4) {
        all = arg_is(c->argv[3], "all");
        if (!all && !arg_is(c->argv[3], "write")) {
            reply_error(c, "ERR CLIENT PAUSE mode must be WRITE or ALL");
            return;
        }
    }
    if (!arg_timeout(c, c->argv[2], true, &end_ms)) return;
    if (end_ms == 0) end_ms = c->engine->now_ms;
    pause_start(c->engine, PAUSE_CLIENT, end_ms, all);
    reply_ok(c);
}

static void run_unpause(struct client *c) {
    pause_end(c->engine, PAUSE_CLIENT);
    reply_ok(c);
}

static void run_unblock(struct client *c) {
    int64_t id;
    bool with_error = false;
    if (c->argc > 4) {
        reply_unknown_subcommand(c);
        return;
    }
    if (c->argc == 4) {
        with_error = arg_is(c->argv[3], "error");
        if (!with_error && !arg_is(c->argv[3], "timeout")) {
            reply_error(c, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
            return;
        }
    }
    if (!arg_int(c, c->argv[2], &id, NULL)) return;
    struct client *other = client_by_id(c->engine, (uint64_t)id);
    reply_int(c, other && block_unblock(other, with_error));
}

static void set_flag(struct client *c, uint64_t flag) {
    if (arg_is(c->argv[2], "on"))
        c->flags |= flag;
    else if (arg_is(c->argv[2], "off"))
        c->flags &= ~flag;
    else {
        reply_syntax_error(c);
        return;
    }
    client_memory_note(c);
    reply_ok(c);
}

static void run_no_evict(struct client *c) {
    set_flag(c, CLIENT_NO_EVICT);
}
static void run_no_touch(struct client *c) {
    set_flag(c, CLIENT_NO_TOUCH);
}

/* What the table of commands has no row for: IMPORT-SOURCE (C8), and unknown subcommands. */
static void run_other(struct client *c) {
    if (c->argc == 3 && arg_is(c->argv[1], "import-source")) {
        if (!c->engine->settings.import_mode && arg_is(c->argv[2], "on"))
            reply_error(c, "ERR Server is not in import mode");
        else
            set_flag(c, CLIENT_IMPORT_SOURCE);
    } else
        reply_unknown_subcommand(c);
}

static void run_help(struct client *c) {
    static const char *const help[] = {
        "ID",
        "    The connection's number.",
        "INFO",
        "    What LIST says of this connection.",
        "LIST [options ...]",
        "    All connections. Options: TYPE <type>, ID <id> ...",
        "KILL <option> ...",
        "    Close connections. Options: ID, ADDR, LADDR, TYPE, USER, SKIPME.",
        "SETNAME <name>",
        "    Name this connection.",
        "GETNAME",
        "    Its name.",
        "SETINFO <option> <value>",
        "    LIB-NAME or LIB-VER of the client's library.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Let commands wait for some milliseconds.",
        "UNPAUSE",
        "    End the pause.",
        "REPLY (ON|OFF|SKIP)",
        "    Which replies are sent.",
        "UNBLOCK <clientid> [TIMEOUT|ERROR]",
        "    End the waiting of a blocked client.",
        "NO-EVICT (ON|OFF)",
        "    Never close this connection for want of memory.",
        "NO-TOUCH (ON|OFF)",
        "    Do not note that keys were used.",
        "IMPORT-SOURCE (ON|OFF)",
        "    This connection feeds a server in import mode.",
        NULL};
    reply_help(c, help);
}

void client_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"client|id", run_id},
                                                      {"client|info", run_info},
                                                      {"client|list", run_list},
                                                      {"client|setname", run_setname},
                                                      {"client|getname", run_getname},
                                                      {"client|setinfo", run_setinfo},
                                                      {"client|kill", run_kill},
                                                      {"client|reply", run_reply},
                                                      {"client|pause", run_pause},
                                                      {"client|unpause", run_unpause},
                                                      {"client|unblock", run_unblock},
                                                      {"client|no-evict", run_no_evict},
                                                      {"client|no-touch", run_no_touch},
                                                      {"client|help", run_help},
                                                      {"client", run_other}};
    command_bind(engine, bindings, COUNT(bindings));
}
