/* test_spool.c -- the relay log: recovery after every way to die, a full disk at every write, trimming. */
#include "lib/base/fault.h"
#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "lib/base/rand.h"
#include "syncer/disk.h"
#include "syncer/spool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char id_a[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
static const char id_b[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
static const struct spool_options small = {.limit_bytes = 100000, .segment_bytes = 100};
static char folder[64];

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/test_spool.XXXXXX");
    assert_non_null(mkdtemp(folder));
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    fault_arm(FAULT_WRITE, 0);
    fault_arm(FAULT_SYNC, 0);
    disk_remove_folder(folder);
    return 0;
}

static struct spool *opened(const struct spool_options *options) {
    struct spool *spool = NULL;
    struct why why = {0};
    assert_int_equal(spool_open(folder, options, &spool, &why), OK);
    return spool;
}

static void append(struct spool *spool, const char *text) {
    struct why why;
    size_t taken = 0;
    assert_int_equal(spool_append(spool, slice_text(text), &taken, &why), OK);
    assert_int_equal(taken, strlen(text));
}

/* All of the stream from OFFSET on, as text of up to 4096 bytes. */
static const char *stream_from(struct spool *spool, uint64_t offset) {
    static char text[4097];
    struct spool_reader reader;
    struct why why;
    size_t size = 0, got = 0;
    assert_int_equal(spool_reader_open(&reader, spool, offset, &why), OK);
    do {
        assert_int_equal(spool_read(&reader, text + size, sizeof text - 1 - size < 7 ? sizeof text - 1 - size : 7, &got, &why), OK);
        size += got;
    } while (got > 0);
    text[size] = '\0';
    spool_reader_close(&reader);
    return text;
}

static struct spool_info look(struct spool *spool) {
    struct spool_info info;
    spool_look(spool, &info);
    return info;
}

static void copy_rdb(struct spool *spool, const char *rdb) {
    struct why why;
    size_t taken = 0;
    assert_int_equal(spool_start_copy(spool, id_a, 1000, &why), OK);
    assert_int_equal(spool_write_rdb(spool, slice_text(rdb), &taken, &why), OK);
    assert_int_equal(spool_finish_rdb(spool, &why), OK);
}

static void test_what_was_appended_is_read_over_all_segments(void **state) {
    (void)state;
    struct spool *spool = opened(&small);
    struct why why;
    char wanted[2001] = "";
    assert_int_equal(spool_start_stream(spool, id_a, 500, 0, &why), OK);
    for (int i = 0; i < 200; i++) {
        char part[16];
        snprintf(part, sizeof part, "%09d,", i);
        append(spool, part);
        strcat(wanted, part);
    }
    assert_string_equal(stream_from(spool, 500), wanted);
    assert_string_equal(stream_from(spool, 777), wanted + 277);
    assert_int_equal(look(spool).end, 2500);
    assert_string_equal(stream_from(spool, 2500), "");
    spool_close(spool);
}

static void test_a_process_that_dies_loses_nothing_that_was_written(void **state) {
    (void)state;
    struct spool *spool = opened(&small);
    copy_rdb(spool, "the rdb");
    append(spool, "some bytes of the stream");
    spool_close(spool); /* nothing was synced: as after kill -9 */
    spool = opened(&small);
    struct spool_info info = look(spool);
    assert_int_equal(info.kind, SPOOL_COPY);
    assert_int_equal(info.end, 1024);
    assert_int_equal(info.copy_offset, 1000);
    assert_string_equal(stream_from(spool, 1000), "some bytes of the stream");
    append(spool, " and more");
    assert_string_equal(stream_from(spool, 1000), "some bytes of the stream and more");
    spool_close(spool);
}

static void test_an_rdb_that_was_not_complete_is_dropped(void **state) {
    (void)state;
    struct spool *spool = opened(&small);
    struct why why;
    size_t taken = 0;
    assert_int_equal(spool_start_copy(spool, id_a, 1000, &why), OK);
    assert_int_equal(spool_write_rdb(spool, SLICE("half of"), &taken, &why), OK);
    spool_close(spool);
    spool = opened(&small);
    assert_true(look(spool).discarded_rdb);
    assert_int_equal(look(spool).kind, SPOOL_EMPTY);
    assert_int_equal(look(spool).bytes, 0);
    spool_close(spool);
}

