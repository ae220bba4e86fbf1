/* greeting.c -- how a connection to a Redis begins. See greeting.h. */
#include "lib/control/greeting.h"

#include <stdio.h>

static void add_step(struct greeting *greeting, enum greeting_step step) {
    ASSERT(greeting->count < sizeof greeting->steps / sizeof *greeting->steps);
    greeting->steps[greeting->count++] = step;
}

static void write_hello(const struct greeting_wish *wish, bool with_password, struct buf *out) {
    struct slice words[] = {SLICE("HELLO"),
                            SLICE("3"),
                            SLICE("AUTH"),
                            slice_text(wish->user ? wish->user : "default"),
                            {NULL, 0}};
    if (with_password) words[4] = secret_slice(wish->password);
    resp_write_command(out, with_password ? 5 : 2, words);
}

static void write_auth(const struct greeting_wish *wish, struct buf *out) {
    /* Without a user the old form: servers before 6.0 know no other. */
    struct slice words[3] = {SLICE("AUTH")};
    size_t count = 1;
    if (wish->user) words[count++] = slice_text(wish->user);
    words[count++] = secret_slice(wish->password);
    resp_write_command(out, count, words);
}

void greeting_write(struct greeting *greeting, const struct greeting_wish *wish, struct buf *out) {
    *greeting = (struct greeting){0};
    bool with_password = wish->password && secret_is_set(wish->password);
    if (wish->resp3) {
        write_hello(wish, with_password, out);
        add_step(greeting, GREETING_HELLO);
    } else if (with_password) {
        write_auth(wish, out);
        add_step(greeting, GREETING_AUTH);
    }
    if (wish->name) {
        resp_write_words(out, "CLIENT", "SETNAME", wish->name, NULL);
        add_step(greeting, GREETING_NAME);
    }
    if (wish->db) {
        char number[24];
        (void)snprintf(number, sizeof number, "%lld", (long long)wish->db);
        resp_write_words(out, "SELECT", number, NULL);
        add_step(greeting, GREETING_SELECT);
    }
}

enum err greeting_take(struct greeting *greeting, const struct resp_reply *reply, struct why *why) {
    static const char *const doing[] = {"HELLO 3", "AUTH", "CLIENT SETNAME", "SELECT"};
    ASSERT(!greeting_is_done(greeting));
    enum greeting_step step = greeting->steps[greeting->answered++];
    if (!resp_reply_is_error(reply) || step == GREETING_NAME) return OK;
    return why_set(why, ERR_REFUSED, "%s: the server says: %.*s", doing[step],
                   (int)(reply->text.size < 300 ? reply->text.size : 300),
                   (const char *)reply->text.data);
}
