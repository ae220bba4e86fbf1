/* effect_answer.c -- taking the primary side's answers apart. See effect.h, effect_inside.h. */
#include "gateway/effect_inside.h"

/* A head that is longer is no integer and no length; only errors and statuses are, and of those
 * the beginning is enough. */
#define LINE_BYTES_MAX EFFECT_HEAD_BYTES

static struct slice first_line(struct slice bytes, bool *whole) {
    size_t window = bytes.size < LINE_BYTES_MAX ? bytes.size : LINE_BYTES_MAX;
    const uint8_t *end = window > 0 ? memchr(bytes.data, '\r', window) : NULL;
    *whole = end != NULL;
    return slice_take(bytes, end != NULL ? (size_t)(end - bytes.data) : window);
}

bool effect_head_read(struct slice reply, struct effect_head *head) {
    bool whole;
    if (slice_equal(reply, SLICE("+OK\r\n"))) { /* nearly always */
        *head = (struct effect_head){.kind = RESP_SIMPLE, .number = -1, .text = SLICE("OK")};
        return true;
    }
    struct slice line = first_line(reply, &whole);
    if (line.size == 0) return false;
    *head = (struct effect_head){.number = -1, .text = slice_drop(line, 1)};
    switch (line.data[0]) {
    case '-': head->kind = RESP_ERROR; break;
    case '!': head->kind = RESP_BLOB_ERROR; break;
    case '+': head->kind = RESP_SIMPLE; break;
    case ':': head->kind = RESP_INT; break;
    case '$': head->kind = RESP_BULK; break;
    case '=': head->kind = RESP_VERBATIM; break;
    case '*': head->kind = RESP_ARRAY; break;
    case '~': head->kind = RESP_SET; break;
    case '%': head->kind = RESP_MAP; break;
    case ',': head->kind = RESP_DOUBLE; break;
    case '#': head->kind = RESP_BOOL; break;
    case '(': head->kind = RESP_BIG; break;
    case '_': head->kind = RESP_NULL; break;
    default: return false;
    }
    head->error = head->kind == RESP_ERROR || head->kind == RESP_BLOB_ERROR;
    head->null = head->kind == RESP_NULL;
    if (head->error || head->kind == RESP_SIMPLE) return true;
    if (!whole) return false;
    bool counts = head->kind == RESP_INT || head->kind == RESP_BULK || head->kind == RESP_ARRAY ||
                  head->kind == RESP_SET || head->kind == RESP_MAP;
    if (!counts) return true;
    if (!slice_to_int(head->text, &head->number)) return false;
    if (head->kind != RESP_INT && head->number < 0) {
        head->null = true;
        head->kind = RESP_NULL;
    }
    return true;
}

bool effect_reply_take(struct slice *rest, struct slice *reply) {
    struct resp_skip skip = {0};
    size_t used = 0;
    struct why why;
    if (resp_skip_next(&skip, &resp_limits_server, *rest, &used, &why) != STEP_DONE) return false;
    *reply = slice_take(*rest, used);
    *rest = slice_drop(*rest, used);
    return true;
}

bool effect_token_take(struct slice *rest, struct resp_token *token) {
    size_t used = 0;
    struct why why;
    if (resp_next(&resp_limits_server, *rest, token, &used, &why) != STEP_DONE) return false;
    *rest = slice_drop(*rest, used);
    return true;
}

bool effect_text_take(struct slice *rest, struct slice *text) {
    struct resp_token token;
    if (!effect_token_take(rest, &token)) return false;
    if (token.kind != RESP_BULK && token.kind != RESP_SIMPLE && token.kind != RESP_DOUBLE)
        return false;
    *text = token.text;
    return true;
}

bool effect_list_take(struct slice *rest, size_t *count) {
    struct resp_token token;
    if (!effect_token_take(rest, &token)) return false;
    if (token.kind != RESP_ARRAY && token.kind != RESP_SET && token.kind != RESP_MAP) return false;
    *count = (size_t)token.number;
    return true;
}

bool effect_exec_find(struct slice answer, size_t commands, struct slice *exec,
                      struct slice *refusal) {
    struct slice rest = answer;
    struct effect_head head;
    *refusal = slice_from(NULL, 0);
    for (size_t i = 0; i < commands + 2; i++) {
        if (!effect_reply_take(&rest, exec) || !effect_head_read(*exec, &head)) return false;
        if (head.error && refusal->size == 0) *refusal = head.text;
    }
    /* A queueing error must have made EXEC fail; else somebody else counts differently. */
    return rest.size == 0 && IMPLIES(refusal->size > 0, head.error);
}

/* Of an effect that is a MULTI .. EXEC: the reply of its first command. */
static bool wrapped_answer(const struct effect *effect, struct slice answer, struct slice *own,
                           struct slice *refusal) {
    struct slice exec;
    size_t count;
    if (!effect_exec_find(answer, effect->replies - 2, &exec, refusal)) return false;
    *own = exec;
    if (refusal->size > 0) return true;
    return effect_list_take(&exec, &count) && count == effect->replies - 2 &&
           effect_reply_take(&exec, own);
}

/* The first reply with an error in it; ANSWER's last one when there is none. */
static struct slice first_error(struct slice answer) {
    struct slice reply = answer;
    struct effect_head head;
    while (answer.size > 0 && effect_reply_take(&answer, &reply))
        if (effect_head_read(reply, &head) && head.error) break;
    return reply;
}

/* EXEC's answer without what we put into the block. */
static struct slice without_extras(const struct effect *effect, struct slice exec,
                                   struct buf *scratch) {
    const struct effect_inside *in = effect->inside;
    struct slice rest = exec, reply;
    size_t count;
    if (effect->replies == in->part_count + 2 || !effect_list_take(&rest, &count)) return exec;
    buf_clear(scratch);
    resp_write_array(scratch, in->part_count);
    for (size_t i = 0; i < in->part_count; i++) {
        if (!effect_reply_take(&rest, &reply)) return exec;
        buf_add(scratch, reply);
        if (in->parts[i]->inside->extra != EXTRA_NONE && !effect_reply_take(&rest, &reply))
            return exec;
    }
    return buf_slice(scratch);
}

bool effect_answers_as_is(const struct effect *effect) {
    return !effect->is_block && !effect->inside->wrapped;
}

struct slice effect_answer(const struct effect *effect, struct slice answer, struct buf *scratch) {
    struct slice own, refusal;
    if (effect->is_block) {
        if (!effect_exec_find(answer, effect->replies - 2, &own, &refusal))
            return first_error(answer);
        return without_extras(effect, own, scratch);
    }
    if (!effect->inside->wrapped) return answer;
    if (!wrapped_answer(effect, answer, &own, &refusal) || refusal.size > 0)
        return first_error(answer);
    return own;
}

bool effect_would_block(const struct effect *effect, struct slice answer) {
    struct slice own, refusal;
    struct effect_head head;
    if (!effect->blocking || !wrapped_answer(effect, answer, &own, &refusal)) return false;
    return refusal.size == 0 && effect_head_read(own, &head) && head.null;
}

struct slice effect_refusal(const struct effect *effect, struct slice answer) {
    struct slice exec, refusal = {0};
    struct effect_head head;
    if (effect->is_block || effect->inside->wrapped) {
        if (!effect_exec_find(answer, effect->replies - 2, &exec, &refusal))
            return slice_from(NULL, 0);
        return refusal;
    }
    if (effect_head_read(answer, &head) && head.error) return head.text;
    return refusal;
}
