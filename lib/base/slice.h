/* slice.h - bytes that somebody else owns. */
#ifndef DK_BASE_SLICE_H
#define DK_BASE_SLICE_H

#include <stddef.h>

typedef struct dk_slice { /* not NUL-terminated */
    const char *data;
    size_t size;
} dk_slice;

#endif
