/* test_resolve.c -- names are looked up within a bound of time. */
#include "lib/net/resolve.h"

#include <netdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static pthread_mutex_t silence = PTHREAD_MUTEX_INITIALIZER; /* held: the name server is silent */
static _Atomic int asked, answered;

static int slow(const char *host, const char *port, const struct addrinfo *hints,
                struct addrinfo **found) {
    asked++;
    pthread_mutex_lock(&silence);
    pthread_mutex_unlock(&silence);
    int code = strcmp(host, "nowhere.test") == 0
                   ? EAI_NONAME
                   : getaddrinfo("127.0.0.1", port, hints, found);
    answered++;
    return code;
}

static void test_a_name_is_resolved(void **state) {
    (void)state;
    struct addrinfo *found;
    struct why why;
    assert_int_equal(resolve_name("somewhere.test", 6379, 60000, &found, &why), OK);
    assert_int_equal(found->ai_family, AF_INET);
    freeaddrinfo(found);
    assert_int_equal(resolve_name("nowhere.test", 6379, 60000, &found, &why), ERR_IO);
    assert_non_null(strstr(why.text, "cannot be resolved"));
}

/* Addresses are still understood, threads left behind are bounded, and everything is as before when
 * the name server speaks again. */
static void test_a_silent_name_server_does_not_hold_us(void **state) {
    (void)state;
    struct addrinfo *found;
    struct why why;
    pthread_mutex_lock(&silence);
    asked = answered = 0;
    for (int i = 0; i < RESOLVE_HANGING_MAX + 4; i++)
        assert_int_equal(resolve_name("somewhere.test", 6379, 5, &found, &why), ERR_TIMEOUT);
    assert_non_null(strstr(why.text, "have not been answered"));
    assert_int_equal(resolve_name("::1", 6379, 5, &found, &why), OK);
    assert_int_equal(found->ai_family, AF_INET6);
    freeaddrinfo(found);
    pthread_mutex_unlock(&silence);
    while (resolve_name("somewhere.test", 6379, 60000, &found, &why)) (void)usleep(1000);
    freeaddrinfo(found);
    while (answered < asked) (void)usleep(1000);
    assert_int_equal(asked, RESOLVE_HANGING_MAX + 1);
}

int main(void) {
    resolve_by = slow;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_name_is_resolved),
        cmocka_unit_test(test_a_silent_name_server_does_not_hold_us),
    };
    return cmocka_run_group_tests_name("resolve", tests, NULL, NULL);
}
