/* reply.h -- write replies to a client, in the protocol version that it speaks (RESP2 or RESP3).
 *
 * Replies go to the client's output buffer; sending happens at the end of the turn, after the AOF
 * was written. Writing to a client that may not be answered (REPLY OFF, the master link, a fake
 * client that throws replies away) is allowed and does nothing. Collections: say how many elements,
 * then write them; when the number is not known yet use reply_later()/reply_later_done().
 */
#ifndef SERVER_REPLY_H
#define SERVER_REPLY_H

#include "lib/base/slice.h"

struct client;

void reply_ok(struct client *c);
void reply_simple(struct client *c, const char *text); /* +TEXT */
void reply_int(struct client *c, int64_t number);
void reply_bulk(struct client *c, struct slice bytes);
void reply_bulk_text(struct client *c, const char *text);
void reply_bulk_int(struct client *c, int64_t number); /* the number as a bulk string */
void reply_bulk_printf(struct client *c, const char *fmt, ...) PRINTF(2, 3);
void reply_null(struct client *c);           /* $-1 or _ */
void reply_null_array(struct client *c);     /* *-1 or _ */
void reply_bool(struct client *c, bool yes); /* :1 :0 or #t #f */
void reply_double(struct client *c,
                  double number); /* a bulk string or ",", as a score is written */
void reply_array(struct client *c, size_t count);
void reply_map(struct client *c, size_t pairs);                               /* *2n or %n */
void reply_set(struct client *c, size_t count);                               /* *n or ~n */
void reply_push(struct client *c, size_t count);                              /* *n or >n */
void reply_verbatim(struct client *c, const char *format, struct slice text); /* "txt" */
void reply_empty_array(struct client *c);
/* Bytes that are RESP already. */
void reply_raw(struct client *c, struct slice bytes);

/* A collection whose count comes later. Returns a mark for reply_later_done(). Nests. */
size_t reply_later(struct client *c);
void reply_later_array(struct client *c, size_t mark, size_t count);
void reply_later_map(struct client *c, size_t mark, size_t pairs);
void reply_later_set(struct client *c, size_t mark, size_t count);
/* Put a bulk string in front of what was written since MARK. */
void reply_later_bulk(struct client *c, size_t mark, struct slice bytes);

/* Errors. The text begins with its code ("ERR ...", "WRONGTYPE ..."), without '-'; line breaks in
 * it become spaces. Counts in errorstats, marks the command as failed. */
void reply_error(struct client *c, const char *fmt, ...) PRINTF(2, 3);
/* The same for an error that was counted before, where it arose: only marks the command. */
void reply_error_seen(struct client *c, const char *fmt, ...) PRINTF(2, 3);
void reply_wrong_type(struct client *c);
void reply_syntax_error(struct client *c);
void reply_not_an_integer(struct client *c); /* "ERR value is not an integer or out of range" */
void reply_no_such_key(struct client *c);
void reply_wrong_arity(struct client *c); /* "ERR wrong number of arguments for 'x' command" */
/* What a container command says to a subcommand that it does not have. */
void reply_unknown_subcommand(struct client *c);
/* The reply of X HELP: the lines, NULL at the end, framed as Redis does. */
void reply_help(struct client *c, const char *const *lines);

#endif
