/* yaml.c -- YAML events into option tables: a stack of names, and a place for every error. */
#include "lib/base/yaml.h"

#include "lib/base/fs.h"
#include "lib/base/mem.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

#define FILE_BYTES_MAX (256u * 1024)
#define DEPTH_MAX 16
#define PATH_BYTES_MAX 128

struct reader {
    const char *name; /* of the file */
    const struct options *options;
    void *base;
    bool *seen;
    yaml_parser_t parser;
    char path[PATH_BYTES_MAX];     /* dotted, of the mapping or key at hand */
    size_t lengths[DEPTH_MAX];     /* of the path in front of each open mapping's keys */
    size_t depth;                  /* open mappings */
    char keys[64][PATH_BYTES_MAX]; /* mappings opened so far, to refuse a second one of a name */
    size_t key_count;
};

static enum err fail_at(const struct reader *reader, yaml_mark_t mark, struct why *why,
                        const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static enum err fail_at(const struct reader *reader, yaml_mark_t mark, struct why *why,
                        const char *fmt, ...) {
    char text[sizeof why->text];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return why_set(why, ERR_CONFIG, "%s:%zu:%zu: %.400s", reader->name, mark.line + 1,
                   mark.column + 1, text);
}

static enum err parser_error(const struct reader *reader, struct why *why) {
    const yaml_parser_t *parser = &reader->parser;
    const char *problem = parser->problem ? parser->problem : "not YAML";
    yaml_mark_t mark = parser->problem_mark;
    if (parser->error == YAML_READER_ERROR) {
        mark = parser->mark;
        problem = parser->problem ? parser->problem : "not UTF-8";
    }
    return fail_at(reader, mark, why, "%s%s%s", problem, parser->context ? " " : "",
                   parser->context ? parser->context : "");
}

/* ---- names ---- */

/* Whether some option's path begins with "NAME." */
static bool is_section(const struct options *options, const char *name) {
    size_t size = strlen(name);
    for (size_t i = 0; i < options->count; i++)
        if (strncmp(options->table[i].name, name, size) == 0 && options->table[i].name[size] == '.')
            return true;
    return false;
}

static enum err unknown(const struct reader *reader, yaml_mark_t mark, struct why *why) {
    char nearest[OPTION_NAME_BYTES];
    if (!options_nearest(reader->options, reader->path, nearest))
        return fail_at(reader, mark, why, "%s: there is no such option", reader->path);
    return fail_at(reader, mark, why, "%s: there is no such option; did you mean %s?", reader->path,
                   nearest);
}

static enum err push_key(struct reader *reader, const yaml_event_t *event, struct why *why) {
    size_t at = reader->lengths[reader->depth - 1], size = event->data.scalar.length;
    const char *key = (const char *)event->data.scalar.value;
    if (size == 0 || strlen(key) != size || at + 1 + size + 1 > PATH_BYTES_MAX)
        return fail_at(reader, event->start_mark, why, "a key must have between 1 and %d letters",
                       PATH_BYTES_MAX / 2);
    if (at) reader->path[at++] = '.';
    memcpy(reader->path + at, key, size + 1);
    if (!options_find(reader->options, reader->path) && !is_section(reader->options, reader->path))
        return unknown(reader, event->start_mark, why);
    return OK;
}

/* ---- values ---- */

static bool is_null(const yaml_event_t *event) {
    const char *text = (const char *)event->data.scalar.value;
    return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (*text == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static enum err mark_seen(struct reader *reader, const struct option *option, yaml_mark_t mark,
                          struct why *why) {
    bool *seen = &reader->seen[option - reader->options->table];
    if (*seen) return fail_at(reader, mark, why, "%s is given twice", reader->path);
    *seen = true;
    return OK;
}

static enum err take_scalar(struct reader *reader, const yaml_event_t *event, struct why *why) {
    const struct option *option = options_find(reader->options, reader->path);
    const char *text = (const char *)event->data.scalar.value;
    if (event->data.scalar.tag)
        return fail_at(reader, event->start_mark, why, "%s: tags are not used here", reader->path);
    if (is_null(event)) return OK;
    if (option == NULL)
        return fail_at(reader, event->start_mark, why,
                       "%s: found '%.80s', expected a section { ... }", reader->path, text);
    if (strlen(text) != event->data.scalar.length)
        return fail_at(reader, event->start_mark, why, "%s: there is a NUL in the text",
                       reader->path);
    enum err err = mark_seen(reader, option, event->start_mark, why);
    if (err) return err;
    struct why inner;
    err = option_set(option, reader->base, text, &inner);
    return err ? fail_at(reader, event->start_mark, why, "%s", inner.text) : OK;
}

/* ---- mappings ---- */

static enum err open_mapping(struct reader *reader, const yaml_event_t *event, struct why *why) {
    if (reader->depth == DEPTH_MAX || reader->key_count == 64)
        return fail_at(reader, event->start_mark, why, "more than %d levels", DEPTH_MAX);
    if (reader->depth > 0) {
        const struct option *option = options_find(reader->options, reader->path);
        if (!is_section(reader->options, reader->path))
            return fail_at(reader, event->start_mark, why, "%s: found a section, expected a value",
                           reader->path);
        for (size_t i = 0; i < reader->key_count; i++)
            if (strcmp(reader->keys[i], reader->path) == 0)
                return fail_at(reader, event->start_mark, why, "%s is given twice", reader->path);
        memcpy(reader->keys[reader->key_count++], reader->path, PATH_BYTES_MAX);
        if (option && option->type == OPTION_BOOL) {
            enum err err = mark_seen(reader, option, event->start_mark, why);
            if (err) return err;
            *(bool *)((char *)reader->base + option->offset) = true;
        }
    }
    reader->lengths[reader->depth++] = strlen(reader->path);
    return OK;
}

/* Back to the mapping around this one. */
static void close_mapping(struct reader *reader) {
    reader->depth--;
    if (reader->depth) reader->path[reader->lengths[reader->depth - 1]] = '\0';
}

/* One event inside the document. *WANTS_KEY says whether a key or its value comes next. */
static enum err take(struct reader *reader, const yaml_event_t *event, bool *wants_key,
                     struct why *why) {
    enum err err;
    switch ((int)event->type) {
    case YAML_MAPPING_START_EVENT:
        if (event->data.mapping_start.anchor || (reader->depth && *wants_key)) break;
        *wants_key = true;
        return open_mapping(reader, event, why);
    case YAML_MAPPING_END_EVENT:
        close_mapping(reader);
        *wants_key = true;
        return OK;
    case YAML_SCALAR_EVENT:
        if (event->data.scalar.anchor) break;
        if (reader->depth == 0) {
            if (is_null(event)) return OK; /* an empty document */
            return fail_at(reader, event->start_mark, why, "expected a section with keys");
        }
        if (*wants_key) {
            *wants_key = false;
            return push_key(reader, event, why);
        }
        err = take_scalar(reader, event, why);
        reader->path[reader->lengths[reader->depth - 1]] = '\0';
        *wants_key = true;
        return err;
    default: break;
    }
    return fail_at(reader, event->start_mark, why, "%s%sfound %s, expected a value or a section",
                   reader->path, *reader->path ? ": " : "",
                   event->type == YAML_SEQUENCE_START_EVENT ? "a list" : "an anchor or an alias");
}

static enum err read_events(struct reader *reader, struct why *why) {
    bool wants_key = true;
    size_t documents = 0;
    for (;;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&reader->parser, &event)) return parser_error(reader, why);
        yaml_event_type_t type = event.type;
        enum err err = OK;
        if (type == YAML_DOCUMENT_START_EVENT && ++documents > 1)
            err = fail_at(reader, event.start_mark, why, "a second document; only one is expected");
        bool structural = type == YAML_STREAM_START_EVENT || type == YAML_STREAM_END_EVENT ||
                          type == YAML_DOCUMENT_START_EVENT || type == YAML_DOCUMENT_END_EVENT;
        if (!structural) err = take(reader, &event, &wants_key, why);
        yaml_event_delete(&event);
        if (err) return err;
        if (type == YAML_STREAM_END_EVENT) return OK;
    }
}

enum err yaml_read(struct slice text, const char *name, const struct options *options, void *base,
                   bool *seen, struct why *why) {
    struct reader *reader = NEW(struct reader);
    reader->name = name;
    reader->options = options;
    reader->base = base;
    reader->seen = seen;
    enum err err;
    if (!yaml_parser_initialize(&reader->parser)) {
        mem_free(reader);
        return why_set(why, ERR_NOMEM, "%s: out of memory", name);
    }
    yaml_parser_set_encoding(&reader->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader->parser, text.size ? text.data : (const uint8_t *)"",
                                 text.size);
    err = read_events(reader, why);
    yaml_parser_delete(&reader->parser);
    mem_free(reader);
    return err;
}

enum err yaml_read_file(const char *path, const struct options *options, void *base, bool *seen,
                        struct why *why) {
    struct buf text = {0};
    enum err err = fs_read_file(path, FILE_BYTES_MAX, &text, why);
    if (err == OK) err = yaml_read(buf_slice(&text), path, options, base, seen, why);
    buf_close(&text);
    return err;
}
