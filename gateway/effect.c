/* effect.c -- the life of an effect: its keys, its bytes, and blocks. See effect.h. */
#include "gateway/effect_inside.h"

#include <stdlib.h>

#define KEYS_ON_STACK 16u
#define DATABASES_USUAL 16 /* of a server that did not say how many it has */

/* ---- keys ---- */

/* What a key's flags in the command table mean for a lane. */
static unsigned use_of(unsigned flags) {
    if (flags & COMMAND_KEY_RO) return EFFECT_READ;
    if (flags & COMMAND_KEY_RM) return EFFECT_REPLACE;
    /* OW with INSERT is done only if there is no value yet: SETNX, RENAMENX, MSETNX. */
    if ((flags & COMMAND_KEY_OW) && !(flags & COMMAND_KEY_INSERT)) return EFFECT_REPLACE;
    return EFFECT_READ_WRITE;
}

static unsigned use_corrected(const struct effect_draft *draft, enum effect_keys keys, size_t at,
                              unsigned use) {
    unsigned options = draft->options;
    if (draft->reads_only) return EFFECT_READ;
    switch (keys) {
    case KEYS_REPLACED: return EFFECT_REPLACE;
    case KEYS_FIRST_REPLACED: return at == 1 ? EFFECT_REPLACE : use;
    case KEYS_FIRST_MOVED: return at == 1 ? EFFECT_READ_WRITE : use;
    case KEYS_WRITTEN: return EFFECT_READ_WRITE;
    case KEYS_OF_SET:
        if (draft->unsure) return EFFECT_READ_WRITE;
        return options & (OPTION_NX | OPTION_XX | OPTION_KEEPTTL) ? EFFECT_READ_WRITE
                                                                  : EFFECT_REPLACE;
    case KEYS_OF_RESTORE:
    case KEYS_OF_COPY:
        return use != EFFECT_READ && !(options & OPTION_REPLACE) ? EFFECT_READ_WRITE : use;
    case KEYS_AS_TOLD:
    case KEYS_OF_MOVE:
    case KEYS_OF_PFMERGE:
    default: return use;
    }
}

static int key_order(const void *left, const void *right) {
    const struct effect_key *a = left, *b = right;
    if (a->db != b->db) return a->db < b->db ? -1 : 1;
    return slice_compare(a->name, b->name);
}

static void merge_key(struct effect_key *into, const struct effect_key *key) {
    unsigned use = into->use | key->use;
    if (use & EFFECT_READ) use &= ~(unsigned)EFFECT_WHOLE;
    if (key->expiry == EFFECT_EXPIRY_NONE) into->expiry = key->expiry;
    into->use = (uint8_t)use;
}

/* Each key once. A key that is read and replaced is no longer 'replaced whatever it was'. */
static size_t keys_unite(struct effect_key *keys, size_t count) {
    if (count < 2) return count;
    if (count > KEYS_ON_STACK) {
        qsort(keys, count, sizeof *keys, key_order);
        size_t kept = 0;
        for (size_t i = 1; i < count; i++) {
            if (key_order(&keys[kept], &keys[i]) == 0)
                merge_key(&keys[kept], &keys[i]);
            else
                keys[++kept] = keys[i];
        }
        return kept + 1;
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        size_t same = 0;
        while (same < kept && key_order(&keys[same], &keys[i]) != 0) same++;
        if (same < kept)
            merge_key(&keys[same], &keys[i]);
        else
            keys[kept++] = keys[i];
    }
    return kept;
}

static void fill_keys(struct effect *effect, const struct effect_draft *draft,
                      const struct command_key *found, size_t count) {
    const struct effect_rule *rule = effect->inside->rule;
    enum effect_keys special = rule != NULL ? rule->keys : KEYS_AS_TOLD;
    /* One more: MOVE writes its key in another database too. */
    struct effect_key *keys = effect->inside->few_keys;
    if (count + 1 > EFFECT_FEW_KEYS) keys = NEW_ARRAY(struct effect_key, count + 1);
    for (size_t i = 0; i < count; i++) {
        unsigned use = use_corrected(draft, special, found[i].at, use_of(found[i].flags));
        keys[i] = (struct effect_key){.name = effect->inside->argv[found[i].at],
                                      .db = effect->db,
                                      .use = (uint8_t)use,
                                      .expiry = use & EFFECT_WHOLE ? EFFECT_EXPIRY_NONE
                                                                   : EFFECT_EXPIRY_KEPT};
    }
    if (special == KEYS_OF_COPY && count == 2) keys[1].db = draft->db_other;
    if (special == KEYS_OF_MOVE && count == 1) {
        keys[1] = keys[0];
        keys[1].db = draft->db_other;
        count = 2;
    }
    effect->keys = effect->inside->keys = keys;
    effect->key_count = keys_unite(keys, count);
}

