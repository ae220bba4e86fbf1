/* test_rdb_golden.c -- every RDB file that other programs made loads, or is refused by name. */
#include "lib/redis/rdb_read.h"
#include "tests/support/rdb_text.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define FOLDER "tests/golden/rdb"

/* Files that must be refused: with what words, after how many whole keys. */
static const struct {
    const char *name, *words;
    size_t keys;
} refused[] = {
    {"redis-tests-corrupt_empty_keys.rdb", "key \"set\" from byte 94: the set has no elements", 0},
    {"redis-tests-corrupt_ziplist.rdb",
     "key \"key:000000000091\" from byte 470: the ziplist of the hash is broken", 15},
    {"redis_40_with_module.rdb", "module type ReJSON-RL", 1},
    {"redis_60_with_module_aux.rdb", "module type test__rdb", 0},
};

static size_t count(struct slice all, const char *word) {
    size_t found = 0, size = strlen(word);
    for (size_t i = 0; i + size <= all.size; i++) found += memcmp(all.data + i, word, size) == 0;
    return found;
}

static enum err read_file(const char *name, bool lax, struct rdb_text *text, struct why *why) {
    char path[512];
    snprintf(path, sizeof path, FOLDER "/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    struct rdb_source_file source;
    struct rdb_limits limits = RDB_LIMITS_DEFAULT;
    limits.skip_empty = lax;
    rdb_source_file_init(&source, fd);
    rdb_text_init(text);
    struct rdb_reader *reader = rdb_reader_open(&source.source, limits, &text->handler);
    enum err err = rdb_reader_run(reader, why);
    if (lax && err == OK) assert_int_equal(rdb_reader_skipped(reader), 9);
    rdb_reader_close(reader);
    close(fd);
    return err;
}

static void test_files_that_other_programs_made_load_or_are_refused_by_name(void **state) {
    (void)state;
    DIR *folder = opendir(FOLDER);
    assert_non_null(folder);
    size_t loaded = 0, turned_down = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot == NULL || strcmp(dot, ".rdb") != 0) continue;
        struct rdb_text text;
        struct why why = {""};
        enum err err = read_file(entry->d_name, false, &text, &why);
        size_t i = 0;
        while (i < 4 && strcmp(refused[i].name, entry->d_name) != 0) i++;
        if (i < 4) {
            assert_int_equal(err, ERR_CORRUPT);
            assert_non_null(strstr(why.text, refused[i].words));
            assert_int_equal(count(buf_slice(&text.all), "{\"db\""), refused[i].keys);
            turned_down++;
        } else {
            if (err != OK) printf("%s: %s\n", entry->d_name, why.text);
            assert_int_equal(err, OK);
            loaded++;
        }
        rdb_text_close(&text);
    }
    closedir(folder);
    assert_int_equal(loaded, 31);
    assert_int_equal(turned_down, 4);
}

static void test_empty_keys_are_left_out_when_that_is_wanted(void **state) {
    (void)state;
    struct rdb_text text;
    struct why why;
    assert_int_equal(read_file("redis-tests-corrupt_empty_keys.rdb", true, &text, &why), OK);
    assert_int_equal(count(buf_slice(&text.all), "{\"db\""), 0);
    rdb_text_close(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_that_other_programs_made_load_or_are_refused_by_name),
        cmocka_unit_test(test_empty_keys_are_left_out_when_that_is_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
