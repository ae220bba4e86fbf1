/* rblock.h -- a small blocking client of the Redis protocol, for helper threads and tools.
 *
 *     rblock_open(&client, &endpoint, &options, &why)     connect, TLS, AUTH, SELECT
 *     rblock_append(client, argc, argv) ...               into the pipeline, in memory
 *     rblock_flush(client, &why)                          send it
 *     rblock_read(client, &reply, &why)  n times          each reply; dead with the next call
 *     rblock_close(client)
 *
 * Any failure but a refused append leaves the connection unusable: close and open anew. While it
 * sends, replies that arrive meanwhile are read into memory, so that a long pipeline cannot
 * deadlock against a server that waits for us to read; the bound for that is max_unread_bytes.
 * One thread at a time; rblock_interrupt() may come from any.
 * Never on a loop.
 */
#ifndef LIB_CONTROL_RBLOCK_H
#define LIB_CONTROL_RBLOCK_H

#include "lib/base/secret.h"
#include "lib/base/slice.h"
#include "lib/base/why.h"
#include "lib/net/endpoint.h"

struct rblock;
struct resp_reply;

struct rblock_options {
    const char *user;              /* NULL: the default user */
    const struct secret *password; /* NULL or unset: no AUTH */
    const char *name;              /* CLIENT SETNAME; NULL: none */
    bool resp3;
    int64_t db;
    uint32_t connect_timeout_ms; /* 0: 5000 */
    uint32_t io_timeout_ms;      /* silence of the peer while we wait for it; 0: 60000 */
    size_t max_reply_bytes;      /* 0: 512 MiB + 1 MiB */
    size_t max_unread_bytes;     /* 0: 1 GiB */
};

/* OPTIONS may be NULL. ERR_REFUSED with the server's words for a wrong password. */
MUST_CHECK enum err rblock_open(struct rblock **client, const struct endpoint *endpoint,
                                const struct rblock_options *options, struct why *why);
void rblock_close(struct rblock *client); /* NULL is fine */

void rblock_append(struct rblock *client, size_t argc, const struct slice *argv);
void rblock_append_raw(struct rblock *client, struct slice bytes); /* formatted commands */
size_t rblock_appended_bytes(const struct rblock *client);         /* not yet flushed */
MUST_CHECK enum err rblock_flush(struct rblock *client, struct why *why);

/* The next reply, flushing first what was appended. It points into the client and dies with the
 * next call. ERR_TIMEOUT after io_timeout_ms of silence, ERR_STOPPED when interrupted. */
MUST_CHECK enum err rblock_read(struct rblock *client, const struct resp_reply **reply,
                                struct why *why);

/* One command and its reply; an error reply is a reply. */
MUST_CHECK enum err rblock_call(struct rblock *client, size_t argc, const struct slice *argv,
                                const struct resp_reply **reply, struct why *why);
/* The same for words without spaces: rblock_words(c, &reply, &why, "CONFIG GET maxmemory"). */
MUST_CHECK enum err rblock_words(struct rblock *client, const struct resp_reply **reply,
                                 struct why *why, const char *words);

/* Make a waiting or later call return ERR_STOPPED. From any thread, until closed. */
void rblock_interrupt(struct rblock *client);

const char *rblock_peer(const struct rblock *client);
int rblock_fd(const struct rblock *client);

#endif
