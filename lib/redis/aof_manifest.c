/* aof_manifest.c -- the text that lists the files of an AOF. See aof.h. */
#include "lib/redis/aof.h"

#include "lib/base/mem.h"

#include <ctype.h>
#include <stdlib.h>

#define LINE_SIZE_MAX 1024      /* bytes, as in Redis */
#define LINE_REST_MAX 64        /* of them, all but the name as it is written */
#define SEQ_MAX (INT64_MAX / 2) /* numbers go on from there */

void aof_manifest_close(struct aof_manifest *manifest) {
    for (size_t i = 0; i < manifest->count; i++) mem_free(manifest->files[i].name);
    mem_free(manifest->files);
    *manifest = (struct aof_manifest){0};
}

void aof_manifest_remove(struct aof_manifest *manifest, size_t index) {
    ASSERT(index < manifest->count);
    struct aof_file *file = &manifest->files[index];
    mem_free(file->name);
    manifest->count--;
    memmove(file, file + 1, (manifest->count - index) * sizeof *file);
}

void aof_manifest_copy(struct aof_manifest *to, const struct aof_manifest *from) {
    *to = *from;
    to->files = from->count ? NEW_ARRAY(struct aof_file, from->count) : NULL;
    for (size_t i = 0; i < from->count; i++) {
        to->files[i] = from->files[i];
        to->files[i].name = mem_strdup(from->files[i].name);
    }
}

/* Takes NAME over. */
static struct aof_file *add(struct aof_manifest *manifest, char *name, int64_t seq,
                            enum aof_type type) {
    manifest->files = mem_realloc(manifest->files, (manifest->count + 1) * sizeof *manifest->files);
    struct aof_file *file = &manifest->files[manifest->count++];
    *file = (struct aof_file){.name = name, .seq = seq, .type = type};
    if (type == AOF_BASE) manifest->base_seq = seq;
    if (type == AOF_INCR) manifest->incr_seq = seq;
    return file;
}

const struct aof_file *aof_manifest_base(const struct aof_manifest *manifest) {
    for (size_t i = 0; i < manifest->count; i++)
        if (manifest->files[i].type == AOF_BASE) return &manifest->files[i];
    return NULL;
}

const struct aof_file *aof_manifest_last_incr(const struct aof_manifest *manifest) {
    for (size_t i = manifest->count; i-- > 0;)
        if (manifest->files[i].type == AOF_INCR) return &manifest->files[i];
    return NULL;
}

static char *file_name(const char *prefix, int64_t seq, const char *suffix) {
    struct buf name = {0};
    buf_printf(&name, "%s.%lld%s", prefix, (long long)seq, suffix);
    char *text = mem_strdup(buf_text(&name));
    buf_close(&name);
    return text;
}

const struct aof_file *aof_manifest_new_base(struct aof_manifest *manifest, const char *prefix,
                                             bool rdb) {
    for (size_t i = 0; i < manifest->count; i++)
        if (manifest->files[i].type == AOF_BASE) manifest->files[i].type = AOF_HISTORY;
    int64_t seq = manifest->base_seq + 1;
    return add(manifest, file_name(prefix, seq, rdb ? ".base.rdb" : ".base.aof"), seq, AOF_BASE);
}

const struct aof_file *aof_manifest_new_incr(struct aof_manifest *manifest, const char *prefix) {
    int64_t seq = manifest->incr_seq + 1;
    return add(manifest, file_name(prefix, seq, ".incr.aof"), seq, AOF_INCR);
}

void aof_manifest_adopt_base(struct aof_manifest *manifest, const char *name) {
    add(manifest, mem_strdup(name), 1, AOF_BASE);
}

void aof_manifest_retire_incr(struct aof_manifest *manifest, size_t kept) {
    for (size_t i = manifest->count; i-- > 0;) {
        if (manifest->files[i].type != AOF_INCR) continue;
        if (kept > 0)
            kept--;
        else
            manifest->files[i].type = AOF_HISTORY;
    }
}

void aof_manifest_drop_history(struct aof_manifest *manifest) {
    size_t left = 0;
    for (size_t i = 0; i < manifest->count; i++) {
        if (manifest->files[i].type == AOF_HISTORY)
            mem_free(manifest->files[i].name);
        else
            manifest->files[left++] = manifest->files[i];
    }
    manifest->count = left;
}

