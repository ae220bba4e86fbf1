/* notify.h -- keyspace notifications (notify-keyspace-events of Redis 7.0). */
#ifndef SERVER_NOTIFY_H
#define SERVER_NOTIFY_H

#include "lib/base/slice.h"

struct db;

/* The letters of the option, in its bits. NOTIFY_NONE with key_changed(): no notification. */
enum notify_class {
    NOTIFY_NONE = 0,
    NOTIFY_KEYSPACE = 1 << 0, /* K */
    NOTIFY_KEYEVENT = 1 << 1, /* E */
    NOTIFY_GENERIC = 1 << 2,  /* g */
    NOTIFY_STRING = 1 << 3,   /* $ */
    NOTIFY_LIST = 1 << 4,     /* l */
    NOTIFY_SET = 1 << 5,      /* s */
    NOTIFY_HASH = 1 << 6,     /* h */
    NOTIFY_ZSET = 1 << 7,     /* z */
    NOTIFY_EXPIRED = 1 << 8,  /* x */
    NOTIFY_EVICTED = 1 << 9,  /* e */
    NOTIFY_STREAM = 1 << 10,  /* t */
    NOTIFY_MISS = 1 << 11,    /* m */
    NOTIFY_MODULE = 1 << 13,  /* d */
    NOTIFY_NEW = 1 << 14,     /* n */
};

/* Publish EVENT of CLASS for KEY in DB, if the configuration wants it. Costs a test if not. */
void notify_key(struct db *db, enum notify_class class, const char *event, struct slice key);

#endif
