/* fuzz_yaml.c -- any bytes as drawbridge.yaml: a configuration, or one sentence with the file's
 * name. What each option then holds can be written and read again. */
#include "lib/base/mem.h"
#include "lib/control/config.h"

#include <string.h>

static void read_again(const struct drawbridge_config *config) {
    for (size_t i = 0; i < config_options.count; i++) {
        const struct option *option = &config_options.table[i];
        struct drawbridge_config other = {0};
        struct buf text = {0}, again = {0};
        struct why why;
        if (option->type == OPTION_SECRET) continue;
        option_format(option, config, &text);
        if (buf_size(&text) && !option_set(option, &other, buf_text(&text), &why)) {
            option_format(option, &other, &again);
            ASSERT(slice_equal(buf_slice(&text), buf_slice(&again)));
        }
        options_close(&config_options, &other);
        buf_close(&text);
        buf_close(&again);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct drawbridge_config config;
    struct why why = {{0}};
    uint8_t *exact = mem_dup(data, size);
    struct slice text = slice_from(exact, size);
    if (memmem(exact, size, "file:", 5) == NULL) { /* it would read any file of this machine */
        if (config_read(&config, text, "fuzz.yaml", NULL, &why) == OK) {
            read_again(&config);
            config_close(&config);
        } else {
            ASSERT(strlen(why.text) > 0 && strchr(why.text, '\n') == NULL);
        }
    }
    mem_free(exact);
    return 0;
}
