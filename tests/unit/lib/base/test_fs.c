/* test_fs.c -- a file holds the old bytes or the new ones, whichever call fails. */
#include "lib/base/fault.h"
#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "tests/support/certs.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char *at(const char *name) {
    static char paths[4][400];
    static int next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", certs_scratch(), name);
    return path;
}

static void expect_holds(const char *path, const char *a, const char *b) {
    struct buf got = {0};
    struct why why;
    if (fs_read_file(path, 1000, &got, &why) != OK) fail_msg("%s", why.text);
    if (strcmp(buf_text(&got), a) != 0 && (b == NULL || strcmp(buf_text(&got), b) != 0))
        fail_msg("found '%s'", buf_text(&got));
    buf_close(&got);
}

static void test_replace_is_all_or_nothing_at_every_fault(void **state) {
    (void)state;
    static const enum fault_kind kinds[] = {FAULT_WRITE, FAULT_SYNC};
    struct why why;
    const char *path = at("replaced");
    for (size_t k = 0; k < 2; k++) {
        size_t faults = 0;
        for (uint64_t n = 1;; n++) {
            assert_int_equal(fs_replace(path, SLICE("old bytes"), &why), OK);
            fault_arm(kinds[k], n);
            enum err err = fs_replace(path, SLICE("new"), &why);
            bool fired = fault_fired(kinds[k]);
            fault_arm(kinds[k], 0);
            if (!fired) {
                assert_int_equal(err, OK);
                expect_holds(path, "new", NULL);
                break;
            }
            faults++;
            assert_int_not_equal(err, OK);
            assert_non_null(strstr(why.text, kinds[k] == FAULT_WRITE ? "re" : "sync"));
            expect_holds(path, "old bytes", "new");
        }
        assert_int_equal(faults, 2); /* bytes and rename; file and folder */
    }
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

static void test_a_failed_write_says_that_the_disk_is_full(void **state) {
    (void)state;
    struct why why;
    int fd;
    assert_int_equal(fs_open(at("w"), O_RDWR | O_CREAT, &fd, &why), OK);
    fault_arm(FAULT_WRITE, 1);
    assert_int_equal(fs_write(fd, SLICE("12345678"), "the spool", &why), ERR_DISK_FULL);
    assert_string_equal(why.text, "write the spool: No space left on device");
    uint64_t size;
    assert_int_equal(fs_size(at("w"), &size, &why), OK);
    assert_int_equal(size, 4); /* as a real disk: a part is there */
    assert_int_equal(fs_write_at(fd, SLICE("abcdef"), 2, "x", &why), OK);
    uint8_t bytes[16];
    size_t got;
    assert_int_equal(fs_read_at(fd, bytes, 16, 1, &got, "x", &why), OK);
    assert_int_equal(got, 7);
    assert_memory_equal(bytes, "2abcdef", 7);
    assert_int_equal(fs_truncate(fd, 3, "x", &why), OK);
    assert_int_equal(fs_read_at(fd, bytes, 16, 0, &got, "x", &why), OK);
    assert_int_equal(got, 3);
    fault_arm(FAULT_SYNC, 1);
    assert_int_equal(fs_sync(fd, "x", &why), ERR_IO);
    close(fd);
}

static void test_symbolic_links_and_folders_are_not_files(void **state) {
    (void)state;
    struct why why;
    struct buf got = {0};
    int fd;
    assert_int_equal(fs_replace(at("real"), SLICE("secret"), &why), OK);
    assert_int_equal(symlink(at("real"), at("link")), 0);
    assert_int_equal(fs_read_file(at("link"), 100, &got, &why), ERR_IO);
    assert_non_null(strstr(why.text, "symbolic link"));
    assert_int_equal(fs_open(at("link"), O_WRONLY | O_CREAT, &fd, &why), ERR_IO);
    assert_int_equal(fs_read_file(certs_scratch(), 100, &got, &why), ERR_IO);
    assert_int_equal(mkfifo(at("fifo"), 0600), 0);
    assert_int_equal(fs_read_file(at("fifo"), 100, &got, &why), ERR_IO); /* and does not block */
    assert_int_equal(fs_read_file(at("missing"), 100, &got, &why), ERR_ABSENT);
    assert_int_equal(fs_read_file(at("real"), 5, &got, &why), ERR_LIMIT);
    assert_int_equal(fs_read_file(at("real"), 6, &got, &why), OK);
    assert_string_equal(buf_text(&got), "secret");
    /* Replacing a link replaces the link, not what it points to. */
    assert_int_equal(fs_replace(at("link"), SLICE("mine"), &why), OK);
    expect_holds(at("real"), "secret", NULL);
    expect_holds(at("link"), "mine", NULL);
    buf_close(&got);
}

static void test_folders_are_made_with_their_parents(void **state) {
    (void)state;
    struct why why;
    uint64_t bytes;
    assert_int_equal(fs_make_dirs(at("a/b//c/"), &why), OK);
    assert_int_equal(fs_make_dirs(at("a/b/c"), &why), OK);
    assert_int_equal(fs_replace(at("a/file"), SLICE(""), &why), OK);
    assert_int_not_equal(fs_make_dirs(at("a/file"), &why), OK);
    assert_int_not_equal(fs_make_dirs(at("a/file/below"), &why), OK);
    assert_int_equal(fs_free_bytes(at("a"), &bytes, &why), OK);
    assert_true(bytes > 0);
    assert_int_equal(fs_remove(at("a/file"), &why), OK);
    assert_int_equal(fs_remove(at("a/file"), &why), OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replace_is_all_or_nothing_at_every_fault),
        cmocka_unit_test(test_a_failed_write_says_that_the_disk_is_full),
        cmocka_unit_test(test_symbolic_links_and_folders_are_not_files),
        cmocka_unit_test(test_folders_are_made_with_their_parents),
    };
    return cmocka_run_group_tests_name("fs", tests, NULL, NULL);
}
