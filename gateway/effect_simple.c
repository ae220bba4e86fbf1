/* effect_simple.c -- commands of which all is known before they are looked at. See effect.h.
 *
 * Whether a command is one is found out by making an effect of it once, the general way, and by the
 * same table of rules; so this file decides nothing of its own. Its test makes both of every command
 * of the table and compares what they tell of all kinds of answers.
 */
#include "gateway/effect_inside.h"

#include <pthread.h>

#define WORDS_MAX 8u

/* Its one key stands behind its name, whatever follows. WORDS: it is only so with so many words. */
static bool has_its_key_in_front(const struct command *command, uint32_t *words) {
    const struct command_key_spec *spec = command->specs;
    bool front = spec->begin == COMMAND_BEGIN_INDEX && spec->at == 1 &&
                 spec->find == COMMAND_FIND_RANGE && spec[1].flags == 0;
    *words = 0;
    if (!front) return false;
    if (command->keys == COMMAND_KEYS_SET) *words = 3; /* no options */
    if (spec->a == -1) *words = 1 + (uint32_t)spec->b; /* DEL, MSET: of one key */
    return command->keys == COMMAND_KEYS_SPECS || command->keys == COMMAND_KEYS_SET;
}

/* What it is sent as does not depend on its words, as far as effect_simple_of() does not look. */
static bool goes_as_it_is(const struct effect_rule *rule) {
    if (rule->tell == effect_tell_set) return rule->prepare == effect_prepare_set;
    if (rule->tell == effect_tell_zadd) return rule->prepare == effect_prepare_zadd;
    return rule->tell == effect_tell_verbatim && rule->prepare == NULL;
}

static bool find_out(const struct command *command, struct effect_simple *simple) {
    const struct effect_rule *rule = effect_rule_of(command);
    struct effect_facts facts = {0};
    struct slice argv[WORDS_MAX] = {slice_text(command->name), SLICE("k")};
    uint32_t words = 0;
    if (rule == NULL || !has_its_key_in_front(command, &words) || !goes_as_it_is(rule)) return false;
    size_t argc = (size_t)(command->arity < 0 ? -command->arity : command->arity);
    if (argc < words) argc = words;
    if (argc > WORDS_MAX) return false;
    for (size_t i = 2; i < argc; i++) argv[i] = SLICE("1");
    struct effect *e = effect_new(&facts, 0, command, argc, argv);
    const struct effect_inside *in = e->inside;
    bool is = e->key_count == 1 && slice_equal(e->keys[0].name, argv[1]) &&
              (e->keys[0].use & EFFECT_WRITE) && e->writes && e->plain && !e->blocking &&
              !e->barrier && !e->keys_unknown && e->replies == 1 && !in->unsure && in->options == 0;
    *simple = (struct effect_simple){.rule = rule, .words = words, .key = e->keys[0]};
    simple->key.name = (struct slice){0};
    effect_free(e);
    return is;
}

static struct effect_simple *by_index; /* command_count places */

static void fill(void) {
    by_index = NEW_ARRAY(struct effect_simple, command_count);
    for (size_t i = 0; i < command_count; i++)
        if (!find_out(command_at(i), &by_index[i])) by_index[i] = (struct effect_simple){0};
}

const struct effect_simple *effect_simple_of(const struct command *command, size_t argc,
                                             const struct slice *argv) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill);
    if (command == NULL) return NULL;
    const struct effect_simple *simple = &by_index[command->index];
    if (simple->rule == NULL || !command_arity_fits(command, argc)) return NULL;
    if (simple->words != 0 && argc != simple->words) return NULL;
    if (simple->rule->tell == effect_tell_zadd) { /* an option, or `inf`, begins with a letter */
        uint8_t first = argv[2].size > 0 ? argv[2].data[0] | 0x20 : 'a';
        if (first >= 'a' && first <= 'z') return NULL;
    }
    return simple;
}

enum effect_did effect_simple_tell(const struct effect_simple *simple, struct slice answer) {
    struct effect_teller t = {0};
    if (!effect_head_read(answer, &t.head)) return EFFECT_DID_WHAT;
    if (t.head.error || effect_head_is_nothing(simple->rule, &t.head)) return EFFECT_DID_NOTHING;
    if (simple->rule->tell == effect_tell_set && t.head.null) return EFFECT_DID_NOTHING;
    return EFFECT_DID_IT;
}
