/* holders.c -- pins of other gateways at our lanes. See holders.h. */
#include "gateway/holders.h"

#include "lib/base/mem.h"

#include <string.h>

struct held_pin {
    struct list link;
    uint64_t id;
    bool stale;           /* not told again since it connected anew */
    struct effect effect; /* its keys only */
    struct effect_key *keys;
    struct buf names;
};

void holders_init(struct holders *h, struct lanes *lanes,
                  void (*unpinned)(void *self, const struct effect *effect), void *self) {
    *h = (struct holders){.lanes = lanes, .unpinned = unpinned, .self = self};
    list_init(&h->list);
}

struct holder *holders_get(struct holders *h, struct slice name) {
    LIST_EACH(&h->list, at) {
        struct holder *holder = LIST_OWNER(at, struct holder, link);
        if (slice_equal(slice_text(holder->name), name)) return holder;
    }
    ASSERT(name.size < SLOT_TABLE_NAME_BYTES);
    struct holder *holder = NEW(struct holder);
    memcpy(holder->name, name.data, name.size);
    list_init(&holder->pins);
    list_push(&h->list, &holder->link);
    return holder;
}

/* ---- a pin ---- */

static void pin_free(struct held_pin *pin) {
    buf_close(&pin->names);
    mem_free(pin->keys);
    mem_free(pin);
}

static struct held_pin *find_pin(const struct holder *holder, uint64_t id) {
    LIST_EACH(&holder->pins, at) {
        struct held_pin *pin = LIST_OWNER(at, struct held_pin, link);
        if (pin->id == id) return pin;
    }
    return NULL;
}

static bool read_database(struct slice text, int32_t *db) {
    int64_t value = 0;
    if (!slice_to_int(text, &value) || value < 0 || value > INT32_MAX) return false;
    *db = (int32_t)value;
    return true;
}

static struct held_pin *read_pin(uint64_t id, size_t argc, const struct slice *argv) {
    if (argc % 2 == 0) return NULL;
    bool all = slice_equal(argv[0], SLICE("all"));
    if (!all && !slice_equal(argv[0], SLICE("some"))) return NULL;
    struct held_pin *pin = NEW(struct held_pin);
    size_t count = argc / 2, at = 0;
    pin->id = id;
    pin->keys = NEW_ARRAY(struct effect_key, count + 1);
    for (size_t i = 0; i < count; i++) buf_add(&pin->names, argv[2 + 2 * i]);
    for (size_t i = 0; i < count; i++) {
        struct slice name =
            slice_take(slice_drop(buf_slice(&pin->names), at), argv[2 + 2 * i].size);
        pin->keys[i] = (struct effect_key){.name = name, .use = EFFECT_WRITE};
        if (!read_database(argv[1 + 2 * i], &pin->keys[i].db)) {
            pin_free(pin);
            return NULL;
        }
        at += name.size;
    }
    pin->effect =
        (struct effect){.keys = pin->keys, .key_count = count, .writes = true, .keys_unknown = all};
    return pin;
}

static void unpin(struct holders *h, struct held_pin *pin) {
    list_remove(&pin->link);
    lanes_unpin(h->lanes, &pin->effect);
    h->unpinned(h->self, &pin->effect);
    pin_free(pin);
}

/* ---- what it says ---- */

void holder_connected(struct holder *holder, struct visitor *visitor) {
    holder->visitor = visitor;
    LIST_EACH(&holder->pins, at) LIST_OWNER(at, struct held_pin, link)->stale = true;
}

bool holder_pin(struct holders *h, struct holder *holder, uint64_t id, size_t argc,
                const struct slice *argv) {
    struct held_pin *pin = find_pin(holder, id);
    if (pin == NULL) {
        pin = read_pin(id, argc, argv);
        if (pin == NULL) return false;
        list_push(&holder->pins, &pin->link);
        lanes_pin(h->lanes, &pin->effect);
    }
    pin->stale = false;
    return true;
}

void holder_unpin(struct holders *h, struct holder *holder, uint64_t id) {
    struct held_pin *pin = find_pin(holder, id);
    if (pin != NULL) unpin(h, pin);
}

void holder_synced(struct holders *h, struct holder *holder, uint64_t version) {
    for (struct list *next, *at = holder->pins.next; at != &holder->pins; at = next) {
        next = at->next;
        struct held_pin *pin = LIST_OWNER(at, struct held_pin, link);
        if (pin->stale) unpin(h, pin);
    }
    if (version > holder->synced) holder->synced = version;
}

static void holder_free(struct holder *holder) {
    for (struct list *link; (link = list_pop(&holder->pins)) != NULL;)
        pin_free(LIST_OWNER(link, struct held_pin, link));
    list_remove(&holder->link);
    mem_free(holder);
}

void holder_gone(struct holders *h, struct holder *holder) {
    while (!list_is_empty(&holder->pins))
        unpin(h, LIST_OWNER(holder->pins.next, struct held_pin, link));
    holder_free(holder);
}

void holders_close(struct holders *h) {
    while (!list_is_empty(&h->list)) holder_free(LIST_OWNER(h->list.next, struct holder, link));
}

bool holders_are_known(const struct holders *h, const struct slot_table *table, const char *self,
                       uint64_t since) {
    for (unsigned i = 0; i < table->count; i++) {
        bool known = strcmp(table->gateway[i].name, self) == 0;
        LIST_EACH(&h->list, at) {
            const struct holder *holder = LIST_OWNER(at, struct holder, link);
            if (strcmp(holder->name, table->gateway[i].name) == 0 && holder->synced >= since)
                known = true;
        }
        if (!known) return false;
    }
    return true;
}