static void rewrite_meta_as_of_another_boot(void) {
    char path[128];
    struct buf text = {0};
    struct spool_meta meta;
    struct why why;
    snprintf(path, sizeof path, "%s/meta", folder);
    assert_int_equal(fs_read_file(path, 65536, &text, &why), OK);
    assert_int_equal(spool_meta_decode(buf_slice(&text), &meta, &why), OK);
    snprintf(meta.boot, sizeof meta.boot, "another-boot");
    buf_clear(&text);
    spool_meta_encode(&meta, &text);
    assert_int_equal(fs_replace(path, buf_slice(&text), &why), OK);
    buf_close(&text);
}

static void test_after_a_power_failure_only_what_was_synced_counts(void **state) {
    (void)state;
    struct spool *spool = opened(&small);
    struct why why;
    uint64_t synced = 0;
    assert_int_equal(spool_start_stream(spool, id_a, 10, 0, &why), OK);
    append(spool, "synced.");
    assert_int_equal(spool_sync(spool, &synced, &why), OK);
    assert_int_equal(synced, 17);
    append(spool, "not synced");
    assert_int_equal(spool_rename(spool, id_b, &why), OK); /* behind what will be cut */
    spool_close(spool);
    rewrite_meta_as_of_another_boot();
    spool = opened(&small);
    assert_int_equal(look(spool).end, 17);
    assert_string_equal(look(spool).replid, id_a);
    append(spool, "again");
    assert_string_equal(stream_from(spool, 10), "synced.again");
    spool_close(spool);
}

static void test_trimming_removes_whole_segments_and_keeps_the_rest(void **state) {
    (void)state;
    struct spool *spool = opened(&small);
    struct why why;
    struct spool_reader reader;
    assert_int_equal(spool_start_stream(spool, id_a, 0, 0, &why), OK);
    for (int i = 0; i < 100; i++) append(spool, "0123456789");
    uint64_t before = look(spool).bytes;
    assert_int_equal(spool_keep_from(spool, 555, 3, &why), OK);
    assert_true(look(spool).bytes < before);
    assert_int_equal(look(spool).begin, 555);
    assert_int_equal(spool_reader_open(&reader, spool, 554, &why), ERR_ABSENT);
    assert_int_equal(strlen(stream_from(spool, 555)), 445);
    spool_close(spool);
    spool = opened(&small);
    assert_int_equal(look(spool).begin, 555);
    assert_int_equal(look(spool).begin_db, 3);
    assert_int_equal(strlen(stream_from(spool, 555)), 445);
    spool_close(spool);
}

static void test_history_says_which_offsets_belong_to_which_id(void **state) {
    (void)state;
    struct spool *spool = opened(&small);
    struct why why;
    char id[41];
    assert_int_equal(spool_start_stream(spool, id_a, 100, 0, &why), OK);
    append(spool, "0123456789");
    assert_int_equal(spool_rename(spool, id_b, &why), OK);
    append(spool, "0123456789");
    assert_true(spool_holds(spool, id_a, 100) && spool_holds(spool, id_a, 110) && spool_holds(spool, id_b, 110));
    assert_true(spool_holds(spool, id_b, 120));
    assert_false(spool_holds(spool, id_a, 111) || spool_holds(spool, id_b, 109) || spool_holds(spool, id_b, 121));
    spool_replid_at(spool, 109, id);
    assert_string_equal(id, id_a);
    spool_replid_at(spool, 110, id);
    assert_string_equal(id, id_b);
    spool_close(spool);
}

static void test_a_new_copy_ends_the_readers_of_the_old_one(void **state) {
    (void)state;
    struct spool *spool = opened(&small);
    struct why why;
    struct spool_reader reader;
    char byte;
    size_t got;
    assert_int_equal(spool_start_stream(spool, id_a, 0, 0, &why), OK);
    append(spool, "old");
    assert_int_equal(spool_reader_open(&reader, spool, 0, &why), OK);
    copy_rdb(spool, "new");
    assert_int_equal(spool_read(&reader, &byte, 1, &got, &why), ERR_STATE);
    spool_reader_close(&reader);
    spool_close(spool);
}

static void test_the_limit_is_told_and_room_comes_back(void **state) {
    (void)state;
    const struct spool_options tight = {.limit_bytes = 300, .segment_bytes = 50};
    struct spool *spool = opened(&tight);
    struct why why;
    assert_int_equal(spool_start_stream(spool, id_a, 0, 0, &why), OK);
    while (spool_has_room(spool)) append(spool, "0123456789");
    assert_int_equal(look(spool).end, 300);
    assert_int_equal(spool_keep_from(spool, 250, 0, &why), OK);
    assert_true(spool_has_room(spool));
    spool_close(spool);
}

