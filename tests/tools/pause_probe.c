/* pause_probe.c -- how long a server makes its clients wait, while it is written to at a steady
 * rate.
 *
 *     pause_probe PORT SECONDS WRITES_PER_SECOND KEYS VALUE_BYTES string|hash|zset
 *
 * One connection writes at random (key:N of KEYS, or members of one big value), in bursts of one
 * millisecond; another asks one GET after the other and notes how long each took. Beside both a
 * hiccup meter sleeps a millisecond at a time and notes by how much too long: what it sees, no
 * server is guilty of. After each sleep it looks at the clock for as long as a turn of a snapshot's
 * walk is planned, and notes the processor time that this took: what interrupts and the hypervisor
 * add to turns that touch no memory. Prints one line of JSON, times in microseconds.
 */
#include "lib/base/clock.h"
#include "lib/base/hist.h"
#include "lib/base/rand.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TURN_US 30 /* as in server/snapshot.c */

static int port, seconds;
static long rate, keys;
static int value_bytes;
static char kind;
static struct hist waits, hiccups, spins;
static _Atomic bool over;

static int dial(void) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) {
        perror("connect");
        exit(1);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void nap(long us) {
    struct timespec t = {0, us * 1000};
    nanosleep(&t, NULL);
}

static uint64_t processor_us(void) {
    struct timespec used;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

static void spin(void) {
    uint64_t began = processor_us(), until = clock_mono_us(clock_real()) + TURN_US;
    while (clock_mono_us(clock_real()) < until) continue;
    hist_record(&spins, processor_us() - began);
}

static void *measure_hiccups(void *unused) {
    while (!over) {
        uint64_t before = clock_mono_us(clock_real());
        nap(1000);
        uint64_t took = clock_mono_us(clock_real()) - before;
        hist_record(&hiccups, took > 1000 ? took - 1000 : 0);
        spin();
    }
    return unused;
}

static void *ask(void *unused) {
    int fd = dial();
    struct rng rng = rng_from(7);
    char request[96], reply[65536];
    while (!over) {
        char key[40];
        int size = snprintf(key, sizeof key, "key:%llu",
                            (unsigned long long)rng_below(&rng, (uint64_t)keys));
        int all = snprintf(request, sizeof request, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", size, key);
        uint64_t before = clock_mono_us(clock_real());
        if (write(fd, request, (size_t)all) != all) exit(1);
        ssize_t got = read(fd, reply, sizeof reply);
        if (got <= 0) exit(1);
        hist_record(&waits, clock_mono_us(clock_real()) - before);
        for (long left = strtol(reply + 1, NULL, 10) + 20 - got; reply[0] == '$' && left > 2000;)
            left -= read(fd, reply + 1, sizeof reply - 1);
        nap(100);
    }
    close(fd);
    return unused;
}

static size_t put_write(char *out, size_t room, struct rng *rng, const char *value) {
    char name[40], score[24];
    unsigned long long n = (unsigned long long)rng_below(rng, (uint64_t)keys);
    int size = snprintf(name, sizeof name, kind == 's' ? "key:%llu" : "member:%llu", n);
    if (kind == 's')
        return (size_t)snprintf(out, room, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", size,
                                name, value_bytes, value);
    if (kind == 'h')
        return (size_t)snprintf(out, room,
                                "*4\r\n$4\r\nHSET\r\n$3\r\nbig\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", size,
                                name, value_bytes, value);
    int digits =
        snprintf(score, sizeof score, "%llu", (unsigned long long)rng_below(rng, 1u << 30));
    return (size_t)snprintf(out, room,
                            "*4\r\n$4\r\nZADD\r\n$3\r\nbig\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", digits,
                            score, size, name);
}

static uint64_t count_lines(int fd, int flags) {
    static char bytes[1 << 16];
    uint64_t lines = 0;
    for (ssize_t got; (got = recv(fd, bytes, sizeof bytes, flags)) > 0;) {
        for (ssize_t i = 0; i < got; i++) lines += bytes[i] == '\n';
        if (!(flags & MSG_DONTWAIT)) break;
    }
    return lines;
}

static uint64_t write_steadily(void) {
    int fd = dial();
    struct rng rng = rng_from(11);
    size_t room = (size_t)(value_bytes + 160);
    char *value = malloc((size_t)value_bytes + 1), *burst = malloc(room * 4000);
    memset(value, 'v', (size_t)value_bytes);
    value[value_bytes] = '\0';
    uint64_t began = clock_mono_us(clock_real()), planned = 0, sent = 0, answered = 0;
    for (uint64_t now; (now = clock_mono_us(clock_real()) - began) < (uint64_t)seconds * 1000000;) {
        uint64_t due = now * (uint64_t)rate / 1000000, count = due - planned;
        planned = due;
        if (count > 4000 || sent - answered > 20000) count = 0; /* it is behind: do not pile up */
        size_t size = 0;
        for (uint64_t i = 0; i < count; i++) size += put_write(burst + size, room, &rng, value);
        for (size_t done = 0; done < size;) {
            ssize_t put = write(fd, burst + done, size - done);
            if (put <= 0) exit(1);
            done += (size_t)put;
        }
        sent += count;
        answered += count_lines(fd, MSG_DONTWAIT);
        nap(1000);
    }
    close(fd);
    free(value);
    free(burst);
    return answered;
}

static void show(const char *name, const struct hist *hist) {
    printf("\"%s\": {\"count\": %llu, \"p50\": %llu, \"p99\": %llu, \"p999\": %llu, \"p9999\": "
           "%llu, \"max\": %llu}",
           name, (unsigned long long)hist_count(hist), (unsigned long long)hist_quantile(hist, 0.5),
           (unsigned long long)hist_quantile(hist, 0.99),
           (unsigned long long)hist_quantile(hist, 0.999),
           (unsigned long long)hist_quantile(hist, 0.9999), (unsigned long long)hist_max(hist));
}

int main(int argc, char **argv) {
    if (argc != 7) return 2;
    port = atoi(argv[1]);
    seconds = atoi(argv[2]);
    rate = atol(argv[3]);
    keys = atol(argv[4]);
    value_bytes = atoi(argv[5]);
    kind = argv[6][0];
    pthread_t asker, meter;
    if (pthread_create(&asker, NULL, ask, NULL) ||
        pthread_create(&meter, NULL, measure_hiccups, NULL))
        return 1;
    uint64_t writes = write_steadily();
    over = true;
    pthread_join(asker, NULL);
    pthread_join(meter, NULL);
    printf("{");
    show("waits", &waits);
    printf(", ");
    show("hiccups", &hiccups);
    printf(", ");
    show("spins", &spins);
    printf(", \"writes\": %llu}\n", (unsigned long long)writes);
    return 0;
}
