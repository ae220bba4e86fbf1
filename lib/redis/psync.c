/* psync.c -- the replica's handshake. See psync.h. */
#include "lib/redis/psync.h"

#include "lib/redis/resp.h"

#include <inttypes.h>
#include <stdio.h>

#define LINE_BYTES_MAX (64u << 10)
#define MARK_HEAD "$EOF:"

#define NEXT_OF_ASKING                                                                             \
    (SM_TO(PSYNC_PORT) | SM_TO(PSYNC_ADDRESS) | SM_TO(PSYNC_CAPA) | SM_TO(PSYNC_VERSION) |         \
     SM_TO(PSYNC_RDB_ONLY) | SM_TO(PSYNC_FILTER) | SM_TO(PSYNC_ASK) | SM_TO(PSYNC_DEAD))

static const struct sm_rule rules[PSYNC_STATES] = {
    [PSYNC_PING] = {"ping", SM_TO(PSYNC_AUTH) | NEXT_OF_ASKING},
    [PSYNC_AUTH] = {"auth", NEXT_OF_ASKING},
    [PSYNC_PORT] = {"port", NEXT_OF_ASKING},
    [PSYNC_ADDRESS] = {"address", NEXT_OF_ASKING},
    [PSYNC_CAPA] = {"capa", NEXT_OF_ASKING},
    [PSYNC_VERSION] = {"version", NEXT_OF_ASKING},
    [PSYNC_RDB_ONLY] = {"rdb-only", NEXT_OF_ASKING},
    [PSYNC_FILTER] = {"rdb-filter", NEXT_OF_ASKING},
    [PSYNC_ASK] = {"psync", SM_TO(PSYNC_HEAD) | SM_TO(PSYNC_STREAM) | SM_TO(PSYNC_DEAD)},
    [PSYNC_HEAD] = {"head", SM_TO(PSYNC_RDB) | SM_TO(PSYNC_DEAD)},
    [PSYNC_RDB] = {"rdb", SM_TO(PSYNC_STREAM)},
    [PSYNC_STREAM] = {"stream", 0},
    [PSYNC_DEAD] = {"dead", 0},
};

static const char *psync_name(const struct psync *psync) {
    return psync->config.psync_command ? psync->config.psync_command : "PSYNC";
}

static void write_ask(const struct psync *psync, struct buf *out) {
    const struct psync_config *c = &psync->config;
    char offset[24];
    if (strlen(c->replid) != PSYNC_ID_BYTES) {
        resp_write_words(out, psync_name(psync), "?", "-1", NULL);
        return;
    }
    (void)snprintf(offset, sizeof offset, "%" PRId64, c->next_offset);
    resp_write_words(out, psync_name(psync), c->replid, offset, c->failover ? "FAILOVER" : NULL,
                     NULL);
}

static void write_auth(const struct psync *psync, struct buf *out) {
    struct slice argv[3] = {SLICE("AUTH"), psync->config.user, psync->config.password};
    if (psync->config.user.size == 0) {
        argv[1] = argv[2];
        resp_write_command(out, 2, argv);
        return;
    }
    resp_write_command(out, 3, argv);
}

/* Write the request of STATE; false when the configuration does not want it. */
static bool write_request(const struct psync *psync, unsigned state, struct buf *out) {
    const struct psync_config *c = &psync->config;
    char port[8];
    switch ((enum psync_state)state) {
    case PSYNC_PING: resp_write_words(out, "PING", NULL); return true;
    case PSYNC_AUTH:
        if (c->password.size == 0) return false;
        write_auth(psync, out);
        return true;
    case PSYNC_PORT:
        (void)snprintf(port, sizeof port, "%u", c->listening_port);
        resp_write_words(out, "REPLCONF", "listening-port", port, NULL);
        return true;
    case PSYNC_ADDRESS:
        if (c->address == NULL) return false;
        resp_write_words(out, "REPLCONF", "ip-address", c->address, NULL);
        return true;
    case PSYNC_CAPA:
        resp_write_words(out, "REPLCONF", "capa", "eof", "capa", "psync2", NULL);
        return true;
    case PSYNC_VERSION:
        if (c->version == NULL) return false;
        resp_write_words(out, "REPLCONF", "version", c->version, NULL);
        return true;
    case PSYNC_RDB_ONLY:
        if (!c->rdb_only) return false;
        resp_write_words(out, "REPLCONF", "rdb-only", "1", NULL);
        return true;
    case PSYNC_FILTER:
        if (c->rdb_filter == NULL) return false;
        resp_write_words(out, "REPLCONF", "rdb-filter-only", c->rdb_filter, NULL);
        return true;
    case PSYNC_ASK: write_ask(psync, out); return true;
    case PSYNC_HEAD:
    case PSYNC_RDB:
    case PSYNC_STREAM:
    case PSYNC_DEAD:
    case PSYNC_STATES:
    default: UNREACHABLE("no request in this state");
    }
}

