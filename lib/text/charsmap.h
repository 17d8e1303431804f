/* charsmap.h - SentencePiece's table of characters and what they become ("precompiled charsmap"): a trie of UTF-8 as
 * darts-clone lays it out, and the texts that its values are places in. Private to lib/text. */
#ifndef DK_TEXT_CHARSMAP_H
#define DK_TEXT_CHARSMAP_H

#include "base/strbuf.h"

typedef struct dk_charsmap {
    dk_host *host;
    char *bytes; /* as they were read */
    size_t size;
    uint32_t *units;
    size_t unit_count;
    const char *texts; /* in bytes; each ends at a NUL */
    size_t text_size;
} dk_charsmap;
/* Copies bytes; every unit is checked. */
int32_t dk_charsmap_create(dk_host *host, const char *bytes, size_t size, dk_charsmap **out, dk_error *err);
/* The same from base64. */
int32_t dk_charsmap_from_base64(dk_host *host, const char *text, size_t size, dk_charsmap **out, dk_error *err);
void dk_charsmap_to_base64(const dk_charsmap *map, dk_strbuf *out);
void dk_charsmap_free(dk_charsmap *map); /* NULL is fine */

typedef enum { DK_CHARSMAP_SHORTEST, DK_CHARSMAP_LONGEST } dk_charsmap_match;
/* What text begins with becomes *with; returns the bytes that are replaced, 0 = none. */
size_t dk_charsmap_find(const dk_charsmap *map, dk_charsmap_match match, const char *text, size_t size,
                        const char **with, size_t *with_size);
/* text as the reference implementation maps it: graphemes of up to 5 bytes by what they begin with, others character
 * by character. */
void dk_charsmap_apply(const dk_charsmap *map, const char *text, size_t size, dk_strbuf *out);

#endif
