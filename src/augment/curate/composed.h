/* composed.h - texts to be compared are in one normal form: an accent that stands as a mark behind its letter is the
 * same as one that is part of it (NFC, Unicode's annex 15). */
#ifndef DI_AUGMENT_COMPOSED_H
#define DI_AUGMENT_COMPOSED_H

#include "base/strbuf.h"

/* *text, [*size], stays where nothing could change, or is in buffer. Bytes that are not UTF-8 leave it as it is. */
int32_t di_compose(dk_strbuf *buffer, const char **text, size_t *size, dk_error *err);

#endif
