/* test_http.c -- requests reach the handler whole, and each gets its answer, now or later. */
#include "lib/base/mem.h"
#include "lib/net/http.h"
#include "lib/net/mailbox.h"
#include "lib/net/metrics_http.h"
#include "tests/support/certs.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static int connect_to(const struct endpoint *to) {
    struct sockaddr_in tcp = {.sin_family = AF_INET, .sin_port = htons(to->port)};
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    tcp.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memcpy(local.sun_path, to->path, sizeof to->path);
    bool is_unix = to->kind == ENDPOINT_UNIX;
    int fd = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM, 0);
    int code = is_unix ? connect(fd, (struct sockaddr *)&local, sizeof local)
                       : connect(fd, (struct sockaddr *)&tcp, sizeof tcp);
    assert_int_equal(code, 0);
    return fd;
}

static void send_all(int fd, struct slice bytes) {
    while (bytes.size) {
        ssize_t sent = send(fd, bytes.data, bytes.size, MSG_NOSIGNAL);
        if (sent <= 0) return; /* a server may refuse before it has read all */
        bytes = slice_drop(bytes, (size_t)sent);
    }
}

/* Send REQUEST and read until the server closes, or until WANTED is in what came. */
static void ask(const struct endpoint *to, struct slice request, const char *wanted,
                struct buf *got) {
    int fd = connect_to(to);
    send_all(fd, request);
    for (;;) {
        ssize_t size = recv(fd, buf_room(got, 65536), 65536, 0);
        if (size <= 0) break;
        buf_filled(got, (size_t)size);
        if (wanted && strstr(buf_text(got), wanted)) break;
    }
    close(fd);
    if (wanted && strstr(buf_text(got), wanted) == NULL)
        fail_msg("no '%s' in: %.500s", wanted, buf_text(got));
}

#define GET(path) SLICE("GET " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

/* ---- a handler with all the ways to answer ---- */

struct later {
    struct mail mail;
    struct http_request *request;
};

static struct inbox *inbox;

static void handler(void *self, struct http_request *request) {
    (void)self;
    struct buf body = {0};
    if (strcmp(http_path(request), "/later") == 0 || strcmp(http_path(request), "/stream") == 0) {
        struct later *later = NEW(struct later);
        later->request = request;
        assert_true(inbox_post(inbox, &later->mail));
        return;
    }
    if (strcmp(http_path(request), "/nothing") == 0) {
        http_answer(request, 204, "text/plain", NULL);
        return;
    }
    const char *who = http_query(request, "who"), *agent = http_header(request, "User-Agent");
    buf_printf(&body, "%s %s who=%s agent=%s body=", http_method(request), http_path(request),
               who ? who : "-", agent ? agent : "-");
    buf_add(&body, http_body(request));
    http_set_header(request, "X-Test", "yes");
    http_answer(request, 200, "text/plain", &body);
    buf_close(&body);
}

static void *answer_later(void *unused) {
    (void)unused;
    for (struct mail *mail; (mail = inbox_wait(inbox, -1)) != NULL;) {
        struct later *later = (struct later *)mail;
        if (strcmp(http_path(later->request), "/later") == 0) {
            http_answer_text(later->request, 409, "later %d", 7);
        } else {
            struct http_stream *stream = http_stream_open(later->request, "text/event-stream");
            for (int i = 0; i < 3; i++)
                assert_true(http_stream_send(stream, SLICE("data: tick\n\n")));
            assert_true(http_stream_send(stream, SLICE("data: end\n\n")));
            http_stream_close(stream);
        }
        mem_free(later);
    }
    return NULL;
}

static void use(const struct endpoint *to) {
    struct buf got = {0};
    ask(to, GET("/a%20b?who=me&x=1"), "GET /a b who=me agent=- body=", &got);
    assert_non_null(strstr(buf_text(&got), "HTTP/1.1 200"));
    assert_non_null(strstr(buf_text(&got), "X-Test: yes"));
    buf_clear(&got);
    ask(to,
        SLICE("POST /p HTTP/1.1\r\nHost: x\r\nUser-Agent: me\r\nContent-Length: 5\r\n\r\nhello"),
        "POST /p who=- agent=me body=hello", &got);
    buf_clear(&got);
    ask(to, GET("/later"), "later 7", &got);
    assert_non_null(strstr(buf_text(&got), "HTTP/1.1 409"));
    buf_clear(&got);
    ask(to, GET("/nothing"), NULL, &got);
    assert_non_null(strstr(buf_text(&got), "HTTP/1.1 204"));
    buf_clear(&got);
    ask(to, GET("/stream"), "\r\n0\r\n\r\n",
        &got); /* the last chunk; how many there are is chance */
    size_t ticks = 0;
    for (const char *at = buf_text(&got); (at = strstr(at, "data: tick\n\n")) != NULL; at++)
        ticks++;
    assert_int_equal(ticks, 3);
    assert_non_null(strstr(buf_text(&got), "data: end\n\n"));
    buf_close(&got);
}