void psync_start(struct psync *psync, const struct psync_config *config, struct buf *out) {
    *psync = (struct psync){.sm = {rules, PSYNC_PING}, .config = *config};
    (void)write_request(psync, PSYNC_PING, out);
}

static enum psync_event ask_next(struct psync *psync, struct buf *out) {
    unsigned next = psync->sm.state + 1;
    while (!write_request(psync, next, out)) next++;
    sm_move(&psync->sm, next);
    return PSYNC_EV_SEND;
}

static enum psync_event die(struct psync *psync, enum psync_event event) {
    sm_move(&psync->sm, PSYNC_DEAD);
    return event;
}

static bool is_passing(struct slice line) {
    return slice_starts(line, SLICE("-LOADING")) || slice_starts(line, SLICE("-NOMASTERLINK")) ||
           slice_starts(line, SLICE("-MASTERDOWN")) || slice_starts(line, SLICE("-BUSY"));
}

/* The words of an error line without its '-', cut so that WHY stays readable. */
static int shown(struct slice line) {
    return line.size > 200 ? 200 : (int)line.size;
}

static enum psync_event on_pong(struct psync *psync, struct slice line, struct buf *out,
                                struct why *why) {
    bool fine = line.data[0] == '+' || slice_starts(line, SLICE("-NOAUTH")) ||
                slice_starts(line, SLICE("-NOPERM")) ||
                slice_starts(line, SLICE("-ERR operation not permitted"));
    if (fine) return ask_next(psync, out);
    why_set(why, ERR_REFUSED, "the master answers PING with: %.*s", shown(line),
            (const char *)line.data);
    return die(psync, is_passing(line) ? PSYNC_EV_LATER : PSYNC_EV_REFUSED);
}

static enum psync_event on_auth(struct psync *psync, struct slice line, struct buf *out,
                                struct why *why) {
    if (line.data[0] == '+') return ask_next(psync, out);
    why_set(why, ERR_REFUSED, "Unable to AUTH to MASTER: %.*s", shown(line),
            (const char *)line.data);
    return die(psync, is_passing(line) ? PSYNC_EV_LATER : PSYNC_EV_REFUSED);
}

/* Masters may know less than we ask; only what changes the copy itself matters. */
static enum psync_event on_replconf(struct psync *psync, struct slice line, struct buf *out,
                                    struct why *why) {
    bool matters = psync->config.need_filter &&
                   (psync->sm.state == PSYNC_RDB_ONLY || psync->sm.state == PSYNC_FILTER);
    bool no_rights = slice_starts(line, SLICE("-NOAUTH")) || slice_starts(line, SLICE("-NOPERM"));
    if (line.data[0] == '+' || (!matters && !no_rights)) return ask_next(psync, out);
    why_set(why, ERR_REFUSED, "the master refuses REPLCONF (%s): %.*s", sm_name(&psync->sm),
            shown(line), (const char *)line.data);
    return die(psync, PSYNC_EV_REFUSED);
}

static bool read_id(struct slice text, char id[PSYNC_ID_BYTES + 1]) {
    if (text.size != PSYNC_ID_BYTES) return false;
    for (size_t i = 0; i < PSYNC_ID_BYTES; i++) {
        uint8_t c = text.data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')))
            return false;
    }
    memcpy(id, text.data, PSYNC_ID_BYTES);
    id[PSYNC_ID_BYTES] = '\0';
    return true;
}