static void find_keys(struct effect *effect, const struct effect_draft *draft) {
    struct command_key few[KEYS_ON_STACK], *found = few;
    size_t count = 0;
    struct why why;
    if (effect->command == NULL || !command_arity_fits(effect->command, draft->keys_argc)) {
        effect->keys_unknown = effect->inside->rule != NULL || effect->command == NULL;
        effect->inside->malformed = effect->command != NULL;
        return;
    }
    enum err err = command_keys(effect->command, draft->keys_argc, draft->keys_argv, few,
                                KEYS_ON_STACK, &count, &why);
    if (err == ERR_LIMIT) {
        found = NEW_ARRAY(struct command_key, draft->keys_argc);
        err = command_keys(effect->command, draft->keys_argc, draft->keys_argv, found,
                           draft->keys_argc, &count, &why);
    }
    const struct effect_rule *rule = effect->inside->rule;
    if (err == ERR_PROTO && rule != NULL && rule->keys == KEYS_OF_PFMERGE) {
        found[0] = (struct command_key){.at = 1, .flags = COMMAND_KEY_RW};
        count = 1;
        err = OK;
    }
    if (err == OK)
        fill_keys(effect, draft, found, count);
    else
        effect->keys_unknown = effect->inside->malformed = effect->inside->rule != NULL;
    if (found != few) mem_free(found);
}

/* ---- bytes ---- */

static size_t size_of_request(size_t argc, const struct slice *argv) {
    size_t size = 32;
    for (size_t i = 0; i < argc; i++) size += argv[i].size + 32;
    return size;
}

static void write_extra(struct effect_inside *in, const struct effect_draft *draft) {
    if (in->extra == EXTRA_XLEN) {
        struct slice argv[] = {SLICE("XLEN"), draft->argv[1]};
        resp_write_command(&in->bytes, 2, argv);
    } else if (in->extra == EXTRA_PEXPIREAT) {
        struct slice argv[] = {SLICE("PEXPIREAT"), draft->argv[1], slice_text(draft->number)};
        resp_write_command(&in->bytes, 3, argv);
    }
}

/* Nothing of it was changed, and nothing goes along with it. */
static bool goes_as_it_came(const struct effect_request *request, const struct effect_draft *draft,
                            bool wrapped) {
    return request->raw.size > 0 && !wrapped && draft->extra == EXTRA_NONE &&
           draft->argv == request->argv && draft->argc == request->argc;
}

/* Lay down what is sent, and let argv point into it. */
static void write_bytes(struct effect *effect, const struct effect_draft *draft) {
    struct effect_inside *in = effect->inside;
    size_t extra = in->extra != EXTRA_NONE ? size_of_request(3, draft->argv) : 0;
    (void)buf_room(&in->bytes, size_of_request(draft->argc, draft->argv) + extra + 64);
    if (in->wrapped) resp_write_words(&in->bytes, "MULTI", NULL);
    size_t at = buf_size(&in->bytes);
    resp_write_array(&in->bytes, draft->argc);
    for (size_t i = 0; i < draft->argc; i++) {
        resp_write_bulk(&in->bytes, draft->argv[i]);
        size_t begin = buf_size(&in->bytes) - 2 - draft->argv[i].size;
        in->argv[i] = slice_from(buf_slice(&in->bytes).data + begin, draft->argv[i].size);
    }
    size_t size = buf_size(&in->bytes) - at;
    write_extra(in, draft);
    size_t body = buf_size(&in->bytes) - at;
    if (in->wrapped) resp_write_words(&in->bytes, "EXEC", NULL);
    struct slice all = buf_slice(&in->bytes);
    in->request = slice_from(all.data + at, size);
    in->body = slice_from(all.data + at, body);
    effect->send = all;
}

/* The same for what goes as it came; there is room for it behind argv. */
static void copy_bytes(struct effect *effect, const struct effect_draft *draft, struct slice raw) {
    struct effect_inside *in = effect->inside;
    uint8_t *to = (uint8_t *)(in->argv + draft->argc);
    memcpy(to, raw.data, raw.size);
    for (size_t i = 0; i < draft->argc; i++) {
        ASSERT(draft->argv[i].data >= raw.data &&
               draft->argv[i].data + draft->argv[i].size <= raw.data + raw.size);
        in->argv[i] = slice_from(to + (draft->argv[i].data - raw.data), draft->argv[i].size);
    }
    effect->send = in->request = in->body = slice_from(to, raw.size);
}