static bool name_needs_quotes(const char *name) {
    if (!*name) return true;
    for (const char *c = name; *c; c++)
        if (*c == '\\' || *c == '"' || *c == '\'' || !isprint((unsigned char)*c) ||
            isspace((unsigned char)*c))
            return true;
    return false;
}

static const char escape_letters[] = "nrtba", escaped_bytes[] = "\n\r\t\b\a";

static void format_name(struct buf *text, const char *name) {
    if (!name_needs_quotes(name)) {
        buf_printf(text, "%s", name);
        return;
    }
    buf_byte(text, '"');
    for (const char *c = name; *c; c++) {
        const char *at = strchr(escaped_bytes, *c);
        if (*c == '\\' || *c == '"')
            buf_printf(text, "\\%c", *c);
        else if (at)
            buf_printf(text, "\\%c", escape_letters[at - escaped_bytes]);
        else if (isprint((unsigned char)*c))
            buf_byte(text, (uint8_t)*c);
        else
            buf_printf(text, "\\x%02x", (unsigned char)*c);
    }
    buf_byte(text, '"');
}

void aof_manifest_format(const struct aof_manifest *manifest, struct buf *text) {
    static const enum aof_type order[] = {AOF_BASE, AOF_HISTORY, AOF_INCR};
    for (size_t t = 0; t < sizeof order / sizeof *order; t++)
        for (size_t i = 0; i < manifest->count; i++) {
            const struct aof_file *file = &manifest->files[i];
            if (file->type != order[t]) continue;
            buf_printf(text, "file ");
            format_name(text, file->name);
            buf_printf(text, " seq %lld type %c\n", (long long)file->seq, (int)file->type);
        }
}

static int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* One character of a double-quoted word, escapes undone. */
static bool take_quoted_char(struct slice *rest, struct buf *word) {
    const uint8_t *p = rest->data;
    if (p[0] != '\\' || rest->size < 2) {
        buf_byte(word, p[0]);
        *rest = slice_drop(*rest, 1);
        return p[0] != '\\';
    }
    if (p[1] == 'x' && rest->size >= 4 && hex_digit(p[2]) >= 0 && hex_digit(p[3]) >= 0) {
        buf_byte(word, (uint8_t)(hex_digit(p[2]) * 16 + hex_digit(p[3])));
        *rest = slice_drop(*rest, 4);
        return true;
    }
    const char *at = p[1] ? strchr(escape_letters, p[1]) : NULL;
    buf_byte(word, at ? (uint8_t)escaped_bytes[at - escape_letters] : p[1]);
    *rest = slice_drop(*rest, 2);
    return true;
}