static enum psync_event broken(struct psync *psync, struct slice line, struct why *why) {
    why_set(why, ERR_PROTO, "the master answers %s with: %.*s", psync_name(psync), shown(line),
            (const char *)line.data);
    return die(psync, PSYNC_EV_REFUSED);
}

static enum psync_event on_fullresync(struct psync *psync, struct slice line, struct why *why) {
    struct slice rest = slice_drop(line, sizeof "+FULLRESYNC " - 1);
    const uint8_t *space = rest.size ? memchr(rest.data, ' ', rest.size) : NULL;
    char id[PSYNC_ID_BYTES + 1];
    int64_t offset = 0;
    if (space == NULL) return broken(psync, line, why);
    size_t size = (size_t)(space - rest.data);
    if (!read_id(slice_take(rest, size), id)) return broken(psync, line, why);
    if (!slice_to_int(slice_drop(rest, size + 1), &offset) || offset < 0)
        return broken(psync, line, why);
    memcpy(psync->replid, id, sizeof id);
    psync->offset = offset;
    sm_move(&psync->sm, PSYNC_HEAD);
    return PSYNC_EV_FULL;
}

static enum psync_event on_continue(struct psync *psync, struct slice line, struct why *why) {
    struct slice rest = slice_drop(line, sizeof "+CONTINUE" - 1);
    while (rest.size > 0 && rest.data[0] == ' ') rest = slice_drop(rest, 1);
    char id[PSYNC_ID_BYTES + 1];
    if (strlen(psync->config.replid) != PSYNC_ID_BYTES) return broken(psync, line, why);
    memcpy(id, psync->config.replid, sizeof id);
    if (rest.size > 0 && !read_id(rest, id)) return broken(psync, line, why);
    psync->id_changed = memcmp(id, psync->config.replid, PSYNC_ID_BYTES) != 0;
    memcpy(psync->replid, id, sizeof id);
    psync->offset = psync->config.next_offset - 1;
    sm_move(&psync->sm, PSYNC_STREAM);
    return PSYNC_EV_CONTINUE;
}

static enum psync_event on_psync(struct psync *psync, struct slice line, struct why *why) {
    if (slice_starts(line, SLICE("+FULLRESYNC "))) return on_fullresync(psync, line, why);
    if (slice_starts(line, SLICE("+CONTINUE"))) return on_continue(psync, line, why);
    if (is_passing(line)) {
        why_set(why, ERR_REFUSED, "the master cannot serve replicas now: %.*s", shown(line),
                (const char *)line.data);
        return die(psync, PSYNC_EV_LATER);
    }
    if (line.data[0] != '-') return broken(psync, line, why);
    why_set(
        why, ERR_REFUSED,
        "the master refuses %s: %.*s. Clouds hide it: ask theirs for the renamed command, allow "
        "+psync +replconf +ping for the user, or use capture `lane`",
        psync_name(psync), shown(line), (const char *)line.data);
    return die(psync, PSYNC_EV_REFUSED);
}

/* "$<size>" or "$EOF:<mark>". */
static enum psync_event on_head(struct psync *psync, struct slice line, struct why *why) {
    int64_t size = 0;
    if (line.data[0] == '-') {
        why_set(why, ERR_REFUSED, "the master gave up the copy: %.*s", shown(line),
                (const char *)line.data);
        return die(psync, PSYNC_EV_LATER);
    }
    if (slice_starts(line, SLICE(MARK_HEAD)) &&
        line.size == sizeof MARK_HEAD - 1 + PSYNC_ID_BYTES) {
        memcpy(psync->mark, line.data + sizeof MARK_HEAD - 1, PSYNC_ID_BYTES);
        psync->rdb_marked = true;
    } else if (line.data[0] == '$' && slice_to_int(slice_drop(line, 1), &size) && size > 0) {
        psync->rdb_left = psync->rdb_size = (uint64_t)size;
    } else {
        why_set(why, ERR_PROTO, "the copy begins with: %.*s", shown(line), (const char *)line.data);
        return die(psync, PSYNC_EV_REFUSED);
    }
    sm_move(&psync->sm, PSYNC_RDB);
    return PSYNC_EV_MORE;
}

