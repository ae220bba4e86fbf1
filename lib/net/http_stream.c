/* http_stream.c -- answers without an end: a bounded queue between any thread and MHD's. */
#include "lib/base/mem.h"
#include "lib/net/http_inside.h"

#define QUEUE_BYTES_MAX (1u << 20)

/* Shared by its owner and by MHD's response: whoever leaves last frees it. */
struct http_stream {
    pthread_mutex_t lock;
    struct MHD_Connection *connection;
    struct buf queue;  /* all under the lock */
    bool suspended;    /* MHD waits for more */
    bool closed, gone; /* the owner has left; MHD has left */
};

static void free_stream(struct http_stream *stream) {
    pthread_mutex_destroy(&stream->lock);
    buf_close(&stream->queue);
    mem_free(stream);
}

/* MHD wants at most MAX bytes. */
static ssize_t on_read(void *self, uint64_t at, char *out, size_t max) {
    (void)at;
    struct http_stream *stream = self;
    ssize_t size = 0;
    pthread_mutex_lock(&stream->lock);
    size_t queued = buf_size(&stream->queue);
    if (queued) {
        size = (ssize_t)(queued < max ? queued : max);
        memcpy(out, buf_slice(&stream->queue).data, (size_t)size);
        buf_consume(&stream->queue, (size_t)size);
    } else if (stream->closed) {
        size = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        stream->suspended = true;
        MHD_suspend_connection(stream->connection);
    }
    pthread_mutex_unlock(&stream->lock);
    return size;
}

static void on_gone(void *self) {
    struct http_stream *stream = self;
    pthread_mutex_lock(&stream->lock);
    stream->gone = true;
    stream->suspended = false;
    bool last = stream->closed;
    pthread_mutex_unlock(&stream->lock);
    if (last) free_stream(stream);
}

struct http_stream *http_stream_open(struct http_request *request, const char *type) {
    struct http_stream *stream = NEW(struct http_stream);
    pthread_mutex_init(&stream->lock, NULL);
    stream->connection = request->connection;
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, on_read, stream, on_gone);
    http_set_header(request, "Cache-Control", "no-store");
    http_submit(request, 200, type, response);
    return stream;
}

/* Lock held. */
static void wake(struct http_stream *stream) {
    if (!stream->suspended) return;
    stream->suspended = false;
    MHD_resume_connection(stream->connection);
}

bool http_stream_send(struct http_stream *stream, struct slice bytes) {
    pthread_mutex_lock(&stream->lock);
    bool taken = !stream->gone && buf_size(&stream->queue) + bytes.size <= QUEUE_BYTES_MAX;
    if (taken) {
        buf_add(&stream->queue, bytes);
        wake(stream);
    }
    pthread_mutex_unlock(&stream->lock);
    return taken;
}

bool http_stream_is_gone(struct http_stream *stream) {
    pthread_mutex_lock(&stream->lock);
    bool gone = stream->gone;
    pthread_mutex_unlock(&stream->lock);
    return gone;
}

void http_stream_close(struct http_stream *stream) {
    if (stream == NULL) return;
    pthread_mutex_lock(&stream->lock);
    stream->closed = true;
    bool last = stream->gone;
    if (!last) wake(stream);
    pthread_mutex_unlock(&stream->lock);
    if (last) free_stream(stream);
}
