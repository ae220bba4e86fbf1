/* step.h -- how everything incremental answers. Never mixed with counts or error codes. */
#ifndef LIB_BASE_STEP_H
#define LIB_BASE_STEP_H

enum step {
    STEP_MORE, /* nothing was taken; come again with more */
    STEP_DONE, /* one thing was taken */
    STEP_FAIL, /* never: a struct why beside it says why */
};

#endif
