/* slot.c -- CRC16 and CRC32 of keys. See slot.h. */
#include "lib/redis/slot.h"

/* crc16_table[k][b]: what byte b does to the sum when k more bytes follow it. */
static uint16_t crc16_table[4][256];
static uint32_t crc32_table[256];

__attribute__((constructor)) static void make_tables(void) {
    for (unsigned i = 0; i < 256; i++) {
        unsigned wide = i << 8;
        uint32_t low = i;
        for (int bit = 0; bit < 8; bit++) {
            wide = wide & 0x8000 ? (wide << 1) ^ 0x1021 : wide << 1;
            low = low & 1 ? (low >> 1) ^ UINT32_C(0xedb88320) : low >> 1;
        }
        crc16_table[0][i] = (uint16_t)wide;
        crc32_table[i] = low;
    }
    for (unsigned k = 1; k < 4; k++)
        for (unsigned i = 0; i < 256; i++) {
            uint16_t before = crc16_table[k - 1][i];
            crc16_table[k][i] = (uint16_t)(before << 8 ^ crc16_table[0][before >> 8]);
        }
}

uint16_t slot_crc16(struct slice bytes) {
    unsigned crc = 0;
    const uint8_t *p = bytes.data;
    size_t left = bytes.size;
    for (; left >= 4; left -= 4, p += 4)
        crc = (unsigned)crc16_table[3][crc >> 8 ^ p[0]] ^ crc16_table[2][(crc & 0xff) ^ p[1]] ^
              crc16_table[1][p[2]] ^ crc16_table[0][p[3]];
    for (; left > 0; left--, p++)
        crc = ((crc << 8) & 0xffff) ^ crc16_table[0][((crc >> 8) ^ *p) & 0xff];
    return (uint16_t)crc;
}

uint32_t slot_crc32(struct slice bytes) {
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < bytes.size; i++)
        crc = (crc >> 8) ^ crc32_table[(crc ^ bytes.data[i]) & 0xff];
    return ~crc;
}

/* What stands between the first `{` and the next `}`; the whole key if there is no such pair. */
static struct slice tag_of(struct slice key, bool may_be_empty) {
    const uint8_t *open = key.size ? memchr(key.data, '{', key.size) : NULL;
    if (open == NULL) return key;
    struct slice rest = slice_drop(key, (size_t)(open - key.data) + 1);
    const uint8_t *close = rest.size ? memchr(rest.data, '}', rest.size) : NULL;
    if (close == NULL) return key;
    size_t size = (size_t)(close - rest.data);
    return size == 0 && !may_be_empty ? key : slice_take(rest, size);
}

uint16_t slot_cluster(struct slice key) {
    return slot_crc16(tag_of(key, false)) & (SLOT_CLUSTER_COUNT - 1);
}

uint16_t slot_codis(struct slice key) {
    return (uint16_t)(slot_crc32(tag_of(key, true)) & (SLOT_CODIS_COUNT - 1));
}
