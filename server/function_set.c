/* function_set.c -- sets of libraries. See function.h. */
#include "server/function.h"

#include "lib/base/mem.h"

#include <ctype.h>

bool function_name_is_fine(struct slice name) {
    for (size_t i = 0; i < name.size; i++)
        if (!isalnum(name.data[i]) && name.data[i] != '_') return false;
    return name.size > 0;
}

/* ---- libraries ---- */

size_t library_bytes(const struct library *library) {
    size_t bytes = sizeof *library + strlen(library->name) + library->code_size;
    for (const struct function *f = library->functions; f; f = f->next)
        bytes += sizeof *f + 2 * strlen(f->name) + (f->description ? strlen(f->description) : 0);
    return bytes;
}

struct function *library_function(const struct library *library, struct slice name) {
    for (struct function *f = library->functions; f; f = f->next)
        if (slice_equal(slice_text(f->name), name)) return f;
    return NULL;
}

void library_free(struct library *library, struct script_vm *vm) {
    while (library->functions) {
        struct function *f = library->functions;
        library->functions = f->next;
        if (vm) script_vm_forget(vm, f->callback);
        mem_free(f->name);
        mem_free(f->key);
        mem_free(f->description);
        mem_free(f);
    }
    mem_free(library->name);
    mem_free(library->code);
    mem_free(library);
}

/* ---- sets ---- */

static struct slice key_of_library(const void *item) {
    const struct library *library = item;
    return slice_text(library->name);
}

static struct slice key_of_function(const void *item) {
    const struct function *function = item;
    return slice_text(function->key);
}

static const struct table_type library_type = {key_of_library}, function_type = {key_of_function};

void function_set_init(struct function_set *set) {
    *set = (struct function_set){.bytes = 0};
    table_init(&set->libraries, &library_type);
    table_init(&set->functions, &function_type);
}

void function_set_clear(struct function_set *set, struct script_vm *vm) {
    struct table_iter iter;
    table_iter_init(&iter, &set->libraries);
    for (struct library *library; (library = table_iter_next(&iter)) != NULL;)
        library_free(library, vm);
    table_close(&set->libraries);
    table_close(&set->functions);
    function_set_init(set);
}

struct library *function_set_library(const struct function_set *set, struct slice name) {
    return table_find(&set->libraries, name);
}

struct function *function_set_function(const struct function_set *set, struct slice name) {
    uint8_t lower[256];
    if (name.size > sizeof lower || table_count(&set->functions) == 0) {
        /* Longer names are rare: look at all of them. */
        struct table_iter iter;
        table_iter_init(&iter, &set->functions);
        for (struct function *f; (f = table_iter_next(&iter)) != NULL;)
            if (slice_equal_nocase(slice_text(f->key), name)) return f;
        return NULL;
    }
    for (size_t i = 0; i < name.size; i++) lower[i] = (uint8_t)tolower(name.data[i]);
    return table_find(&set->functions, slice_from(lower, name.size));
}

void function_set_add(struct function_set *set, struct library *library) {
    table_add(&set->libraries, library);
    for (struct function *f = library->functions; f; f = f->next) table_add(&set->functions, f);
    set->bytes += library_bytes(library);
}

void function_set_take(struct function_set *set, struct library *library) {
    (void)table_take(&set->libraries, slice_text(library->name));
    for (struct function *f = library->functions; f; f = f->next)
        (void)table_take(&set->functions, slice_text(f->key));
    set->bytes -= library_bytes(library);
}

/* ---- joining ---- */

/* Would FROM's function names be free in INTO, once the libraries that FROM replaces are gone? */
static bool names_are_free(const struct function_set *into, const struct function_set *from,
                           struct buf *error) {
    struct table_iter iter;
    table_iter_init(&iter, &from->functions);
    for (struct function *f; (f = table_iter_next(&iter)) != NULL;) {
        const struct function *other = table_find(&into->functions, slice_text(f->key));
        if (other == NULL || function_set_library(from, slice_text(other->library->name))) continue;
        buf_printf(error, "ERR Function %s already exists", f->name);
        return false;
    }
    return true;
}

static bool libraries_are_free(const struct function_set *into, const struct function_set *from,
                               struct buf *error) {
    struct table_iter iter;
    table_iter_init(&iter, &from->libraries);
    for (struct library *library; (library = table_iter_next(&iter)) != NULL;) {
        if (function_set_library(into, slice_text(library->name)) == NULL) continue;
        buf_printf(error, "ERR Library %s already exists", library->name);
        return false;
    }
    return true;
}

bool function_set_join(struct function_set *into, struct function_set *from, bool replace,
                       struct script_vm *vm, struct buf *error) {
    if (!replace && !libraries_are_free(into, from, error)) return false;
    if (!names_are_free(into, from, error)) return false;
    struct table_iter iter;
    table_iter_init(&iter, &from->libraries);
    for (struct library *library; (library = table_iter_next(&iter)) != NULL;) {
        struct library *old = function_set_library(into, slice_text(library->name));
        if (old == NULL) continue;
        function_set_take(into, old);
        library_free(old, vm);
    }
    table_iter_init(&iter, &from->libraries);
    for (struct library *library; (library = table_iter_next(&iter)) != NULL;)
        function_set_add(into, library);
    table_close(&from->libraries);
    table_close(&from->functions);
    function_set_init(from);
    return true;
}
