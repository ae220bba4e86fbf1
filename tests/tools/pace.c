/* pace.c -- the latency of SETs that are sent at a fixed rate, whether answers come or not, to several servers in turn.
 *
 *     pace RATE SLICE_MS SLICES SEED PORT ...
 *
 * One connection to each port. In each of SLICES turns every port has one slice of SLICE_MS, in an order that is drawn
 * anew for each turn, so that what else the machine does falls on all alike. In a slice requests are due at fixed
 * times; each is sent when it is due or, if this program was late itself, as soon as it can be, and its latency counts
 * from when it was *due*. `after_sent` is the same from when it was sent: what this program was late is not in it, what
 * the server kept waiting is, because nothing waits for an answer before it is sent. A slice ends when all its requests
 * are answered. Prints one line of JSON, a list in the order of the ports, times in microseconds; `late` is by how much
 * this program itself sent too late. It asks for a high priority: it is a clock.
 */
#include "lib/base/clock.h"
#include "lib/base/hist.h"
#include "lib/base/rand.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORTS_MAX 16
#define KEYS 5000u
#define VALUE_BYTES 64
#define ANSWER "+OK\r\n"
#define ANSWER_BYTES (sizeof ANSWER - 1)
#define GIVE_UP_US 30000000u

struct port {
    int fd;
    uint64_t asked; /* ever; for the names of keys */
    struct hist latency, after_sent, late;
};

static struct port ports[PORTS_MAX];
static unsigned count;
static uint64_t interval_ns, slice_requests;
static uint64_t *sent_ns; /* of each request of the slice */

static uint64_t now_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int dial(int number) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)number),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* Returns when. */
static uint64_t ask(struct port *port, uint64_t due_ns) {
    static const char value[VALUE_BYTES + 1] = "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv";
    char request[160];
    int size = snprintf(request, sizeof request, "*3\r\n$3\r\nSET\r\n$8\r\nk%07u\r\n$%d\r\n%s\r\n",
                        (unsigned)(port->asked++ % KEYS), VALUE_BYTES, value);
    uint64_t now = now_ns();
    hist_record(&port->late, now > due_ns ? (now - due_ns) / 1000 : 0);
    if (write(port->fd, request, (size_t)size) != size) die("write");
    return now;
}

/* What has come by now; returns how many whole answers, of which *PART bytes of the next one are in hand. */
static uint64_t read_answers(struct port *port, size_t *part) {
    char bytes[4096];
    ssize_t got = recv(port->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got == 0) die("the connection was closed");
    if (got < 0) return 0;
    uint64_t whole = 0;
    for (ssize_t i = 0; i < got; i++) {
        if (bytes[i] != ANSWER[*part]) {
            fprintf(stderr, "not %s: %.*s\n", "+OK", (int)got, bytes);
            exit(1);
        }
        *part = (*part + 1) % ANSWER_BYTES;
        whole += *part == 0;
    }
    return whole;
}

static void wait_for(struct port *port, uint64_t until_ns) {
    struct pollfd watched = {.fd = port->fd, .events = POLLIN};
    uint64_t now = now_ns(), left = until_ns > now ? until_ns - now : 0;
    struct timespec wait = {.tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u)};
    (void)ppoll(&watched, 1, &wait, NULL);
}

static void slice(struct port *port) {
    uint64_t began = now_ns() + 1000000, sent = 0, answered = 0;
    size_t part = 0;
    while (answered < slice_requests) {
        uint64_t now = now_ns();
        while (sent < slice_requests && began + sent * interval_ns <= now) {
            sent_ns[sent] = ask(port, began + sent * interval_ns);
            sent++;
        }
        uint64_t more = read_answers(port, &part);
        now = now_ns();
        for (; more > 0; more--, answered++) {
            hist_record(&port->latency, (now - began - answered * interval_ns) / 1000);
            hist_record(&port->after_sent, (now - sent_ns[answered]) / 1000);
        }
        if (now > began + slice_requests * interval_ns + (uint64_t)GIVE_UP_US * 1000) die("no answers");
        wait_for(port, sent < slice_requests ? began + sent * interval_ns : now + 100000000u);
    }
}

/* Each port once, in any order. */
static void turn(struct rng *rng) {
    unsigned order[PORTS_MAX];
    for (unsigned i = 0; i < count; i++) {
        unsigned k = (unsigned)rng_below(rng, i + 1);
        order[i] = order[k];
        order[k] = i;
    }
    for (unsigned i = 0; i < count; i++) slice(&ports[order[i]]);
}

static void show(const char *name, const struct hist *hist) {
    printf("\"%s\": {\"count\": %llu, \"p50\": %llu, \"p99\": %llu, \"p99.9\": %llu, \"max\": %llu}", name,
           (unsigned long long)hist_count(hist), (unsigned long long)hist_quantile(hist, 0.5),
           (unsigned long long)hist_quantile(hist, 0.99), (unsigned long long)hist_quantile(hist, 0.999),
           (unsigned long long)hist_max(hist));
}

int main(int argc, char **argv) {
    if (argc < 6 || argc - 5 > PORTS_MAX) return 2;
    unsigned long rate = strtoul(argv[1], NULL, 10), slice_ms = strtoul(argv[2], NULL, 10), turns = strtoul(argv[3], NULL, 10);
    if (rate == 0 || slice_ms == 0) return 2;
    struct rng rng = rng_from(strtoull(argv[4], NULL, 10));
    interval_ns = 1000000000u / rate;
    slice_requests = rate * slice_ms / 1000;
    sent_ns = calloc(slice_requests + 1, sizeof *sent_ns);
    if (sent_ns == NULL) die("calloc");
    count = (unsigned)argc - 5;
    (void)setpriority(PRIO_PROCESS, 0, -15); /* if it may */
    for (unsigned i = 0; i < count; i++) ports[i].fd = dial(atoi(argv[5 + i]));
    for (unsigned long i = 0; i < turns; i++) turn(&rng);
    for (unsigned i = 0; i < count; i++) {
        printf(i == 0 ? "[{" : ", {");
        show("latency", &ports[i].latency);
        printf(", ");
        show("after_sent", &ports[i].after_sent);
        printf(", ");
        show("late", &ports[i].late);
        printf("}");
    }
    printf("]\n");
    free(sent_ns);
    return 0;
}
