/* config_example.c -- print the example drawbridge.yaml, as it is made from the option table. */
#include "lib/control/config.h"

#include <stdio.h>

int main(void) {
    struct buf out = {0};
    config_example(&out);
    size_t wrote = fwrite(buf_slice(&out).data, 1, buf_size(&out), stdout);
    bool good = wrote == buf_size(&out) && fflush(stdout) == 0;
    buf_close(&out);
    return good ? 0 : 1;
}
