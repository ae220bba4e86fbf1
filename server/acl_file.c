/* acl_file.c -- users from `user` lines of the configuration and from the aclfile. */
#include "server/acl_inside.h"

#include "lib/base/mem.h"
#include "server/args.h"
#include "server/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define FILE_BYTES_MAX (16u << 20)

/* ---- the configuration ---- */

static bool is_configured(const struct engine_acl *acl, struct slice name) {
    for (size_t i = 0; i < acl->configured_count; i++)
        if (slice_equal(acl_word_slice(&acl->configured[i].items[0]), name)) return true;
    return false;
}

/* The rules are tried at once, so that a mistake is told with the line that has it. */
enum err acl_config_user(struct engine *engine, int argc, const struct slice *argv,
                         struct why *why) {
    struct engine_acl *acl = engine->acl;
    struct acl_words words = {0}, rules = {0};
    int bad;
    if (argc < 1) return why_set(why, ERR_CONFIG, "wrong number of arguments");
    if (is_configured(acl, argv[0]))
        return why_set(why, ERR_CONFIG,
                       "Duplicate user found. A user can only be defined once in config files");
    if (acl_has_spaces(argv[0]))
        return why_set(why, ERR_CONFIG, "Spaces not allowed in ACL usernames");
    if (acl_merge_rules(argc - 1, argv + 1, &rules, &bad) != OK)
        return why_set(why, ERR_CONFIG, "Unmatched parenthesis in acl selector");
    struct acl_user *tried = acl_user_new(argv[0], false);
    acl_words_add(&words, argv[0], 0);
    enum err err = OK;
    for (size_t i = 0; err == OK && i < rules.count; i++) {
        struct slice rule = acl_word_slice(&rules.items[i]);
        err = acl_user_rule(tried, rule, false, why);
        acl_words_add(&words, rule, 0);
    }
    acl_user_free(tried);
    acl_words_clear(&rules);
    if (err != OK) {
        acl_words_clear(&words);
        return err;
    }
    acl->configured =
        mem_realloc(acl->configured, (acl->configured_count + 1) * sizeof *acl->configured);
    acl->configured[acl->configured_count++] = words;
    return OK;
}

static enum err make_configured(struct engine *engine, const struct acl_words *words,
                                struct why *why) {
    struct slice name = acl_word_slice(&words->items[0]);
    struct acl_user *user = acl_user_named(engine, name);
    bool channels = acl_channels_by_default(engine);
    enum err err = OK;
    if (user)
        err = acl_user_rule(user, SLICE("reset"), channels, why);
    else {
        user = acl_user_new(name, channels);
        acl_users_add(engine, user);
    }
    for (size_t i = 1; err == OK && i < words->count; i++)
        err = acl_user_rule(user, acl_word_slice(&words->items[i]), channels, why);
    if (err == OK && user->flags & ACL_USER_OFF)
        engine_log(engine, '*',
                   "The user '%.*s' is off: its description does not say 'on'. Make sure that this "
                   "is meant.",
                   (int)name.size, (const char *)name.data);
    return err;
}

enum err acl_start(struct engine *engine, struct why *why) {
    struct engine_acl *acl = engine->acl;
    bool has_file = engine->settings.aclfile[0] != '\0';
    if (has_file && acl->configured_count > 0)
        return why_set(why, ERR_CONFIG,
                       "users stand in the configuration, and there is an aclfile: one or the "
                       "other");
    acl_set_requirepass(engine);
    for (size_t i = 0; i < acl->configured_count; i++) {
        enum err err = make_configured(engine, &acl->configured[i], why);
        if (err != OK) return err;
    }
    struct buf errors = {0};
    enum err err = has_file ? acl_file_load(engine, &errors) : OK;
    if (err != OK) (void)why_set(why, err, "%s", buf_text(&errors));
    buf_close(&errors);
    return err;
}

static void write_user(const struct acl_user *user, struct buf *out) {
    buf_printf(out, "user ");
    buf_add(out, acl_user_name(user));
    buf_byte(out, ' ');
    acl_user_describe(user, out);
    buf_byte(out, '\n');
}

void acl_write_users(struct engine *engine, struct buf *out) {
    if (engine->settings.aclfile[0] != '\0') return;
    for (size_t i = 0; i < engine->acl->count; i++) write_user(engine->acl->users[i], out);
}

/* ---- the file ---- */

struct loading {
    struct engine *engine;
    struct acl_user **users;
    size_t count;
    struct buf *errors;
    const char *path;
    int line;
};

static struct acl_user *loaded_user(struct loading *l, struct slice name) {
    for (size_t i = 0; i < l->count; i++)
        if (slice_equal(acl_user_name(l->users[i]), name)) return l->users[i];
    return NULL;
}

static void load_rules(struct loading *l, struct acl_user *user, int argc,
                       const struct slice *argv) {
    struct acl_words rules = {0};
    bool told = false;
    int bad;
    if (acl_merge_rules(argc, argv, &rules, &bad) != OK)
        buf_printf(l->errors, "%s:%d: Unmatched parenthesis in selector definition.", l->path,
                   l->line);
    for (size_t i = 0; i < rules.count; i++) {
        struct slice rule = acl_word_slice(&rules.items[i]);
        struct why why;
        enum err err = acl_user_rule(user, rule, acl_channels_by_default(l->engine), &why);
        if (err == ERR_ABSENT)
            buf_printf(l->errors, "%s:%d: Error in applying operation '%.*s': %s. ", l->path,
                       l->line, (int)rule.size, (const char *)rule.data, why.text);
        else if (err != OK && !told) { /* what follows may be wrong because of this one */
            buf_printf(l->errors, "%s:%d: %s. ", l->path, l->line, why.text);
            told = true;
        }
    }
    acl_words_clear(&rules);
}

