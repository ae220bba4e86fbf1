/* value_table.h -- what hashes and sets share of struct value_ops: both are a struct table
 * (ENC_HASHTABLE) or one flat block. */
#ifndef SERVER_VALUE_TABLE_H
#define SERVER_VALUE_TABLE_H

#include "server/value.h"

void value_table_free(enum encoding encoding, void *ptr);
size_t value_table_effort(enum encoding encoding, const void *ptr);
size_t value_table_memory(enum encoding encoding, const void *ptr, size_t samples);
struct value_watch **value_table_watch(enum encoding encoding, void *ptr);

#endif