static enum psync_event on_line(struct psync *psync, struct slice line, struct buf *out,
                                struct why *why) {
    switch ((enum psync_state)psync->sm.state) {
    case PSYNC_PING: return on_pong(psync, line, out, why);
    case PSYNC_AUTH: return on_auth(psync, line, out, why);
    case PSYNC_PORT:
    case PSYNC_ADDRESS:
    case PSYNC_CAPA:
    case PSYNC_VERSION:
    case PSYNC_RDB_ONLY:
    case PSYNC_FILTER: return on_replconf(psync, line, out, why);
    case PSYNC_ASK: return on_psync(psync, line, why);
    case PSYNC_HEAD: return on_head(psync, line, why);
    case PSYNC_RDB:
    case PSYNC_STREAM:
    case PSYNC_DEAD:
    case PSYNC_STATES:
    default: UNREACHABLE("no line in this state");
    }
}

static enum psync_event give(struct psync *psync, struct slice bytes, size_t size,
                             size_t *used_bytes) {
    psync->rdb = slice_take(bytes, size);
    *used_bytes = size;
    return PSYNC_EV_BYTES;
}

static enum psync_event rdb_ends(struct psync *psync) {
    sm_move(&psync->sm, PSYNC_STREAM);
    return PSYNC_EV_RDB_END;
}

static enum psync_event feed_sized(struct psync *psync, struct slice bytes, size_t *used_bytes) {
    if (psync->rdb_left == 0) return rdb_ends(psync);
    if (bytes.size == 0) return PSYNC_EV_MORE;
    size_t size = bytes.size < psync->rdb_left ? bytes.size : (size_t)psync->rdb_left;
    psync->rdb_left -= size;
    return give(psync, bytes, size, used_bytes);
}

/* The mark may be cut anywhere by the network: what could be its beginning is not taken yet. */
static enum psync_event feed_marked(struct psync *psync, struct slice bytes, size_t *used_bytes) {
    const uint8_t *mark = bytes.size >= PSYNC_ID_BYTES
                              ? memmem(bytes.data, bytes.size, psync->mark, PSYNC_ID_BYTES)
                              : NULL;
    if (mark == bytes.data && mark != NULL) {
        *used_bytes = PSYNC_ID_BYTES;
        return rdb_ends(psync);
    }
    if (mark != NULL) return give(psync, bytes, (size_t)(mark - bytes.data), used_bytes);
    if (bytes.size < PSYNC_ID_BYTES) return PSYNC_EV_MORE;
    return give(psync, bytes, bytes.size - (PSYNC_ID_BYTES - 1), used_bytes);
}

enum psync_event psync_feed(struct psync *psync, struct slice bytes, size_t *used_bytes,
                            struct buf *out, struct why *why) {
    *used_bytes = 0;
    if (psync->sm.state == PSYNC_STREAM || psync->sm.state == PSYNC_DEAD) return PSYNC_EV_MORE;
    if (psync->sm.state == PSYNC_RDB)
        return psync->rdb_marked ? feed_marked(psync, bytes, used_bytes)
                                 : feed_sized(psync, bytes, used_bytes);
    const uint8_t *end = bytes.size ? memchr(bytes.data, '\n', bytes.size) : NULL;
    if (end == NULL) {
        if (bytes.size <= LINE_BYTES_MAX) return PSYNC_EV_MORE;
        why_set(why, ERR_PROTO, "the master sends a line without end");
        return die(psync, PSYNC_EV_REFUSED);
    }
    size_t size = (size_t)(end - bytes.data);
    struct slice line = slice_take(bytes, size);
    *used_bytes = size + 1;
    if (line.size > 0 && line.data[line.size - 1] == '\r') line.size--;
    if (line.size == 0) return PSYNC_EV_SEND; /* a sign of life; OUT has nothing, come again */
    enum psync_event event = on_line(psync, line, out, why);
    return event == PSYNC_EV_MORE ? PSYNC_EV_SEND : event;
}

void psync_write_ack(struct buf *out, int64_t offset) {
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64, offset);
    resp_write_words(out, "REPLCONF", "ACK", text, NULL);
}
