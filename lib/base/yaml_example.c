/* yaml_example.c -- the example file, made from the option table. */
#include "lib/base/yaml.h"

#include <string.h>

#define DEPTH_MAX 16

static void indent(struct buf *out, size_t depth) {
    for (size_t i = 0; i < depth; i++) buf_add(out, SLICE("  "));
}

/* The bytes of A and B that are the same up to and with a dot. */
static size_t common_section(const char *a, const char *b) {
    size_t common = 0;
    for (size_t i = 0; a[i] && a[i] == b[i]; i++)
        if (a[i] == '.') common = i + 1;
    return common;
}

/* Whether the first SIZE bytes of PATH, or a section around them, is a switch: a section that turns
 * something on by being there. The example must not turn it on, so it stands in comments. */
static bool in_switch(const struct options *options, const char *path, size_t size) {
    for (size_t i = 0; i < options->count; i++) {
        const char *name = options->table[i].name;
        size_t length = strlen(name);
        if (options->table[i].type == OPTION_BOOL && length <= size &&
            strncmp(name, path, length) == 0 && (path[length] == '.'))
            return true;
    }
    return false;
}

static bool is_prefix_of_another(const struct options *options, const char *name) {
    size_t size = strlen(name);
    for (size_t i = 0; i < options->count; i++)
        if (strncmp(options->table[i].name, name, size) == 0 && options->table[i].name[size] == '.')
            return true;
    return false;
}

/* "# help  (1ms to 1h, default 200ms, live)" */
static void put_comment(const struct option *option, size_t depth, struct buf *out) {
    struct buf notes = {0};
    bool is_number = option->type == OPTION_INT || option->type == OPTION_SIZE ||
                     option->type == OPTION_DURATION;
    if (option->type == OPTION_CHOICE) buf_printf(&notes, "%s; ", option->choices);
    if (option->type == OPTION_SECRET) buf_printf(&notes, "file:/path or env:NAME; ");
    if (is_number && (option->min || option->max)) {
        void (*put)(int64_t, struct buf *) =
            option->type == OPTION_SIZE ? option_format_size : option_format_duration;
        if (option->type == OPTION_INT) {
            buf_printf(&notes, "%lld to %lld; ", (long long)option->min, (long long)option->max);
        } else {
            put(option->min, &notes);
            buf_printf(&notes, " to ");
            put(option->max, &notes);
            buf_printf(&notes, "; ");
        }
    }
    if (option->zero && buf_size(&notes)) {
        notes.end -= 2;
        buf_printf(&notes, ", or %s; ", option->zero);
    }
    if (option->required) buf_printf(&notes, "required; ");
    if (option->live) buf_printf(&notes, "may change while running; ");
    indent(out, depth);
    buf_printf(out, "# %s", option->help);
    if (buf_size(&notes)) {
        buf_printf(out, " (%.*s)", (int)buf_size(&notes) - 2, buf_text(&notes));
    }
    buf_byte(out, '\n');
    buf_close(&notes);
}

static bool needs_quotes(const char *value) {
    return *value == '\0' || strpbrk(value, "{}[],&*#?|<>=!%@\"'`") != NULL ||
           strstr(value, ": ") != NULL || value[strlen(value) - 1] == ':';
}

static void put_option(const struct option *option, const char *key, size_t depth, bool commented,
                       struct buf *out) {
    put_comment(option, depth, out);
    const char *value = option->example ? option->example : option->fallback;
    bool active = !commented && (option->required || option->fallback);
    if (!active && value == NULL) value = option->type == OPTION_BOOL ? "false" : "...";
    indent(out, depth);
    const char *quote = value && needs_quotes(value) ? "\"" : "";
    buf_printf(out, "%s%s: %s%s%s\n", active ? "" : "# ", key, quote, value ? value : "", quote);
}

void yaml_write_example(const struct options *options, struct buf *out) {
    const char *before = "";
    if (options->title) buf_printf(out, "# %s\n", options->title);
    for (size_t i = 0; i < options->count; i++) {
        const struct option *option = &options->table[i];
        size_t common = common_section(before, option->name), depth = 0;
        for (size_t j = 0; j < common; j++) depth += option->name[j] == '.';
        const char *key = option->name + common;
        if (depth == 0 && (i == 0 || strchr(key, '.') || strchr(before, '.'))) buf_byte(out, '\n');
        for (const char *dot; (dot = strchr(key, '.')); key = dot + 1, depth++) {
            indent(out, depth);
            const char *mark =
                in_switch(options, option->name, (size_t)(dot - option->name)) ? "# " : "";
            buf_printf(out, "%s%.*s:\n", mark, (int)(dot - key), key);
        }
        /* A switch that is also a section is turned on by having the section. */
        bool commented = in_switch(options, option->name, strlen(option->name));
        if (!is_prefix_of_another(options, option->name))
            put_option(option, key, depth, commented, out);
        else
            put_comment(option, depth, out);
        before = option->name;
    }
}
