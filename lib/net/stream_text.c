/* stream_text.c -- a stream's addresses as text, made when somebody asks. */
#include "lib/net/stream_inside.h"

#include "lib/base/mem.h"
#include "lib/net/address.h"

static const char *text_of(struct stream *stream, bool peer) {
    char **kept = peer ? &stream->peer : &stream->local;
    if (*kept) return *kept;
    char text[ENDPOINT_TEXT];
    bool dialled = stream_dial_text(stream) != NULL;
    /* What was dialled says more than the address that a name led to. */
    if (peer && dialled) return *kept = mem_strdup(stream_dial_text(stream));
    if (stream->fd < 0) return "unknown";
    return *kept = mem_strdup(address_of_socket(stream->fd, peer, text));
}

const char *stream_peer(const struct stream *stream) {
    return text_of((struct stream *)(uintptr_t)stream, true);
}

const char *stream_local(const struct stream *stream) {
    return text_of((struct stream *)(uintptr_t)stream, false);
}
