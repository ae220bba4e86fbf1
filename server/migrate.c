/* migrate.c -- MIGRATE: keys go to another server, and from here when that has confirmed them.
 *
 *     AUTH, SELECT, RESTORE each key  -->  one write; then one reply per request  -->  DEL here
 *
 * As in Redis the engine waits for the other server meanwhile, each step no longer than the
 * timeout of the request: between the copy of a key and its removal here nobody may change it.
 * A key is removed only if its own RESTORE was confirmed; the removal is propagated as DEL.
 *
 * Connections are kept for the next MIGRATE (migrate_socket.h). One that was kept may have died
 * since: if it breaks before the first reply, all is said once more on a fresh one.
 *
 * Hostile input: of the other server's replies only lines of up to REPLY_MAX bytes are read.
 * Source: cluster.c of Redis 7.0 (migrateCommand).
 */
#include "lib/base/mem.h"
#include "lib/redis/dump.h"
#include "lib/redis/resp.h"
#include "server/acl.h"
#include "server/args.h"
#include "server/engine.h"
#include "server/groups.h"
#include "server/migrate_socket.h"
#include "server/reply.h"
#include "server/value_rdb.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define REPLY_MAX 1024u
#define WRITE_AT_ONCE 65536u

struct migrate {
    struct client *c;
    bool copy, replace;
    struct slice user, password; /* empty: none */
    int64_t db, timeout_ms;
    struct slice *keys; /* those that are here; owned array, bytes of the request */
    int key_count;
    struct migrate_socket *socket;
    struct buf in;
};

static bool read_options(struct migrate *m, int *first, int *count) {
    struct client *c = m->c;
    *first = 3;
    *count = 1;
    for (int i = 6; i < c->argc; i++) {
        int more = c->argc - i - 1;
        if (arg_is(c->argv[i], "copy")) {
            m->copy = true;
        } else if (arg_is(c->argv[i], "replace")) {
            m->replace = true;
        } else if (arg_is(c->argv[i], "auth") && more >= 1) {
            m->password = c->argv[++i];
            acl_redact(c, i);
        } else if (arg_is(c->argv[i], "auth2") && more >= 2) {
            m->user = c->argv[++i];
            acl_redact(c, i);
            m->password = c->argv[++i];
            acl_redact(c, i);
        } else if (arg_is(c->argv[i], "keys")) {
            if (c->argv[3].size != 0) {
                reply_error(c, "ERR When using MIGRATE KEYS option, the key argument must be set to "
                               "the empty string");
                return false;
            }
            *first = i + 1;
            *count = more;
            break;
        } else {
            reply_syntax_error(c);
            return false;
        }
    }
    return true;
}

/* ---- the connection ---- */

static bool wait_for(const struct migrate *m, short events) {
    return migrate_socket_wait(m->socket->fd, events, m->timeout_ms);
}

static bool send_all(const struct migrate *m, struct slice bytes) {
    while (bytes.size > 0) {
        size_t most = bytes.size < WRITE_AT_ONCE ? bytes.size : WRITE_AT_ONCE;
        ssize_t sent = send(m->socket->fd, bytes.data, most, MSG_NOSIGNAL);
        if (sent > 0)
            bytes = slice_drop(bytes, (size_t)sent);
        else if (errno != EAGAIN && errno != EINTR)
            return false;
        else if (!wait_for(m, POLLOUT))
            return false;
    }
    return true;
}

/* One line of reply, without its end; it lives until the next call. */
static bool read_line(struct migrate *m, struct slice *line) {
    static const char ending[] = "\r\n";
    for (;;) {
        struct slice got = buf_slice(&m->in);
        const uint8_t *end = got.size ? memmem(got.data, got.size, ending, 2) : NULL;
        if (end) {
            *line = slice_take(got, (size_t)(end - got.data));
            return true;
        }
        if (got.size > REPLY_MAX || !wait_for(m, POLLIN)) return false;
        ssize_t size = recv(m->socket->fd, buf_room(&m->in, REPLY_MAX), REPLY_MAX, 0);
        if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR)) return false;
        if (size > 0) buf_filled(&m->in, (size_t)size);
    }
}

/* ---- what is said ---- */

static void put_key(const struct migrate *m, struct slice key, const struct entry *e,
                    struct buf *out) {
    struct engine *engine = m->c->engine;
    struct value value = entry_value(e);
    struct buf body = {0}, payload = {0};
    char ttl[24];
    int64_t left_ms = entry_expires(e) ? entry_expiry(e) - engine->now_ms : 0;
    if (entry_expires(e) && left_ms < 1) left_ms = 1;
    value_put(&body, &value, engine->settings.rdbcompression);
    dump_put_as_redis(&payload, value_rdb_type(&value), buf_slice(&body));
    const struct slice words[] = {engine->cluster ? SLICE("RESTORE-ASKING") : SLICE("RESTORE"), key,
                                  slice_from(ttl, number_write_int(ttl, left_ms)),
                                  buf_slice(&payload), SLICE("REPLACE")};
    resp_write_command(out, m->replace ? 5 : 4, words);
    buf_close(&body);
    buf_close(&payload);
}

