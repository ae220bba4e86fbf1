/* crc64.c -- CRC-64/Jones, eight bytes at a time by eight tables. */
#include "lib/redis/crc64.h"

#include "lib/redis/bytes.h"

/* The polynomial ad93d23594c935a9 with its bits mirrored. */
#define POLYNOMIAL UINT64_C(0x95ac9329ac4bc9b5)

/* table[k][b]: what byte b does to the sum when k more bytes follow it. */
static uint64_t table[8][256];

__attribute__((constructor)) static void crc64_prepare(void) {
    for (unsigned b = 0; b < 256; b++) {
        uint64_t crc = b;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
        table[0][b] = crc;
    }
    for (unsigned k = 1; k < 8; k++)
        for (unsigned b = 0; b < 256; b++)
            table[k][b] = table[0][table[k - 1][b] & 255] ^ table[k - 1][b] >> 8;
}

uint64_t crc64_add(uint64_t crc, struct slice bytes) {
    const uint8_t *p = bytes.data;
    size_t left = bytes.size;
    for (; left >= 8; left -= 8, p += 8) {
        crc ^= bytes_le(p, 8);
        crc = table[7][crc & 255] ^ table[6][crc >> 8 & 255] ^ table[5][crc >> 16 & 255] ^
              table[4][crc >> 24 & 255] ^ table[3][crc >> 32 & 255] ^ table[2][crc >> 40 & 255] ^
              table[1][crc >> 48 & 255] ^ table[0][crc >> 56];
    }
    for (; left > 0; left--, p++) crc = table[0][(crc ^ *p) & 255] ^ crc >> 8;
    return crc;
}