/* Words are separated by single spaces; there are no quotes in this file. */
static int split(struct slice line, struct acl_words *words, struct slice **argv) {
    while (line.size > 0) {
        const uint8_t *space = memchr(line.data, ' ', line.size);
        size_t size = space ? (size_t)(space - line.data) : line.size;
        if (size > 0) acl_words_add(words, slice_take(line, size), 0);
        line = slice_drop(line, space ? size + 1 : size);
    }
    *argv = NEW_ARRAY(struct slice, words->count + 1);
    for (size_t i = 0; i < words->count; i++) (*argv)[i] = acl_word_slice(&words->items[i]);
    return (int)words->count;
}

static void load_user(struct loading *l, int argc, const struct slice *argv) {
    if (argc < 2 || !slice_equal(argv[0], SLICE("user")))
        buf_printf(l->errors, "%s:%d should start with user keyword followed by the username. ",
                   l->path, l->line);
    else if (acl_has_spaces(argv[1]))
        buf_printf(l->errors, "'%s:%d: username '%.*s' contains invalid characters. ", l->path,
                   l->line, (int)argv[1].size, (const char *)argv[1].data);
    else if (loaded_user(l, argv[1]))
        buf_printf(l->errors, "WARNING: Duplicate user '%.*s' found on line %d. ",
                   (int)argv[1].size, (const char *)argv[1].data, l->line);
    else {
        struct acl_user *user = acl_user_new(argv[1], acl_channels_by_default(l->engine));
        l->users = mem_realloc(l->users, (l->count + 1) * sizeof *l->users);
        l->users[l->count++] = user;
        load_rules(l, user, argc - 2, argv + 2);
    }
}

static struct slice trimmed(struct slice line) {
    while (line.size > 0 && memchr(" \t\r\n", line.data[0], 4)) line = slice_drop(line, 1);
    while (line.size > 0 && memchr(" \t\r\n", line.data[line.size - 1], 4)) line.size--;
    return line;
}

static void load_text(struct loading *l, struct slice text) {
    for (l->line = 1; text.size > 0; l->line++) {
        const uint8_t *end = memchr(text.data, '\n', text.size);
        size_t size = end ? (size_t)(end - text.data) : text.size;
        struct slice line = trimmed(slice_take(text, size));
        text = slice_drop(text, end ? size + 1 : size);
        if (line.size == 0) continue;
        struct acl_words words = {0};
        struct slice *argv;
        int argc = split(line, &words, &argv);
        load_user(l, argc, argv);
        mem_free(argv);
        acl_words_clear(&words);
    }
}

/* All users of the file, or none. */
enum err acl_file_load(struct engine *engine, struct buf *errors) {
    struct loading l = {.engine = engine, .errors = errors, .path = engine->settings.aclfile};
    FILE *file = fopen(l.path, "r");
    if (file == NULL) {
        buf_printf(errors, "Error loading ACLs, opening file '%s': %s", l.path, strerror(errno));
        return ERR_IO;
    }
    struct buf text = {0};
    size_t got;
    while (buf_size(&text) < FILE_BYTES_MAX &&
           (got = fread(buf_room(&text, 4096), 1, 4096, file)) > 0)
        buf_filled(&text, got);
    fclose(file);
    load_text(&l, buf_slice(&text));
    buf_close(&text);
    bool good = buf_size(errors) == 0;
    if (good)
        acl_users_replace(engine, l.users, l.count);
    else
        buf_printf(errors, "WARNING: ACL errors detected, no change to the previously active ACL "
                           "rules was performed");
    for (size_t i = 0; !good && i < l.count; i++) acl_user_free(l.users[i]);
    mem_free(l.users);
    return good ? OK : ERR_CONFIG;
}

static bool write_file(const char *path, struct slice text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool good = fd >= 0;
    while (good && text.size > 0) {
        ssize_t put = write(fd, text.data, text.size);
        good = put > 0;
        if (good) text = slice_drop(text, (size_t)put);
    }
    good = good && fsync(fd) == 0;
    if (fd >= 0) close(fd);
    return good;
}

enum err acl_file_save(struct engine *engine, struct why *why) {
    struct buf text = {0}, temporary = {0};
    const char *path = engine->settings.aclfile;
    for (size_t i = 0; i < engine->acl->count; i++) write_user(engine->acl->users[i], &text);
    buf_printf(&temporary, "%s.tmp-%d", path, (int)getpid());
    const char *name = buf_text(&temporary);
    enum err err = OK;
    if (!write_file(name, buf_slice(&text)) || rename(name, path) != 0) {
        err = why_set(why, ERR_IO, "%s: %s", name, strerror(errno));
        (void)unlink(name);
    }
    buf_close(&temporary);
    buf_close(&text);
    return err;
}
