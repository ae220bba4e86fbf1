/* sha256.c -- SHA-256 by OpenSSL. A file of its own, because OpenSSL has an ERR_STATE, too. */
#include "state/sha256.h"

#include <openssl/evp.h>
#include <stdio.h>

void sha256_hex(struct slice bytes, char hex[65]) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    int done = EVP_Digest(bytes.data, bytes.size, digest, &size, EVP_sha256(), NULL);
    ASSERT(done == 1 && size == 32);
    for (unsigned i = 0; i < size; i++) snprintf(hex + 2 * (size_t)i, 3, "%02x", digest[i]);
}
