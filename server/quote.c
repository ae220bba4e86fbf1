/* quote.c -- quoting for logs, MONITOR and CONFIG REWRITE. */
#include "server/quote.h"

void quote_add(struct buf *out, struct slice bytes) {
    static const char from[] = "\\\"\n\r\t\a\b", to[] = "\\\"nrtab";
    buf_byte(out, '"');
    for (size_t i = 0; i < bytes.size; i++) {
        uint8_t c = bytes.data[i];
        const char *special = c ? strchr(from, c) : NULL;
        if (special)
            buf_printf(out, "\\%c", to[special - from]);
        else if (c >= 32 && c < 127)
            buf_byte(out, c);
        else
            buf_printf(out, "\\x%02x", c);
    }
    buf_byte(out, '"');
}
