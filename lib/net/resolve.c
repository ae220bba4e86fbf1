/* resolve.c -- getaddrinfo() in a thread that may be left behind. See resolve.h. */
#include "lib/net/resolve.h"

#include "lib/base/mem.h"

#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

resolve_lookup *resolve_by = getaddrinfo;

static _Atomic int hanging; /* threads at work, those that are waited for too */

/* Shared by who asks and the thread; the second to let go of it frees it. */
struct lookup {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    bool is_done, is_left; /* the thread has ended; nobody waits */
    int code;
    struct addrinfo *found;
    char host[256], port[8];
};

static const struct addrinfo wanted = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

static void free_lookup(struct lookup *lookup) {
    if (lookup->found) freeaddrinfo(lookup->found);
    pthread_cond_destroy(&lookup->answered);
    pthread_mutex_destroy(&lookup->lock);
    mem_free(lookup);
}

static void *look_up(void *arg) {
    struct lookup *lookup = arg;
    struct addrinfo *found = NULL;
    int code = resolve_by(lookup->host, lookup->port, &wanted, &found);
    pthread_mutex_lock(&lookup->lock);
    lookup->code = code;
    lookup->found = code ? NULL : found;
    lookup->is_done = true;
    bool is_left = lookup->is_left;
    pthread_cond_signal(&lookup->answered);
    pthread_mutex_unlock(&lookup->lock);
    atomic_fetch_sub(&hanging, 1);
    if (is_left) free_lookup(lookup);
    return NULL;
}

static struct lookup *new_lookup(const char *host, const char *port) {
    struct lookup *lookup = NEW(struct lookup);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&lookup->answered, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&lookup->lock, NULL);
    (void)snprintf(lookup->host, sizeof lookup->host, "%s", host);
    (void)snprintf(lookup->port, sizeof lookup->port, "%s", port);
    return lookup;
}

static enum err start(struct lookup *lookup, struct why *why) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int code = pthread_create(&thread, &attributes, look_up, lookup);
    pthread_attr_destroy(&attributes);
    if (code == 0) return OK;
    atomic_fetch_sub(&hanging, 1);
    return why_set(why, ERR_NOMEM, "no thread to look a name up: %s", strerror(code));
}

/* False: it takes too long, and LOOKUP is the thread's. */
static bool wait_for(struct lookup *lookup, uint32_t timeout_ms) {
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += timeout_ms / 1000;
    deadline.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_nsec -= 1000000000;
        deadline.tv_sec++;
    }
    pthread_mutex_lock(&lookup->lock);
    int code = 0;
    while (!lookup->is_done && code == 0)
        code = pthread_cond_timedwait(&lookup->answered, &lookup->lock, &deadline);
    bool is_done = lookup->is_done;
    lookup->is_left = !is_done;
    pthread_mutex_unlock(&lookup->lock);
    return is_done;
}

enum err resolve_name(const char *host, uint16_t port, uint32_t timeout_ms,
                      struct addrinfo **found, struct why *why) {
    char digits[8];
    struct addrinfo address = wanted;
    address.ai_flags = AI_NUMERICHOST;
    (void)snprintf(digits, sizeof digits, "%u", (unsigned)port);
    if (getaddrinfo(host, digits, &address, found) == 0) return OK;
    if (atomic_fetch_add(&hanging, 1) >= RESOLVE_HANGING_MAX) {
        atomic_fetch_sub(&hanging, 1);
        return why_set(why, ERR_TIMEOUT, "%d lookups of names have not been answered yet",
                       RESOLVE_HANGING_MAX);
    }
    struct lookup *lookup = new_lookup(host, digits);
    enum err err = start(lookup, why);
    if (!err && !wait_for(lookup, timeout_ms))
        return why_set(why, ERR_TIMEOUT, "no answer to the lookup of the name within %u ms",
                       timeout_ms);
    if (!err && (lookup->code || !lookup->found))
        err = why_set(why, ERR_IO, "the name cannot be resolved: %s",
                      lookup->code ? gai_strerror(lookup->code) : "no address");
    if (!err) {
        *found = lookup->found;
        lookup->found = NULL;
    }
    free_lookup(lookup);
    return err;
}
