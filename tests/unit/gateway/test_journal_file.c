/* test_journal_file.c -- the journal's file: a process that is killed leaves it, one that finds no
 * room never maps it. */
#include "gateway/journal_file.h"

#include "lib/base/fs.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define KEYS 100000

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/journal-test-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state) {
    (void)state;
    static const char *const names[] = {"a.journal", "a.journal.new", "a.lock"};
    char path[128];
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

static bool exists(const char *name) {
    char path[128];
    struct stat found;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return stat(path, &found) == 0;
}

struct found {
    bool keys[KEYS];
    size_t count, connections;
};

static void on_key(void *self, int32_t db, struct slice name) {
    struct found *found = self;
    int64_t number = -1;
    (void)db;
    assert_true(slice_to_int(name, &number) && number >= 0 && number < KEYS);
    if (!found->keys[number]) found->count++;
    found->keys[number] = true;
}
static void on_slot(void *self, unsigned slot) {
    (void)self;
    (void)slot;
}
static void on_flag(void *self) {
    (void)self;
}
static void on_deadline(void *self, uint64_t hash, int64_t deadline_ms) {
    (void)self;
    (void)hash;
    (void)deadline_ms;
}
static void on_connection(void *self, enum journal_side side, int64_t id, const char *run_id) {
    (void)side;
    (void)id;
    (void)run_id;
    ((struct found *)self)->connections++;
}

static enum journal_found read_back(const struct journal_file *file, struct found *found) {
    struct journal_reader reader = {found,       on_key,  on_slot,       on_flag,
                                    on_deadline, on_flag, on_connection, on_flag};
    struct why why;
    memset(found, 0, sizeof *found);
    return journal_file_read(file, "a", &reader, &why);
}

static void mark(struct journal *journal, int number) {
    char text[24];
    snprintf(text, sizeof text, "%d", number);
    journal_key(journal, 0, slice_text(text), true);
}

static void open_it(struct journal_file *file, size_t size) {
    struct why why = {""};
    if (journal_file_open(file, folder, "a", size, &why) != OK) fail_msg("%s", why.text);
}

static void commit(struct journal_file *file) {
    struct why why = {""};
    if (journal_file_commit(file, &why) != OK) fail_msg("%s", why.text);
}

static void test_only_what_was_committed_is_read(void **state) {
    (void)state;
    static struct found found;
    struct journal_file file;
    open_it(&file, 1u << 20);
    assert_int_equal(read_back(&file, &found), JOURNAL_MISSING);
    mark(&file.journal, 1);
    journal_file_close(&file);
    assert_false(exists("a.journal.new"));
    open_it(&file, 1u << 20);
    assert_int_equal(read_back(&file, &found), JOURNAL_MISSING);
    mark(&file.journal, 2);
    commit(&file);
    mark(&file.journal, 3); /* after it as well */
    journal_opened(&file.journal, JOURNAL_F, 9, "run");
    journal_file_close(&file);
    open_it(&file, 1u << 20);
    assert_int_equal(read_back(&file, &found), JOURNAL_GOOD);
    assert_int_equal(found.count, 2);
    assert_true(found.keys[2] && found.keys[3]);
    assert_int_equal(found.connections, 1);
    mark(&file.journal, 4);
    journal_file_close(&file); /* not committed: the old one is still there */
    open_it(&file, 1u << 20);
    assert_int_equal(read_back(&file, &found), JOURNAL_GOOD);
    assert_false(found.keys[4]);
    assert_true(found.keys[3]);
    journal_file_close(&file);
}

static void test_one_process_at_a_time(void **state) {
    (void)state;
    struct journal_file first, second;
    struct why why;
    open_it(&first, 1u << 20);
    assert_int_equal(journal_file_open(&second, folder, "a", 1u << 20, &why), ERR_STATE);
    journal_file_close(&first);
    open_it(&second, 1u << 20);
    journal_file_close(&second);
}

/* A child marks key after key and says so after each; it is killed in the middle of it. */
static _Noreturn void child(int to) {
    struct journal_file file;
    open_it(&file, 4u << 20);
    commit(&file);
    for (int i = 0;; i = (i + 1) % KEYS) {
        char text[24];
        snprintf(text, sizeof text, "%d", i);
        if (i >= 2000) { /* records are moved while it goes on */
            char old[24];
            snprintf(old, sizeof old, "%d", i - 2000);
            journal_key(&file.journal, 0, slice_text(old), false);
        }
        journal_key(&file.journal, 0, slice_text(text), true);
        if (write(to, &i, sizeof i) != (ssize_t)sizeof i) _exit(1);
    }
}

static void test_what_was_marked_survives_kill_9(void **state) {
    (void)state;
    static struct found found;
    for (int round = 0; round < 10; round++) {
        int ends[2], last = -1, i;
        assert_int_equal(pipe(ends), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            close(ends[0]);
            child(ends[1]);
        }
        close(ends[1]);
        while (last < 500 + round * 4000 && read(ends[0], &i, sizeof i) == (ssize_t)sizeof i)
            last = i;
        kill(pid, SIGKILL);
        while (read(ends[0], &i, sizeof i) == (ssize_t)sizeof i) last = i;
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        close(ends[0]);
        struct journal_file file;
        open_it(&file, 4u << 20);
        assert_int_equal(read_back(&file, &found), JOURNAL_GOOD);
        /* What it told us last, and at most what it did after that. */
        for (i = last < 2000 ? 0 : last - 1998; i <= last; i++)
            if (!found.keys[i]) fail_msg("key %d of %d is forgotten", i, last);
        assert_true(found.count <= 2002);
        journal_file_close(&file);
    }
}

static void test_without_room_there_is_an_error_and_the_old_one_stays(void **state) {
    (void)state;
    static struct found found;
    struct rlimit old, small = {.rlim_cur = 1u << 20, .rlim_max = RLIM_INFINITY};
    struct journal_file file;
    struct why why;
    open_it(&file, 1u << 20);
    mark(&file.journal, 5);
    commit(&file);
    journal_file_close(&file);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum err err = journal_file_open(&file, folder, "a", 8u << 20, &why);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_not_equal(err, OK);
    assert_non_null(strstr(why.text, "8388608 bytes"));
    assert_false(exists("a.journal.new"));
    open_it(&file, 1u << 20);
    assert_int_equal(read_back(&file, &found), JOURNAL_GOOD);
    assert_true(found.keys[5]);
    journal_file_close(&file);
}

static void test_a_file_that_is_none_is_damaged_and_is_replaced(void **state) {
    (void)state;
    static struct found found;
    char path[128];
    struct journal_file file;
    struct why why;
    snprintf(path, sizeof path, "%s/a.journal", folder);
    static const size_t sizes[] = {0, 1, 5000, 300000};
    for (size_t i = 0; i < 4; i++) {
        int fd;
        assert_int_equal(fs_remove(path, &why), OK);
        assert_int_equal(fs_open(path, O_RDWR | O_CREAT, &fd, &why), OK);
        assert_int_equal(ftruncate(fd, (off_t)sizes[i]), 0);
        close(fd);
        open_it(&file, 1u << 20);
        assert_int_equal(read_back(&file, &found), JOURNAL_CORRUPT);
        commit(&file);
        journal_file_close(&file);
        open_it(&file, 1u << 20);
        assert_int_equal(read_back(&file, &found), JOURNAL_GOOD);
        journal_file_close(&file);
    }
    assert_int_equal(journal_file_remove(folder, "a", &why), OK);
    assert_false(exists("a.journal"));
}

static void test_all_blocks_are_set_aside(void **state) {
    (void)state;
    struct journal_file file;
    struct stat found;
    open_it(&file, 8u << 20);
    assert_int_equal(stat(file.fresh, &found), 0);
    assert_int_equal(found.st_size, 8 << 20);
    assert_true(found.st_blocks * 512 >= 8 << 20);
    assert_int_equal(found.st_mode & 0777, 0600);
    journal_file_close(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_what_was_committed_is_read),
        cmocka_unit_test(test_one_process_at_a_time),
        cmocka_unit_test(test_what_was_marked_survives_kill_9),
        cmocka_unit_test(test_without_room_there_is_an_error_and_the_old_one_stays),
        cmocka_unit_test(test_a_file_that_is_none_is_damaged_and_is_replaced),
        cmocka_unit_test(test_all_blocks_are_set_aside),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
