/* greet.c -- the first words on a raw connection. See greet.h. */
#include "syncer/greet.h"

#include "lib/base/clock.h"
#include "lib/redis/resp.h"
#include "syncer/wire.h"

#define ANSWER_MS 10000

static size_t write_words(const struct config_side *side, const char *name, struct buf *out) {
    resp_write_words(out, "CLIENT", "SETNAME", name, NULL);
    if (!secret_is_set(&side->auth.password)) return 1;
    struct slice user = slice_text(side->auth.user ? side->auth.user : ""), password = secret_slice(&side->auth.password);
    buf_clear(out);
    if (side->auth.user) resp_write_command(out, 3, (struct slice[]){SLICE("AUTH"), user, password});
    else resp_write_command(out, 2, (struct slice[]){SLICE("AUTH"), password});
    resp_write_words(out, "CLIENT", "SETNAME", name, NULL);
    return 2;
}

enum err wire_greet(struct wire *wire, const struct config_side *side, const char *name, struct buf *in, struct why *why) {
    struct buf out = {0};
    size_t answers = write_words(side, name, &out);
    uint64_t until = clock_mono_ms(clock_real()) + ANSWER_MS;
    enum err err = wire_write(wire, buf_slice(&out), why);
    secret_wipe(out.data, out.cap);
    buf_close(&out);
    for (size_t i = 0; i < answers && err == OK;) {
        struct resp_token token;
        size_t used = 0, got = 0;
        enum step step = resp_next(&resp_limits_server, buf_slice(in), &token, &used, why);
        if (step == STEP_FAIL) return ERR_PROTO;
        if (step == STEP_DONE) {
            if (token.kind == RESP_ERROR && i == 0 && answers == 2)
                return why_set(why, ERR_REFUSED, "it refuses the password: %.*s", (int)(token.text.size < 200 ? token.text.size : 200),
                               (const char *)token.text.data);
            buf_consume(in, used);
            i++;
            continue;
        }
        if (clock_mono_ms(clock_real()) > until) return why_set(why, ERR_TIMEOUT, "it does not answer");
        err = wire_read(wire, buf_room(in, 4096), 4096, 200, &got, why);
        if (err == OK) buf_filled(in, got);
    }
    return err;
}
