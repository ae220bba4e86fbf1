/* version.h -- which Drawbridge this is. */
#ifndef LIB_BASE_VERSION_H
#define LIB_BASE_VERSION_H

#define DRAWBRIDGE_VERSION "0.1.0"

#endif
