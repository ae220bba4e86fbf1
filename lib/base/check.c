/* check.c -- what happens when the program finds out that it is wrong. */
#include "lib/base/check.h"

#include <stdio.h>
#include <stdlib.h>

void check_failed(const char *claim, const char *file, int line, const char *func) {
    fprintf(stderr, "%s:%d: %s: this must hold: %s\n", file, line, func, claim);
    abort();
}