static void test_requests_over_tcp_and_a_unix_socket(void **state) {
    (void)state;
    struct http *http;
    struct why why;
    struct endpoint tcp, local;
    char text[300];
    pthread_t thread;
    inbox = inbox_open(100);
    pthread_create(&thread, NULL, answer_later, NULL);
    assert_int_equal(endpoint_parse(&tcp, "127.0.0.1:0", 0, &why), OK);
    (void)snprintf(text, sizeof text, "unix:%s/api.sock", certs_scratch());
    assert_int_equal(endpoint_parse(&local, text, 0, &why), OK);
    if (http_open(&http, &tcp, NULL, handler, NULL, &why) != OK) fail_msg("%s", why.text);
    tcp.port = http_port(http);
    use(&tcp);
    struct http *second;
    assert_int_equal(http_open(&second, &tcp, NULL, handler, NULL, &why), ERR_EXISTS);
    assert_non_null(strstr(why.text, "address already in use"));
    http_close(http);
    if (http_open(&http, &local, NULL, handler, NULL, &why) != OK) fail_msg("%s", why.text);
    struct stat info;
    assert_int_equal(stat(local.path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    use(&local);
    http_close(http);
    assert_int_equal(access(local.path, F_OK), -1);
    inbox_shut(inbox);
    pthread_join(thread, NULL);
    inbox_close(inbox);
}

static void test_bodies_have_a_limit(void **state) {
    (void)state;
    struct http *http;
    struct why why;
    struct endpoint tcp;
    struct http_options options = {.body_limit_bytes = 1000};
    assert_int_equal(endpoint_parse(&tcp, "127.0.0.1:0", 0, &why), OK);
    assert_int_equal(http_open(&http, &tcp, &options, handler, NULL, &why), OK);
    tcp.port = http_port(http);
    for (size_t size = 999; size <= 1001; size++) {
        struct buf request = {0}, got = {0};
        buf_printf(&request,
                   "POST /p HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "
                   "%zu\r\n\r\n",
                   size);
        for (size_t i = 0; i < size; i++) buf_byte(&request, 'b');
        ask(&tcp, buf_slice(&request), NULL, &got);
        const char *wanted = size <= 1000 ? "HTTP/1.1 200" : "HTTP/1.1 413";
        if (strstr(buf_text(&got), wanted) == NULL) fail_msg("%zu: %s", size, buf_text(&got));
        buf_close(&request);
        buf_close(&got);
    }
    http_close(http);
}

static void collect(void *self, struct metrics *metrics) {
    static const struct metric up = {"drawbridge_link_up", METRIC_GAUGE, "Up.", 0, 1};
    (void)self;
    metrics_add(metrics, &up, 1, METRIC_LABEL("link", "a"), METRIC_LABELS_END);
}

static void test_metrics_are_served(void **state) {
    (void)state;
    struct metrics_http *served;
    struct why why;
    struct endpoint tcp, none = {0};
    assert_int_equal(metrics_http_open(&served, &none, "test", collect, NULL, &why), OK);
    assert_null(served);
    metrics_http_close(served);
    assert_int_equal(endpoint_parse(&tcp, "127.0.0.1:0", 0, &why), OK);
    assert_int_equal(metrics_http_open(&served, &tcp, "test", collect, NULL, &why), OK);
    tcp.port = metrics_http_port(served);
    struct buf got = {0};
    ask(&tcp, GET("/metrics"), NULL, &got);
    assert_non_null(strstr(buf_text(&got), "\ndrawbridge_link_up{link=\"a\"} 1\n"));
    assert_non_null(strstr(buf_text(&got), "\ndrawbridge_build_info{role=\"test\""));
    assert_non_null(strstr(buf_text(&got), "\nprocess_resident_memory_bytes "));
    buf_clear(&got);
    ask(&tcp, GET("/other"), NULL, &got);
    assert_non_null(strstr(buf_text(&got), "HTTP/1.1 404"));
    buf_close(&got);
    metrics_http_close(served);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_over_tcp_and_a_unix_socket),
        cmocka_unit_test(test_bodies_have_a_limit),
        cmocka_unit_test(test_metrics_are_served),
    };
    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