/* ---- one command ---- */

static bool is_named(const struct command *command, const char *name) {
    return command->name[0] == name[0] && strcmp(command->name, name) == 0;
}

static bool is_of_scripts(const struct command *command) {
    return strncmp(command->name, "script|", 7) == 0 || strncmp(command->name, "function|", 9) == 0;
}

static bool is_plain(const struct effect *effect, const struct effect_facts *facts) {
    const struct command *command = effect->command;
    if (command == NULL) return false;
    if (facts->proxied && effect->key_count > 1) return false;
    if (is_named(command, "migrate") || is_named(command, "debug")) return false;
    return command->group != COMMAND_GROUP_SCRIPTING || (command->flags & COMMAND_WRITE) != 0;
}

static bool may_write(const struct effect *effect, const struct effect_draft *draft) {
    if (draft->reads_only) return false;
    if (effect->command != NULL && effect->inside->rule == NULL) return false;
    if (effect->keys_unknown || effect->key_count == 0) return true;
    for (size_t i = 0; i < effect->key_count; i++)
        if (effect->keys[i].use & EFFECT_WRITE) return true;
    return false;
}

static uint8_t needed(const struct effect *effect) {
    const struct effect_inside *in = effect->inside;
    if (in->wrapped) return EFFECT_NEEDS_ALL;
    if (!effect->writes) return EFFECT_NEEDS_NOTHING;
    return in->rule != NULL ? in->rule->needs : EFFECT_NEEDS_HEAD;
}

/* With room for its owner, for ARGC words and for MORE bytes behind it. */
static struct effect *effect_blank(const struct effect_facts *facts, int32_t db, size_t argc,
                                   size_t more) {
    struct both {
        struct effect effect;
        struct effect_inside inside;
        max_align_t room[];
    };
    size_t room = (facts->room_bytes + sizeof(max_align_t) - 1) / sizeof(max_align_t);
    struct both *both = mem_alloc(sizeof *both + room * sizeof(max_align_t) +
                                  argc * sizeof(struct slice) + more);
    memset(both, 0, offsetof(struct both, inside) + offsetof(struct effect_inside, few_keys));
    struct effect *effect = &both->effect;
    effect->inside = &both->inside;
    effect->room = both->room;
    effect->room_bytes = facts->room_bytes;
    effect->inside->argv = (struct slice *)(void *)(both->room + room);
    effect->inside->argc = argc;
    effect->inside->primary_version = facts->primary_version;
    effect->inside->follower_version = facts->follower_version;
    effect->db = effect->db_after = db;
    return effect;
}

/* What DRAFT, which was prepared, becomes. */
static struct effect *effect_of_draft(const struct effect_request *request,
                                      const struct effect_draft *draft, bool wrapped) {
    bool as_it_came = goes_as_it_came(request, draft, wrapped);
    struct effect *effect = effect_blank(draft->facts, draft->db, draft->argc,
                                         as_it_came ? request->raw.size : 0);
    struct effect_inside *in = effect->inside;
    effect->command = request->command;
    in->rule = draft->rule;
    in->options = draft->options;
    in->deadline_ms = draft->deadline_ms;
    in->db_other = draft->db_other;
    in->at = draft->at;
    in->extra = draft->extra;
    in->unsure = draft->unsure;
    in->wrapped = wrapped;
    if (as_it_came)
        copy_bytes(effect, draft, request->raw);
    else
        write_bytes(effect, draft);
    find_keys(effect, draft);
    effect->keys_unknown |= draft->any_key;
    return effect;
}

/* What a +OK would tell, by the rules of effect_tell.c and effect_string.c. */
static bool tells_as_it_is(const struct effect *effect) {
    const struct effect_inside *in = effect->inside;
    if (in->rule == NULL || in->wrapped || in->unsure || in->malformed) return false;
    if (!effect->writes || effect->keys_unknown || effect->barrier) return false;
    if (in->rule->tell == effect_tell_set)
        return in->argc == 3 && in->at == 2 && in->options == 0 && in->extra == EXTRA_NONE;
    return in->rule->tell == effect_tell_verbatim;
}

