/* acl_words.c -- lists of patterns and passwords. */
#include "server/acl_rules.h"

#include "lib/base/mem.h"

#include <ctype.h>
#include <openssl/sha.h>

const struct acl_word *acl_words_find(const struct acl_words *words, struct slice text) {
    for (size_t i = 0; i < words->count; i++)
        if (slice_equal(acl_word_slice(&words->items[i]), text)) return &words->items[i];
    return NULL;
}

void acl_words_add(struct acl_words *words, struct slice text, unsigned flags) {
    if (words->count == words->room) {
        words->room = words->room ? words->room * 2 : 4;
        words->items = mem_realloc(words->items, words->room * sizeof *words->items);
    }
    uint8_t *bytes = mem_alloc(text.size + 1);
    if (text.size) memcpy(bytes, text.data, text.size);
    words->items[words->count++] =
        (struct acl_word){.flags = flags, .size = text.size, .bytes = bytes};
}

void acl_words_clear(struct acl_words *words) {
    for (size_t i = 0; i < words->count; i++) mem_free(words->items[i].bytes);
    mem_free(words->items);
    *words = (struct acl_words){0};
}

bool acl_has_spaces(struct slice text) {
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] == 0 || isspace(text.data[i])) return true;
    return false;
}

void acl_hash(struct slice password, char text[ACL_HASH_TEXT]) {
    static const char digits[] = "0123456789abcdef";
    uint8_t hash[SHA256_DIGEST_LENGTH];
    (void)SHA256(password.size ? password.data : (const uint8_t *)"", password.size, hash);
    for (size_t i = 0; i < sizeof hash; i++) {
        text[i * 2] = digits[hash[i] >> 4];
        text[i * 2 + 1] = digits[hash[i] & 15];
    }
}

static bool closes(struct slice word) {
    return word.size > 0 && word.data[word.size - 1] == ')';
}

enum err acl_merge_rules(int argc, const struct slice *argv, struct acl_words *words, int *bad) {
    struct buf open = {0};
    int opened_at = -1;
    for (int i = 0; i < argc; i++) {
        bool opens = argv[i].size > 0 && argv[i].data[0] == '(' && !closes(argv[i]);
        if (opens) {
            buf_clear(&open);
            buf_add(&open, argv[i]);
            opened_at = i;
        } else if (opened_at >= 0) {
            buf_byte(&open, ' ');
            buf_add(&open, argv[i]);
            if (!closes(argv[i])) continue;
            acl_words_add(words, buf_slice(&open), 0);
            opened_at = -1;
        } else
            acl_words_add(words, argv[i], 0);
    }
    buf_close(&open);
    if (opened_at < 0) return OK;
    acl_words_clear(words);
    *bad = opened_at;
    return ERR_CONFIG;
}
