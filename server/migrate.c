/* migrate.c -- MIGRATE: keys go to another server, and from here when that has confirmed them.
 *
 *     AUTH, SELECT, RESTORE each key  -->  one write; then one reply per request  -->  DEL here
 *
 * As in Redis the engine waits for the other server meanwhile, each step no longer than the
 * timeout of the request: between the copy of a key and its removal here nobody may change it.
 * A key is removed only if its own RESTORE was confirmed; the removal is propagated as DEL.
 *
 * Hostile input: of the other server's replies only lines of up to REPLY_MAX bytes are read.
 * Source: cluster.c of Redis 7.0 (migrateCommand); there is no cache of connections.
 */
#include "lib/base/mem.h"
#include "lib/redis/dump.h"
#include "lib/redis/resp.h"
#include "server/acl.h"
#include "server/args.h"
#include "server/engine.h"
#include "server/groups.h"
#include "server/reply.h"
#include "server/value_rdb.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REPLY_MAX 1024u
#define WRITE_AT_ONCE 65536u

struct migrate {
    struct client *c;
    bool copy, replace;
    struct slice user, password; /* empty: none */
    int64_t db, timeout_ms;
    struct slice *keys; /* those that are here; owned array, bytes of the request */
    int key_count;
    int fd;
    bool timed_out;
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

/* Wait until the socket is ready for EVENTS; false after the timeout. */
static bool wait_for(const struct migrate *m, short events) {
    struct pollfd ready = {.fd = m->fd, .events = events};
    int timeout = m->timeout_ms > INT32_MAX ? INT32_MAX : (int)m->timeout_ms;
    int got;
    while ((got = poll(&ready, 1, timeout)) < 0 && errno == EINTR) {}
    return got > 0;
}

static bool connect_one(struct migrate *m, const struct addrinfo *to) {
    m->fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (m->fd < 0) return false;
    int error = connect(m->fd, to->ai_addr, to->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
        socklen_t size = sizeof error;
        error = ETIMEDOUT;
        m->timed_out = !wait_for(m, POLLOUT);
        if (!m->timed_out) (void)getsockopt(m->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    }
    int on = 1;
    if (error == 0) (void)setsockopt(m->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (error != 0) {
        close(m->fd);
        m->fd = -1;
    }
    return error == 0;
}

static bool connect_to(struct migrate *m) {
    char host[256], port[16];
    struct slice name = m->c->argv[1], number = m->c->argv[2];
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (name.size < sizeof host && number.size < sizeof port) {
        memcpy(host, name.data, name.size);
        host[name.size] = '\0';
        memcpy(port, number.data, number.size);
        port[number.size] = '\0';
        if (getaddrinfo(host, port, &wanted, &found) != 0) found = NULL;
    }
    bool good = false;
    for (struct addrinfo *to = found; to && !good; to = to->ai_next) good = connect_one(m, to);
    if (found) freeaddrinfo(found);
    return good;
}

static bool send_all(const struct migrate *m, struct slice bytes) {
    while (bytes.size > 0) {
        size_t most = bytes.size < WRITE_AT_ONCE ? bytes.size : WRITE_AT_ONCE;
        ssize_t sent = send(m->fd, bytes.data, most, MSG_NOSIGNAL);
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
        ssize_t size = recv(m->fd, buf_room(&m->in, REPLY_MAX), REPLY_MAX, 0);
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

/* Replies that come before those of the keys. */
static int put_request(const struct migrate *m, struct buf *out) {
    char db[24];
    const struct slice auth[] = {SLICE("AUTH"), m->password};
    const struct slice auth2[] = {SLICE("AUTH"), m->user, m->password};
    const struct slice select[] = {SLICE("SELECT"),
                                   slice_from(db, number_write_int(db, m->db))};
    if (m->user.size)
        resp_write_command(out, 3, auth2);
    else if (m->password.size)
        resp_write_command(out, 2, auth);
    resp_write_command(out, 2, select);
    for (int i = 0; i < m->key_count; i++)
        put_key(m, m->keys[i], db_find(m->c->db, m->keys[i]), out);
    return 1 + (m->password.size != 0);
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

/* Read a reply for each request; keys that arrived go. */
static void read_replies(struct migrate *m, int before) {
    struct slice *gone = NEW_ARRAY(struct slice, (size_t)m->key_count + 1), line;
    int gone_count = 1;
    bool refused = false, broken = false, stranger = false; /* AUTH or SELECT was refused */
    gone[0] = SLICE("DEL");
    for (int i = -before; i < m->key_count && !broken; i++) {
        broken = !read_line(m, &line);
        if (broken) break;
        if (line.size > 0 && line.data[0] == '-') {
            if (!refused)
                reply_error(m->c, "ERR Target instance replied with error: %.*s",
                            (int)line.size - 1, (const char *)line.data + 1);
            refused = true;
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
    if (broken && !refused)
        io_error(m, "reading from");
    else if (!refused)
        reply_ok(m->c);
}

static void migrate_keys(struct migrate *m) {
    struct buf out = {0};
    m->fd = -1;
    if (!connect_to(m)) {
        if (m->timed_out) /* in Redis's words */
            reply_error(m->c, "IOERR error or timeout connecting to the client");
        else
            io_error(m, "writing to");
        return;
    }
    int before = put_request(m, &out);
    if (send_all(m, buf_slice(&out)))
        read_replies(m, before);
    else
        io_error(m, "writing to");
    close(m->fd);
    buf_close(&out);
    buf_close(&m->in);
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
}