static bool is_space(uint8_t c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The inside of a word up to QUOTE (0: up to a space). */
static bool take_inside(struct slice *rest, uint8_t quote, struct buf *word) {
    while (rest->size && (quote ? rest->data[0] != quote : !is_space(rest->data[0]))) {
        if (quote == '"') {
            if (!take_quoted_char(rest, word)) return false;
        } else if (quote == '\'' && rest->size >= 2 && rest->data[0] == '\\' &&
                   rest->data[1] == '\'') {
            buf_byte(word, '\'');
            *rest = slice_drop(*rest, 2);
        } else {
            buf_byte(word, rest->data[0]);
            *rest = slice_drop(*rest, 1);
        }
    }
    return true;
}

/* Take the next word of LINE, quoted or not. False at a quote that does not end, or that ends
 * inside a word. *FOUND tells an empty word from the end of the line. */
static bool take_word(struct slice *line, struct buf *word, bool *found) {
    struct slice rest = *line;
    while (rest.size && is_space(rest.data[0])) rest = slice_drop(rest, 1);
    *found = rest.size > 0;
    buf_clear(word);
    uint8_t quote = rest.size && (rest.data[0] == '"' || rest.data[0] == '\'') ? rest.data[0] : 0;
    if (quote) rest = slice_drop(rest, 1);
    if (!take_inside(&rest, quote, word)) return false;
    if (quote) {
        if (rest.size == 0) return false;
        rest = slice_drop(rest, 1);
        if (rest.size && !is_space(rest.data[0])) return false;
    }
    *line = rest;
    return true;
}

static bool is_plain_name(struct slice name) {
    if (name.size == 0 || slice_equal(name, SLICE(".")) || slice_equal(name, SLICE("..")))
        return false;
    return !memchr(name.data, '/', name.size) && !memchr(name.data, '\\', name.size) &&
           !memchr(name.data, '\0', name.size);
}

struct line {
    struct buf name;
    int64_t seq;
    char type;
};

static const char *const bad_format = "Invalid AOF manifest file format";

/* NULL, or what is wrong with this pair of words. */
static const char *take_field(struct line *line, struct slice name, struct buf *value) {
    struct slice got = buf_slice(value);
    if (slice_equal_nocase(name, SLICE("file"))) {
        if (!is_plain_name(got)) return "File can't be a path, just a filename";
        buf_clear(&line->name);
        buf_add(&line->name, got);
    } else if (slice_equal_nocase(name, SLICE("seq"))) {
        line->seq = strtoll(buf_text(value), NULL, 10);
        if (line->seq < 0 || line->seq > SEQ_MAX) line->seq = 0; /* no file was ever so called */
    } else if (slice_equal_nocase(name, SLICE("type"))) {
        line->type = got.size ? (char)got.data[0] : '\0';
    }
    return NULL;
}

/* NULL, or what is wrong with the line. */
static const char *parse_line(struct slice text, struct line *line) {
    struct buf name = {0}, value = {0};
    const char *fault = NULL;
    unsigned pairs = 0;
    while (!fault) {
        bool found;
        if (!take_word(&text, &name, &found)) fault = bad_format;
        if (fault || !found) break;
        if (!take_word(&text, &value, &found) || !found)
            fault = bad_format;
        else
            fault = take_field(line, buf_slice(&name), &value);
        pairs++;
    }
    if (!fault && (pairs < 3 || buf_size(&line->name) == 0 || line->seq == 0 || !line->type))
        fault = bad_format;
    buf_close(&name);
    buf_close(&value);
    return fault;
}

/* Can the name be written again, with all its escapes? */
static bool name_fits(const char *name) {
    struct buf written = {0};
    format_name(&written, name);
    bool fits = buf_size(&written) <= LINE_SIZE_MAX - LINE_REST_MAX;
    buf_close(&written);
    return fits;
}

static const char *add_line(struct aof_manifest *manifest, struct line *line) {
    if (line->type == AOF_BASE) {
        if (aof_manifest_base(manifest)) return "Found duplicate base file information";
    } else if (line->type == AOF_INCR) {
        if (line->seq <= manifest->incr_seq) return "Found a non-monotonic sequence number";
    } else if (line->type != AOF_HISTORY) {
        return "Unknown AOF file type";
    }
    if (!name_fits(buf_text(&line->name))) return "The name of a file is too long";
    add(manifest, mem_strdup(buf_text(&line->name)), line->seq, (enum aof_type)line->type);
    return NULL;
}

enum err aof_manifest_parse(struct slice text, struct aof_manifest *manifest, struct why *why) {
    ASSERT(manifest->count == 0);
    if (text.size == 0) return why_set(why, ERR_CORRUPT, "Found an empty AOF manifest");
    if (text.size > AOF_MANIFEST_SIZE_MAX)
        return why_set(why, ERR_LIMIT, "The AOF manifest file is too large");
    struct line line = {0};
    const char *fault = NULL;
    unsigned number = 0;
    while (!fault && text.size) {
        number++;
        const uint8_t *end = memchr(text.data, '\n', text.size);
        size_t size = end ? (size_t)(end - text.data) + 1 : text.size;
        struct slice one = slice_take(text, size);
        text = slice_drop(text, size);
        if (one.data[0] == '#') continue;
        line.seq = 0;
        line.type = '\0';
        buf_clear(&line.name);
        if (!end || size > LINE_SIZE_MAX) fault = "The AOF manifest file contains too long line";
        if (!fault) fault = parse_line(one, &line);
        if (!fault) fault = add_line(manifest, &line);
    }
    buf_close(&line.name);
    if (!fault) return OK;
    aof_manifest_close(manifest);
    return why_set(why, ERR_CORRUPT, "AOF manifest, line %u: %s", number, fault);
}
