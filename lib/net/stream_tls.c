/* stream_tls.c -- TLS between a stream's socket and its owner.
 *
 *     socket -> cipher_in -> SSL -> plain_bytes -> owner
 *     owner -> plain -> SSL -> out -> socket
 *
 * OpenSSL reads and writes through a BIO of ours that ends in the stream's queues, so that it never
 * touches the socket and nothing is copied twice.
 */
#include "lib/net/stream_inside.h"

#include "lib/base/mem.h"
#include "lib/net/loop_inside.h"

#include <limits.h>

#define CIPHER_QUEUE_BYTES                                                                         \
    (256u * 1024) /* beyond it the rest stays plain, so memory is counted once */
#define ENCRYPT_BYTES (64u * 1024)

/* ---- the BIO ---- */

static int bio_read(BIO *bio, char *out, size_t size, size_t *got) {
    struct stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    size_t take = stream->cipher_in.size < size ? stream->cipher_in.size : size;
    *got = take;
    if (take == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(out, stream->cipher_in.data, take);
    stream->cipher_in = slice_drop(stream->cipher_in, take);
    return 1;
}

static int bio_write(BIO *bio, const char *bytes, size_t size, size_t *wrote) {
    struct stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    outq_add(&stream->out, stream->loop, slice_from(bytes, size));
    *wrote = size;
    return 1;
}

static long bio_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_PUSH || command == BIO_CTRL_POP;
}

static BIO_METHOD *bio_method;

static void make_bio_method(void) {
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "drawbridge stream");
    ASSERT(bio_method != NULL);
    BIO_meth_set_read_ex(bio_method, bio_read);
    BIO_meth_set_write_ex(bio_method, bio_write);
    BIO_meth_set_ctrl(bio_method, bio_control);
}

/* ---- life ---- */

enum err stream_tls_begin(struct stream *stream, const char *host, bool client, struct why *why) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_bio_method);
    enum err err = tls_new_session(stream->tls, host, client, &stream->session, why);
    if (err) return err;
    BIO *bio = BIO_new(bio_method);
    ASSERT(bio != NULL);
    BIO_set_data(bio, stream);
    BIO_set_init(bio, 1);
    SSL_set_bio(stream->session, bio, bio);
    struct loop *loop = stream->loop;
    if (loop->plain_bytes == NULL) loop->plain_bytes = mem_alloc(LOOP_PLAIN_BYTES);
    return OK;
}

void stream_tls_close(struct stream *stream) {
    if (stream->session) SSL_free(stream->session);
    stream->session = NULL;
    tls_close(stream->tls);
    stream->tls = NULL;
    buf_close(&stream->kept_in);
    stream->cipher_in = slice_from(NULL, 0);
}

void stream_tls_say_bye(struct stream *stream) {
    if (stream->said_bye) return;
    stream->said_bye = true;
    ERR_clear_error();
    (void)SSL_shutdown(stream->session); /* we do not wait for the other's */
    ERR_clear_error();
}

/* ---- reading ---- */

static void fail(struct stream *stream, const char *doing) {
    struct why why;
    char what[ENDPOINT_TEXT + 40];
    (void)snprintf(what, sizeof what, "%s %s", doing, stream_peer(stream));
    enum err err = tls_why(stream->session, ERR_PROTO, what, &why);
    stream_flush(stream); /* OpenSSL has queued an alert that tells the peer */
    stream_end(stream, err, &why);
}

/* True when it is done and the stream is open. */
static bool shake_hands(struct stream *stream) {
    ERR_clear_error();
    int code = SSL_do_handshake(stream->session);
    if (code == 1) {
        stream_opened(stream, true);
        return stream->state.state == STREAM_OPEN;
    }
    if (SSL_get_error(stream->session, code) == SSL_ERROR_WANT_READ) return false;
    fail(stream, "TLS handshake with");
    return false;
}

/* Decrypt until the buffer is full or nothing is left; then *RESULT says why it stopped. */
static size_t decrypt(struct stream *stream, int *result) {
    uint8_t *room = stream->loop->plain_bytes;
    size_t size = 0;
    *result = SSL_ERROR_NONE;
    ERR_clear_error();
    while (size < LOOP_PLAIN_BYTES) {
        int got = SSL_read(stream->session, room + size, (int)(LOOP_PLAIN_BYTES - size));
        if (got <= 0) {
            *result = SSL_get_error(stream->session, got);
            break;
        }
        size += (size_t)got;
    }
    return size;
}

static void pump(struct stream *stream) {
    if (stream->state.state == STREAM_HANDSHAKE && !shake_hands(stream)) return;
    while (stream_wants_bytes(stream)) {
        int result;
        size_t size = decrypt(stream, &result);
        /* What went wrong after these bytes is remembered by the session. */
        stream_deliver(stream, slice_from(stream->loop->plain_bytes, size));
        if (stream->state.state != STREAM_OPEN || result == SSL_ERROR_WANT_READ) return;
        if (result == SSL_ERROR_NONE) continue;
        if (result == SSL_ERROR_ZERO_RETURN)
            stream_read_ended(stream);
        else
            fail(stream, "read from");
        return;
    }
}

/* Keep what the session has not read: its bytes are the loop's and will be gone. */
static void keep_rest(struct stream *stream) {
    struct buf rest = {0};
    if (stream->state.state != STREAM_ENDED) buf_add(&rest, stream->cipher_in);
    buf_close(&stream->kept_in);
    stream->kept_in = rest;
    stream->cipher_in = slice_from(NULL, 0);
}

void stream_tls_feed(struct stream *stream, struct slice cipher) {
    if (buf_size(&stream->kept_in)) {
        buf_add(&stream->kept_in, cipher);
        cipher = buf_slice(&stream->kept_in);
    }
    stream->cipher_in = cipher;
    pump(stream);
    if (stream->cipher_in.size || buf_size(&stream->kept_in)) keep_rest(stream);
    if (stream->state.state != STREAM_ENDED && stream->out.bytes) stream_ask_flush(stream);
}

void stream_tls_resume(struct stream *stream) {
    stream_tls_feed(stream, slice_from(NULL, 0));
}

/* ---- writing ---- */

void stream_tls_encrypt(struct stream *stream) {
    ERR_clear_error();
    while (stream->plain.bytes && stream->out.bytes < CIPHER_QUEUE_BYTES) {
        struct iovec piece;
        size_t pieces = outq_pieces(&stream->plain, &piece, 1);
        ASSERT(pieces == 1);
        int size = (int)(piece.iov_len < ENCRYPT_BYTES ? piece.iov_len : ENCRYPT_BYTES);
        int wrote = SSL_write(stream->session, piece.iov_base, size);
        if (wrote <= 0) {
            if (SSL_get_error(stream->session, wrote) != SSL_ERROR_WANT_READ)
                fail(stream, "write to");
            return;
        }
        outq_consume(&stream->plain, stream->loop, (size_t)wrote);
    }
    if (stream->plain.bytes == 0 && stream->state.state == STREAM_CLOSING)
        stream_tls_say_bye(stream);
}
