/* rand.c -- the parts of rand.h that ask the kernel. */
#include "lib/base/rand.h"

#include "lib/base/check.h"

#include <stdlib.h>
#include <sys/random.h>

void rand_secret(void *bytes, size_t size) {
    uint8_t *at = bytes;
    while (size > 0) {
        ssize_t got = getrandom(at, size < 256 ? size : 256, 0);
        ASSERT(got > 0);
        at += got;
        size -= (size_t)got;
    }
}

void rand_hex40(char text[41]) {
    uint8_t bytes[20];
    rand_secret(bytes, sizeof bytes);
    for (size_t i = 0; i < 20; i++) {
        text[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
    text[40] = '\0';
}

uint64_t rand_test_seed(void) {
    const char *given = getenv("SEED");
    if (given) return strtoull(given, NULL, 10);
    uint64_t seed;
    rand_secret(&seed, sizeof seed);
    return seed >> 32;
}