/* How many replies come before those of the keys. */
static int put_request(const struct migrate *m, struct buf *out) {
    char db[24];
    const struct slice auth[] = {SLICE("AUTH"), m->password};
    const struct slice auth2[] = {SLICE("AUTH"), m->user, m->password};
    const struct slice select[] = {SLICE("SELECT"),
                                   slice_from(db, number_write_int(db, m->db))};
    bool move = m->socket->db != m->db;
    if (m->user.size)
        resp_write_command(out, 3, auth2);
    else if (m->password.size)
        resp_write_command(out, 2, auth);
    if (move) resp_write_command(out, 2, select);
    for (int i = 0; i < m->key_count; i++)
        put_key(m, m->keys[i], db_find(m->c->db, m->keys[i]), out);
    return move + (m->password.size != 0);
}

static void io_error(struct migrate *m, const char *doing) {
    reply_error(m->c, "IOERR error or timeout %s target instance", doing);
}

static void forget_key(struct migrate *m, int i, struct slice *gone, int *gone_count) {
    if (m->copy) return;
    (void)db_delete(m->c->db, m->keys[i]);
    key_changed(m->c, m->keys[i], NOTIFY_GENERIC, "del", 1);
    gone[(*gone_count)++] = m->keys[i];
}

/* Read a reply for each request; keys that arrived go. False: the connection broke or said nothing
 * for too long; *REPLIES is how many were read. */
static bool read_replies(struct migrate *m, int before, bool *refused, int *replies) {
    struct slice *gone = NEW_ARRAY(struct slice, (size_t)m->key_count + 1), line;
    int gone_count = 1;
    bool broken = false, stranger = false; /* AUTH or SELECT was refused */
    gone[0] = SLICE("DEL");
    for (int i = -before; i < m->key_count; i++, ++*replies) {
        broken = !read_line(m, &line);
        if (broken) break;
        if (line.size > 0 && line.data[0] == '-') {
            if (!*refused)
                reply_error(m->c, "ERR Target instance replied with error: %.*s",
                            (int)line.size - 1, (const char *)line.data + 1);
            *refused = true;
            stranger = stranger || i < 0;
        } else if (i >= 0 && !stranger) {
            forget_key(m, i, gone, &gone_count);
        }
        buf_consume(&m->in, line.size + 2);
    }
    if (gone_count > 1)
        propagate_instead(m->c, gone_count, gone);
    else
        propagate_nothing(m->c);
    mem_free(gone);
    m->socket->db = stranger ? -1 : m->db;
    return !broken;
}

/* Say and hear all of it on one connection. False: nothing was answered by one that was kept, so
 * that it may be tried again; else the client has its reply. */
static bool talk(struct migrate *m, bool fresh) {
    struct buf out = {0};
    bool refused = false;
    int replies = 0, before = put_request(m, &out);
    uint64_t began_us = clock_mono_us(m->c->engine->clock);
    bool sent = send_all(m, buf_slice(&out));
    bool whole = sent && read_replies(m, before, &refused, &replies);
    uint64_t took_ms = (clock_mono_us(m->c->engine->clock) - began_us) / 1000;
    bool again = !whole && !fresh && replies == 0 && took_ms < (uint64_t)m->timeout_ms;
    if (whole && buf_slice(&m->in).size == 0)
        migrate_socket_give(m->c->engine, m->socket);
    else
        migrate_socket_drop(m->c->engine, m->socket);
    if (whole && !refused)
        reply_ok(m->c);
    else if (!again && !refused)
        io_error(m, sent ? "reading from" : "writing to");
    buf_close(&out);
    buf_close(&m->in);
    m->in = (struct buf){0};
    return !again;
}

static void migrate_keys(struct migrate *m) {
    const struct migrate_target target = {.host = m->c->argv[1],
                                          .port = m->c->argv[2],
                                          .user = m->user,
                                          .password = m->password,
                                          .timeout_ms = m->timeout_ms};
    bool fresh, timed_out;
    do {
        m->socket = migrate_socket_take(m->c->engine, &target, &fresh, &timed_out);
        if (m->socket) continue;
        if (timed_out) /* in Redis's words */
            reply_error(m->c, "IOERR error or timeout connecting to the client");
        else
            io_error(m, "writing to");
        return;
    } while (!talk(m, fresh));
}

static void run_migrate(struct client *c) {
    struct migrate m = {.c = c};
    int first, count;
    if (!read_options(&m, &first, &count) || !arg_int(c, c->argv[5], &m.timeout_ms, NULL) ||
        !arg_int(c, c->argv[4], &m.db, NULL))
        return;
    if (m.timeout_ms <= 0) m.timeout_ms = 1000;
    m.keys = NEW_ARRAY(struct slice, (size_t)count + 1);
    for (int i = 0; i < count; i++)
        if (key_read(c, c->argv[first + i])) m.keys[m.key_count++] = c->argv[first + i];
    if (m.key_count == 0)
        reply_simple(c, "NOKEY");
    else
        migrate_keys(&m);
    mem_free(m.keys);
}

void migrate_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"migrate", run_migrate}};
    command_bind(engine, bindings, COUNT(bindings));
    migrate_sockets_start(engine);
}
