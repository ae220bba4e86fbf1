/* key_json.h -- a key's name as JSON text: as it is when it is UTF-8, else with \xNN for what is
 * not printable ASCII. */
#ifndef GATEWAY_KEY_JSON_H
#define GATEWAY_KEY_JSON_H

#include "lib/base/buf.h"

#include <jansson.h>

static inline json_t *key_json(struct slice name) {
    json_t *text = json_stringn((const char *)name.data, name.size);
    if (text != NULL) return text;
    struct buf escaped = {0};
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        if (c >= 0x20 && c < 0x7f && c != '\\')
            buf_byte(&escaped, c);
        else
            buf_printf(&escaped, "\\x%02x", c);
    }
    text = json_string(buf_text(&escaped));
    buf_close(&escaped);
    return text;
}

#endif