static struct effect *effect_make(const struct effect_facts *facts, int32_t db, bool in_block,
                                  const struct effect_request *request) {
    struct effect_draft draft;
    memset(&draft, 0, offsetof(struct effect_draft, built));
    draft.facts = facts;
    draft.command = request->command;
    draft.argc = draft.keys_argc = request->argc;
    draft.argv = draft.keys_argv = request->argv;
    draft.db = draft.db_other = db;
    draft.in_block = in_block;
    const struct command *command = request->command;
    const struct effect_rule *rule = command != NULL ? effect_rule_of(command) : NULL;
    draft.rule = rule;
    bool fits = command != NULL && command_arity_fits(command, request->argc);
    if (rule != NULL && rule->prepare != NULL && fits) rule->prepare(&draft);
    if (fits && is_named(command, "xread")) effect_prepare_xreadgroup(&draft);
    bool blocking = draft.blocking && !in_block && !facts->proxied;
    bool wrapped = !in_block && (blocking || draft.extra != EXTRA_NONE);
    struct effect *effect = effect_of_draft(request, &draft, wrapped);
    mem_free(draft.built_long);
    effect->blocking = blocking;
    effect->replies = !wrapped ? 1 : draft.extra != EXTRA_NONE ? 4 : 3;
    effect->writes = may_write(effect, &draft);
    effect->plain = is_plain(effect, facts);
    effect->barrier = command != NULL && command->effect == COMMAND_EFFECT_BARRIER;
    effect->no_data = effect->barrier && is_of_scripts(command);
    effect->needs = needed(effect);
    effect->inside->as_it_is = tells_as_it_is(effect);
    return effect;
}

struct effect *effect_new_raw(const struct effect_facts *facts, int32_t db,
                              const struct command *command, size_t argc, const struct slice *argv,
                              struct slice raw) {
    ASSERT(argc > 0);
    struct effect_request request = {command, argc, argv, raw};
    return effect_make(facts, db, false, &request);
}

struct effect *effect_new(const struct effect_facts *facts, int32_t db,
                          const struct command *command, size_t argc, const struct slice *argv) {
    return effect_new_raw(facts, db, command, argc, argv, (struct slice){0});
}

void effect_free(struct effect *effect) {
    if (effect == NULL) return;
    struct effect_inside *in = effect->inside;
    for (size_t i = 0; i < in->part_count; i++) effect_free(in->parts[i]);
    mem_free(in->parts);
    if (in->keys != in->few_keys) mem_free(in->keys);
    buf_close(&in->bytes);
    mem_free(effect); /* and IN with it */
}

/* ---- blocks ---- */

/* A SELECT in a block: which database it will select, if P takes it. effect_tell() looks whether
 * it was so. */
static int32_t selects(const struct effect_facts *facts, const struct effect_request *request,
                       int32_t db) {
    int64_t number;
    int32_t databases = facts->databases > 0 ? facts->databases : DATABASES_USUAL;
    if (request->command == NULL || strcmp(request->command->name, "select") != 0) return db;
    if (request->argc != 2 || !slice_to_int(request->argv[1], &number)) return db;
    return number >= 0 && number < databases ? (int32_t)number : db;
}

static void block_add(struct effect *block, struct effect *part) {
    struct effect_inside *in = block->inside;
    in->parts[in->part_count++] = part;
    buf_add(&in->bytes, part->inside->body);
    block->replies += part->inside->extra != EXTRA_NONE ? 2 : 1;
    block->key_count += part->key_count;
    block->writes |= part->writes;
    block->plain &= part->plain;
    block->barrier |= part->barrier;
    block->keys_unknown |= part->keys_unknown;
}

static void block_keys(struct effect *block) {
    struct effect_key *keys = NEW_ARRAY(struct effect_key, block->key_count + 1);
    size_t count = 0;
    for (size_t i = 0; i < block->inside->part_count; i++) {
        const struct effect *part = block->inside->parts[i];
        for (size_t k = 0; k < part->key_count; k++) keys[count++] = part->keys[k];
    }
    ASSERT(count == block->key_count);
    block->keys = block->inside->keys = keys;
    block->key_count = keys_unite(keys, count);
}

struct effect *effect_block_new(const struct effect_facts *facts, int32_t db, size_t count,
                                const struct effect_request *requests) {
    struct effect *block = effect_blank(facts, db, 0, 0);
    struct effect_facts own = *facts;
    own.room_bytes = 0; /* parts have no owner but the block */
    block->is_block = true;
    block->plain = true;
    block->replies = 2;
    block->inside->parts = NEW_ARRAY(struct effect *, count + 1);
    resp_write_words(&block->inside->bytes, "MULTI", NULL);
    for (size_t i = 0; i < count; i++) {
        struct effect *part = effect_make(&own, block->db_after, true, &requests[i]);
        block->db_after = selects(facts, &requests[i], block->db_after);
        part->db_after = block->db_after;
        block_add(block, part);
    }
    resp_write_words(&block->inside->bytes, "EXEC", NULL);
    block->send = buf_slice(&block->inside->bytes);
    block_keys(block);
    block->needs = EFFECT_NEEDS_ALL;
    return block;
}