/* Append TEXT as the receiver does: what was not taken is offered again. */
static void append_stubbornly(struct spool *spool, struct slice text) {
    struct why why;
    for (int tries = 0; text.size > 0; tries++) {
        size_t taken = 0;
        (void)!spool_append(spool, text, &taken, &why);
        text = slice_drop(text, taken);
        assert_true(tries < 100);
    }
}

static void fault_at(enum fault_kind kind, uint64_t n) {
    struct spool *spool = opened(&small);
    struct why why;
    uint64_t offset;
    char wanted[601] = "";
    assert_int_equal(spool_start_stream(spool, id_a, 0, 0, &why), OK);
    fault_arm(kind, n);
    for (int i = 0; i < 40; i++) {
        char part[16];
        snprintf(part, sizeof part, "%09d,", i);
        append_stubbornly(spool, slice_text(part));
        strcat(wanted, part);
        if (i % 10 == 0) (void)!spool_sync(spool, &offset, &why);
        if (i == 20) (void)!spool_rename(spool, id_b, &why);
        if (i == 30) (void)!spool_keep_from(spool, 150, 0, &why);
    }
    uint64_t begin = look(spool).begin;
    assert_string_equal(stream_from(spool, begin), wanted + begin);
    spool_close(spool);
    fault_arm(kind, 0);
    spool = opened(&small);
    begin = look(spool).begin; /* the order to forget may have been carried out although its sync failed */
    assert_true(begin <= 150);
    assert_string_equal(stream_from(spool, begin), wanted + begin);
    assert_int_equal(look(spool).end, 400);
    spool_close(spool);
}

static void test_a_disk_that_is_full_at_any_write_loses_nothing(void **state) {
    (void)state;
    for (uint64_t n = 1; n < 70; n++) {
        fault_at(FAULT_WRITE, n);
        disk_remove_folder(folder);
    }
}

static void test_a_sync_that_fails_at_any_place_loses_nothing(void **state) {
    (void)state;
    for (uint64_t n = 1; n < 30; n++) {
        fault_at(FAULT_SYNC, n);
        disk_remove_folder(folder);
    }
}

static void test_a_meta_file_with_any_byte_changed_never_crashes(void **state) {
    (void)state;
    struct spool_meta meta = {.kind = SPOOL_COPY, .generation = 3, .begin = 5, .rdb_bytes = 9}, read;
    struct buf text = {0};
    struct why why;
    spool_meta_rename(&meta, id_a, 5);
    memcpy(meta.copy_id, id_b, sizeof meta.copy_id);
    spool_meta_encode(&meta, &text);
    assert_int_equal(spool_meta_decode(buf_slice(&text), &read, &why), OK);
    assert_int_equal(read.begin, 5);
    assert_string_equal(read.copy_id, id_b);
    for (size_t size = 0; size < buf_size(&text) - 1; size++) {
        char *cut = malloc(size ? size : 1);
        memcpy(cut, text.data, size);
        assert_int_equal(spool_meta_decode(slice_from(cut, size), &read, &why), ERR_CORRUPT);
        free(cut);
    }
    for (size_t at = 0; at < buf_size(&text); at++) {
        uint8_t was = text.data[at];
        text.data[at] = 0xff;
        (void)!spool_meta_decode(buf_slice(&text), &read, &why);
        text.data[at] = was;
    }
    buf_close(&text);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        TEST(test_what_was_appended_is_read_over_all_segments),
        TEST(test_a_process_that_dies_loses_nothing_that_was_written),
        TEST(test_an_rdb_that_was_not_complete_is_dropped),
        TEST(test_after_a_power_failure_only_what_was_synced_counts),
        TEST(test_trimming_removes_whole_segments_and_keeps_the_rest),
        TEST(test_history_says_which_offsets_belong_to_which_id),
        TEST(test_a_new_copy_ends_the_readers_of_the_old_one),
        TEST(test_the_limit_is_told_and_room_comes_back),
        TEST(test_a_disk_that_is_full_at_any_write_loses_nothing),
        TEST(test_a_sync_that_fails_at_any_place_loses_nothing),
        TEST(test_a_meta_file_with_any_byte_changed_never_crashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
