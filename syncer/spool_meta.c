/* spool_meta.c -- what a spool says about itself. See spool_meta.h. */
#include "syncer/spool_meta.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

static const char *const kinds[] = {"empty", "receiving", "copy", "stream"};

void spool_meta_encode(const struct spool_meta *meta, struct buf *text) {
    buf_printf(text, "drawbridge-spool 1\nkind %s\ngeneration %" PRIu64 "\nrdb_bytes %" PRIu64 "\n", kinds[meta->kind],
               meta->generation, meta->rdb_bytes);
    buf_printf(text, "begin %" PRIu64 " %d\ncopy_id %s\nboot %s\n", meta->begin, meta->begin_db,
               meta->copy_id[0] ? meta->copy_id : "-", meta->boot[0] ? meta->boot : "-");
    for (size_t i = 0; i < meta->histories; i++)
        buf_printf(text, "history %s %" PRIu64 "\n", meta->history[i].replid, meta->history[i].from);
    buf_printf(text, "end\n");
}

bool replid_valid(struct slice text) {
    if (text.size != REPLID_SIZE) return false;
    for (size_t i = 0; i < text.size; i++)
        if (!isxdigit(text.data[i])) return false;
    return true;
}

static bool read_kind(const char *word, enum spool_kind *kind) {
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(word, kinds[i]) == 0) {
            *kind = (enum spool_kind)i;
            return true;
        }
    return false;
}

/* A word of up to 40 characters, or "-" for none. */
static void read_word(char *out, const char *word) {
    if (strcmp(word, "-") == 0) out[0] = '\0';
    else snprintf(out, 40, "%.39s", word);
}

static bool read_line(const char *line, struct spool_meta *meta) {
    char word[48];
    if (sscanf(line, "kind %47s", word) == 1) return read_kind(word, &meta->kind);
    if (sscanf(line, "generation %" SCNu64, &meta->generation) == 1) return true;
    if (sscanf(line, "rdb_bytes %" SCNu64, &meta->rdb_bytes) == 1) return true;
    if (sscanf(line, "begin %" SCNu64 " %d", &meta->begin, &meta->begin_db) == 2)
        return meta->begin_db >= -1;
    if (sscanf(line, "copy_id %40s", word) == 1) {
        if (strcmp(word, "-") == 0) return true;
        memcpy(meta->copy_id, word, REPLID_SIZE + 1);
        return replid_valid(slice_text(word));
    }
    if (sscanf(line, "boot %39s", word) == 1) {
        read_word(meta->boot, word);
        return true;
    }
    uint64_t from = 0;
    if (sscanf(line, "history %40s %" SCNu64, word, &from) == 2) {
        if (!replid_valid(slice_text(word)) || meta->histories == SPOOL_HISTORY_MAX) return false;
        if (meta->histories > 0 && meta->history[meta->histories - 1].from > from) return false;
        struct spool_history *h = &meta->history[meta->histories++];
        memcpy(h->replid, word, REPLID_SIZE + 1);
        h->from = from;
        return true;
    }
    return false;
}

enum err spool_meta_decode(struct slice text, struct spool_meta *meta, struct why *why) {
    struct spool_meta read = {0};
    bool first = true, ended = false;
    while (text.size > 0 && !ended) {
        char line[160];
        const uint8_t *nl = memchr(text.data, '\n', text.size);
        size_t size = nl ? (size_t)(nl - text.data) : text.size;
        if (!nl || size >= sizeof line) return why_set(why, ERR_CORRUPT, "a line of the spool's meta file is cut or too long");
        memcpy(line, text.data, size);
        line[size] = '\0';
        text = slice_drop(text, size + 1);
        if (first && strcmp(line, "drawbridge-spool 1") != 0)
            return why_set(why, ERR_CORRUPT, "this is not a spool's meta file of version 1");
        ended = strcmp(line, "end") == 0;
        if (!first && !ended && !read_line(line, &read))
            return why_set(why, ERR_CORRUPT, "a line of the spool's meta file is wrong: %s", line);
        first = false;
    }
    if (!ended) return why_set(why, ERR_CORRUPT, "the spool's meta file is cut");
    if (read.kind != SPOOL_EMPTY && read.histories == 0)
        return why_set(why, ERR_CORRUPT, "the spool's meta file names no replication id");
    *meta = read;
    return OK;
}

bool spool_meta_holds(const struct spool_meta *meta, const char *replid, uint64_t offset, uint64_t end) {
    for (size_t i = 0; i < meta->histories; i++) {
        uint64_t until = i + 1 < meta->histories ? meta->history[i + 1].from : end;
        if (strcmp(meta->history[i].replid, replid) == 0 && offset >= meta->history[i].from && offset <= until) return true;
    }
    return false;
}

void spool_meta_rename(struct spool_meta *meta, const char *replid, uint64_t offset) {
    ASSERT(meta->histories == 0 || meta->history[meta->histories - 1].from <= offset);
    if (meta->histories > 0 && strcmp(meta->history[meta->histories - 1].replid, replid) == 0) return;
    if (meta->histories == SPOOL_HISTORY_MAX) {
        memmove(meta->history, meta->history + 1, sizeof *meta->history * (SPOOL_HISTORY_MAX - 1));
        meta->histories--;
    }
    struct spool_history *h = &meta->history[meta->histories++];
    snprintf(h->replid, sizeof h->replid, "%.40s", replid);
    h->from = offset;
}

void spool_meta_cut(struct spool_meta *meta, uint64_t end) {
    while (meta->histories > 1 && meta->history[meta->histories - 1].from > end) meta->histories--;
}
