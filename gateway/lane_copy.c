/* lane_copy.c -- a copy in the lane. See lane_copy.h. */
#include "gateway/lane_copy.h"

#include "lib/redis/dump.h"
#include "lib/redis/resp.h"

#include <inttypes.h>
#include <stdio.h>

#define HAS_PEXPIRETIME 70000

uint32_t lane_copy_ask(struct buf *out, int32_t version, struct slice key) {
    bool modern = version >= HAS_PEXPIRETIME;
    buf_add(out, SLICE("*1\r\n$5\r\nMULTI\r\n"));
    if (!modern) buf_add(out, SLICE("*1\r\n$4\r\nTIME\r\n"));
    resp_write_array(out, 2);
    resp_write_text(out, modern ? "PEXPIRETIME" : "PTTL");
    resp_write_bulk(out, key);
    resp_write_array(out, 2);
    resp_write_text(out, "DUMP");
    resp_write_bulk(out, key);
    buf_add(out, SLICE("*1\r\n$4\r\nEXEC\r\n"));
    return modern ? 4 : 5;
}

/* Takes one token from the front of REST; false when it is not one of KIND. */
static bool take(struct slice *rest, enum resp_kind kind, struct resp_token *token) {
    size_t used = 0;
    struct why why;
    if (resp_next(&resp_limits_server, *rest, token, &used, &why) != STEP_DONE) return false;
    *rest = slice_drop(*rest, used);
    return token->kind == kind;
}

/* The server's time of TIME, in milliseconds. */
static bool take_time(struct slice *rest, int64_t *now_ms) {
    struct resp_token t;
    int64_t seconds = 0, micros = 0;
    if (!take(rest, RESP_ARRAY, &t) || t.number != 2) return false;
    if (!take(rest, RESP_BULK, &t) || !slice_to_int(t.text, &seconds)) return false;
    if (!take(rest, RESP_BULK, &t) || !slice_to_int(t.text, &micros)) return false;
    if (seconds < 0 || seconds > INT64_MAX / 2000 || micros < 0 || micros >= 1000000) return false;
    *now_ms = seconds * 1000 + micros / 1000;
    return true;
}

enum lane_copied lane_copy_read(int32_t version, struct slice answer, struct lane_value *value) {
    bool modern = version >= HAS_PEXPIRETIME;
    struct slice rest = answer;
    struct resp_token t;
    int64_t now_ms = 0;
    for (int i = 0; i < (modern ? 3 : 4); i++) /* +OK, +QUEUED ... */
        if (!take(&rest, RESP_SIMPLE, &t)) return LANE_COPY_FAILED;
    if (!take(&rest, RESP_ARRAY, &t) || t.number != (modern ? 2 : 3)) return LANE_COPY_FAILED;
    if (!modern && !take_time(&rest, &now_ms)) return LANE_COPY_FAILED;
    if (!take(&rest, RESP_INT, &t)) return LANE_COPY_FAILED;
    int64_t when = t.number;
    bool is_value = take(&rest, RESP_BULK, &t);
    if (!is_value && t.kind == RESP_NULL && when == -2) return LANE_COPY_ABSENT;
    if (!is_value || when == -2 || when < -1) return LANE_COPY_FAILED;
    if (!modern && when >= 0) when = when > INT64_MAX - now_ms ? INT64_MAX - 1 : when + now_ms;
    *value = (struct lane_value){t.text, when == -1 ? 0 : when > 0 ? when : 1};
    return LANE_COPY_VALUE;
}

struct slice lane_copy_absent(int32_t version) {
    if (version >= HAS_PEXPIRETIME)
        return SLICE("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:-2\r\n$-1\r\n");
    return SLICE("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n*2\r\n$1\r\n1\r\n$1\r\n1\r\n"
                 ":-2\r\n$-1\r\n");
}

/* The newest RDB that F reads. */
static unsigned rdb_version(int32_t version) {
    return version >= 70200 ? 11 : version >= 70000 ? 10 : version >= 50000 ? 9 : 8;
}

void lane_copy_fit(int32_t version, struct lane_value *value, struct buf *scratch) {
    struct slice payload = value->payload, inside;
    struct why why;
    uint8_t type = 0;
    if (version == 0 || payload.size < DUMP_BYTES_MIN) return;
    const uint8_t *end = payload.data + payload.size;
    if ((unsigned)(end[-10] | end[-9] << 8) <= rdb_version(version)) return;
    if (dump_open(payload, &type, &inside, &why) != OK) return;
    buf_clear(scratch);
    if (dump_put_for(scratch, type, inside, rdb_version(version), &why) != OK) return;
    value->payload = buf_slice(scratch);
}

void lane_copy_restore(struct buf *out, struct slice key, const struct lane_value *value) {
    char deadline[24];
    (void)snprintf(deadline, sizeof deadline, "%" PRId64, value->deadline_ms);
    resp_write_array(out, value->deadline_ms != 0 ? 6 : 5);
    resp_write_text(out, "RESTORE");
    resp_write_bulk(out, key);
    resp_write_text(out, deadline);
    resp_write_bulk(out, value->payload);
    resp_write_text(out, "REPLACE");
    if (value->deadline_ms != 0) resp_write_text(out, "ABSTTL");
}

void lane_copy_delete(struct buf *out, struct slice key) {
    resp_write_array(out, 2);
    resp_write_text(out, "DEL");
    resp_write_bulk(out, key);
}
