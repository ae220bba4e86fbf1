/* test_ledger.c -- the chain cannot be rewritten, and a crash at any write leaves a whole ledger.
 */
#include "lib/base/buf.h"
#include "lib/base/fault.h"
#include "state/db.h"
#include "state/ledger_tables.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static struct clock_fake fake;

static const char *path_of(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int set_up(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/drawbridge-ledger-XXXXXX");
    clock_fake_init(&fake, 1790000000000);
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    DIR *dir = opendir(folder);
    for (struct dirent *e; (e = readdir(dir));) unlinkat(dirfd(dir), e->d_name, 0);
    closedir(dir);
    return rmdir(folder);
}

static struct ledger *open_ledger(const char *name) {
    struct ledger *ledger = NULL;
    struct why why = {""};
    if (ledger_open(&ledger, path_of(name), &fake.clock, &why)) fail_msg("%s", why.text);
    return ledger;
}

static void must(enum err err, const struct why *why) {
    if (err) fail_msg("%s", why->text);
}

/* ---- a whole story, one transaction for each step; stops at the first failure ---- */

struct story {
    struct migration m;
    struct barrier_row b;
};

typedef enum err story_step(struct story *s, struct ledger *l, struct why *why);

static enum err step_add(struct story *s, struct ledger *l, struct why *why) {
    return ledger_add_migration(l, "story", &s->m, why);
}
static enum err move_to(struct story *s, struct ledger *l, enum phase to, struct why *why) {
    struct phase_move move = {
        .to = to, .primary = s->m.primary, .epoch = s->m.epoch, .who = "test", .reason = "why not"};
    return ledger_move_phase(l, &s->m, &move, why);
}
static enum err step_check(struct story *s, struct ledger *l, struct why *why) {
    return move_to(s, l, PHASE_CHECKED, why);
}
static enum err step_copy(struct story *s, struct ledger *l, struct why *why) {
    return move_to(s, l, PHASE_COPYING, why);
}
static enum err step_follow(struct story *s, struct ledger *l, struct why *why) {
    return move_to(s, l, PHASE_FOLLOWING, why);
}
static enum err step_level(struct story *s, struct ledger *l, struct why *why) {
    return move_to(s, l, PHASE_LEVEL, why);
}
static enum err step_begin(struct story *s, struct ledger *l, struct why *why) {
    s->b = (struct barrier_row){
        .from = SIDE_LEGACY, .to = SIDE_TARGET, .max_hold_ms = 500, .who = "test"};
    return ledger_begin_barrier(l, &s->m, &s->b, "night", why);
}
static enum err step_commit(struct story *s, struct ledger *l, struct why *why) {
    s->b.epoch_after = s->m.epoch + 1;
    s->b.x = (struct place){"0123456789012345678901234567890123456789", 1000};
    s->b.b = (struct place){"abcdefghijabcdefghijabcdefghijabcdefghij", 2000};
    return ledger_commit_barrier(l, &s->m, &s->b, PHASE_GUARDED, why);
}
static enum err step_complete(struct story *s, struct ledger *l, struct why *why) {
    s->b.hold_us = 41500;
    return ledger_complete_barrier(l, &s->b, why);
}
static story_step *const story[] = {step_add,   step_check, step_copy,   step_follow,
                                    step_level, step_begin, step_commit, step_complete};
#define STORY (sizeof story / sizeof *story)
static const enum phase phase_after[STORY] = {PHASE_PLANNED,   PHASE_CHECKED, PHASE_COPYING,
                                              PHASE_FOLLOWING, PHASE_LEVEL,   PHASE_CUTTING_OVER,
                                              PHASE_GUARDED,   PHASE_GUARDED};

static enum err run_step(struct story *s, struct ledger *l, size_t i, struct why *why) {
    struct story before = *s;
    enum err err = ledger_begin(l, why);
    if (!err) err = story[i](s, l, why);
    if (!err) err = ledger_commit(l, why);
    if (!err) return OK;
    ledger_rollback(l);
    *s = before;
    return err;
}

/* What was read back is exactly the state after DONE steps. */
static void check_story(struct ledger *l, size_t done) {
    struct migration m = {0};
    struct barrier_row b = {0};
    struct ledger_verdict verdict;
    struct why why;
    must(ledger_verify(l, &verdict, &why), &why);
    if (verdict.broken_seq) fail_msg("after %zu steps: %s", done, verdict.text);
    enum err err = ledger_load_migration(l, "story", &m, &why);
    if (done == 0) {
        assert_int_equal(err, ERR_ABSENT);
        return;
    }
    must(err, &why);
    assert_int_equal(m.phase, phase_after[done - 1]);
    assert_int_equal(m.epoch, done >= 7 ? 2 : 1);
    assert_int_equal(m.primary, done >= 7 ? SIDE_TARGET : SIDE_LEGACY);
    must(ledger_last_barrier(l, m.id, false, &b, &why), &why);
    assert_int_equal(b.outcome, done < 6    ? BARRIER_NONE
                                : done == 6 ? BARRIER_OPEN
                                : done == 7 ? BARRIER_COMMITTED
                                            : BARRIER_COMPLETED);
    if (done >= 7) assert_true(b.b.offset == 2000 && b.epoch_after == 2);
}

static void test_a_story_is_read_back_as_it_was_written(void **state) {
    (void)state;
    struct story s = {0};
    struct why why;
    for (size_t i = 0; i < STORY; i++) {
        struct ledger *l = open_ledger("story.db");
        must(run_step(&s, l, i, &why), &why);
        ledger_close(l); /* a new process for each step */
        l = open_ledger("story.db");
        check_story(l, i + 1);
        ledger_close(l);
    }
}

static void copy_file(const char *from, const char *to) {
    char a[160], b[160], bytes[65536];
    snprintf(a, sizeof a, "%s", path_of(from));
    snprintf(b, sizeof b, "%s", path_of(to));
    unlink(b);
    int in = open(a, O_RDONLY), out = open(b, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (in < 0) {
        close(out);
        unlink(b);
        return;
    }
    for (ssize_t n; (n = read(in, bytes, sizeof bytes)) > 0;)
        assert_int_equal(write(out, bytes, (size_t)n), n);
    close(in);
    close(out);
}

/* What a machine would find on its disk if it died now. */
static void test_a_copy_of_the_files_after_any_step_recovers_to_that_step(void **state) {
    (void)state;
    struct story s = {0};
    struct why why;
    struct ledger *l = open_ledger("live.db");
    for (size_t i = 0; i < STORY; i++) {
        must(run_step(&s, l, i, &why), &why);
        copy_file("live.db", "copy.db");
        copy_file("live.db-wal", "copy.db-wal");
        struct ledger *copy = open_ledger("copy.db");
        check_story(copy, i + 1);
        ledger_close(copy);
    }
    ledger_close(l);
}

/* Fail the n-th write or commit, for every n: the step is not there at all, and the next try works.
 */
static void sweep(enum fault_kind kind, const char *name) {
    for (uint64_t n = 1;; n++) {
        struct story s = {0};
        struct why why;
        char file[32];
        snprintf(file, sizeof file, "%s%d.db", name, (int)n);
        struct ledger *l = open_ledger(file);
        fault_arm(kind, n);
        size_t done = 0;
        while (done < STORY && run_step(&s, l, done, &why) == OK) done++;
        bool fired = fault_fired(kind);
        fault_arm(kind, 0);
        check_story(l, done);
        if (!fired) {
            assert_int_equal(done, STORY);
            ledger_close(l);
            return;
        }
        ledger_close(l);
        l = open_ledger(file);
        for (; done < STORY; done++) must(run_step(&s, l, done, &why), &why);
        check_story(l, STORY);
        ledger_close(l);
    }
}

static void test_any_write_may_fail_and_nothing_is_half_done(void **state) {
    (void)state;
    sweep(FAULT_WRITE, "write");
    sweep(FAULT_SYNC, "sync");
}

/* A process that is killed in the middle of a transaction, at every write. */
static void test_a_killed_process_leaves_the_step_before(void **state) {
    (void)state;
    for (uint64_t n = 1; n < 60; n++) {
        char file[32];
        snprintf(file, sizeof file, "kill%d.db", (int)n);
        pid_t pid = fork();
        if (pid == 0) {
            struct story s = {0};
            struct why why;
            struct ledger *l = open_ledger(file);
            fault_arm(FAULT_WRITE, n);
            for (size_t i = 0; i < STORY; i++) {
                if (ledger_begin(l, &why) || story[i](&s, l, &why))
                    _exit((int)i); /* as kill -9 would */
                if (ledger_commit(l, &why)) _exit(99);
            }
            _exit(STORY);
        }
        int status;
        waitpid(pid, &status, 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= (int)STORY);
        struct ledger *l = open_ledger(file);
        check_story(l, (size_t)WEXITSTATUS(status));
        ledger_close(l);
        if (WEXITSTATUS(status) == STORY) return;
    }
    fail_msg("the story never ended");
}

static void tell_story(const char *file) {
    struct story s = {0};
    struct why why;
    struct ledger *l = open_ledger(file);
    for (size_t i = 0; i < STORY; i++) must(run_step(&s, l, i, &why), &why);
    ledger_close(l);
}

static void test_whatever_is_changed_afterwards_is_found(void **state) {
    (void)state;
    static const char *const forgeries[] = {
        "UPDATE events SET text = 'nothing happened' WHERE seq = 4",
        "UPDATE events SET at_ms = at_ms + 1 WHERE seq = 4",
        "UPDATE events SET who = 'somebody else' WHERE seq = 4",
        "UPDATE events SET kind = kind || who, who = '' WHERE seq = 4",
        "DELETE FROM events WHERE seq = 4 AND 0 = (SELECT count(*) FROM phases WHERE event = -1)",
        "UPDATE events SET hash = 'x' WHERE seq = 4",
        "UPDATE phases SET at_ms = at_ms - 5 WHERE id = 2",
    };
    for (size_t i = 0; i < sizeof forgeries / sizeof *forgeries; i++) {
        char file[32];
        struct why why;
        struct ledger_verdict verdict;
        snprintf(file, sizeof file, "forged%zu.db", i);
        tell_story(file);
        struct ledger *l = open_ledger(file);
        must(db_script(ledger_db(l), "PRAGMA foreign_keys=OFF", &why), &why);
        must(db_script(ledger_db(l), forgeries[i], &why), &why);
        must(ledger_verify(l, &verdict, &why), &why);
        if (!verdict.broken_seq) fail_msg("not found: %s", forgeries[i]);
        ledger_close(l);
    }
}

static void test_only_one_process_holds_a_ledger(void **state) {
    (void)state;
    struct ledger *l = open_ledger("held.db");
    pid_t pid = fork();
    if (pid == 0) {
        struct ledger *other;
        struct why why;
        _exit(ledger_open(&other, path_of("held.db"), &fake.clock, &why) == ERR_EXISTS ? 0 : 1);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    ledger_close(l);
}

static void test_what_is_no_ledger_is_left_alone(void **state) {
    (void)state;
    struct db *db;
    struct ledger *l;
    struct why why;
    must(db_open(&db, path_of("other.db"), &why), &why);
    must(db_script(db, "CREATE TABLE mine (x)", &why), &why);
    db_close(db);
    assert_int_equal(ledger_open(&l, path_of("other.db"), &fake.clock, &why), ERR_CORRUPT);
    must(db_open(&db, path_of("newer.db"), &why), &why);
    must(db_script(db, "PRAGMA application_id=1148348967; PRAGMA user_version=99", &why), &why);
    db_close(db);
    assert_int_equal(ledger_open(&l, path_of("newer.db"), &fake.clock, &why), ERR_CORRUPT);
    assert_non_null(strstr(why.text, "newer"));
}

/* C1: chosen once, while the migration is planned; a failed transaction leaves it undecided. */
static void test_a_capture_is_chosen_only_while_a_migration_is_planned(void **state) {
    (void)state;
    struct migration m = {.capture = CAPTURE_AUTO}, found = {0};
    struct why why;
    struct ledger *l = open_ledger("capture.db");
    must(ledger_begin(l, &why), &why);
    must(ledger_add_migration(l, "m", &m, &why), &why);
    must(ledger_commit(l, &why), &why);
    must(ledger_load_migration(l, "m", &found, &why), &why);
    assert_int_equal(found.capture, CAPTURE_AUTO);
    must(ledger_begin(l, &why), &why);
    must(ledger_choose_capture(l, &m, CAPTURE_LANE, "legacy refuses PSYNC", &why), &why);
    ledger_rollback(l);
    must(ledger_load_migration(l, "m", &found, &why), &why);
    assert_int_equal(found.capture, CAPTURE_AUTO);
    must(ledger_begin(l, &why), &why);
    must(ledger_choose_capture(l, &m, CAPTURE_LANE, "legacy refuses PSYNC", &why), &why);
    must(ledger_commit(l, &why), &why);
    must(ledger_load_migration(l, "m", &found, &why), &why);
    assert_int_equal(found.capture, CAPTURE_LANE);
    struct phase_move move = {.to = PHASE_CHECKED, .epoch = m.epoch, .who = "test"};
    must(ledger_begin(l, &why), &why);
    must(ledger_move_phase(l, &m, &move, &why), &why);
    must(ledger_commit(l, &why), &why);
    must(ledger_begin(l, &why), &why);
    assert_int_equal(ledger_choose_capture(l, &m, CAPTURE_STREAM, "why not", &why), ERR_STATE);
    ledger_rollback(l);
    must(ledger_load_migration(l, "m", &found, &why), &why);
    assert_int_equal(found.capture, CAPTURE_LANE);
    ledger_close(l);
}

static void test_epochs_never_come_again(void **state) {
    (void)state;
    struct story s = {0};
    struct migration again = {.capture = CAPTURE_STREAM};
    struct why why;
    struct ledger *l = open_ledger("epochs.db");
    for (size_t i = 0; i < STORY; i++) must(run_step(&s, l, i, &why), &why);
    must(ledger_begin(l, &why), &why);
    must(ledger_add_migration(l, "story", &again, &why), &why);
    must(ledger_commit(l, &why), &why);
    assert_true(again.epoch > s.m.epoch);
    ledger_close(l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_story_is_read_back_as_it_was_written, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            test_a_copy_of_the_files_after_any_step_recovers_to_that_step, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_any_write_may_fail_and_nothing_is_half_done, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_killed_process_leaves_the_step_before, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_whatever_is_changed_afterwards_is_found, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_only_one_process_holds_a_ledger, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_no_ledger_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_a_capture_is_chosen_only_while_a_migration_is_planned, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_epochs_never_come_again, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("ledger", tests, NULL, NULL);
}
