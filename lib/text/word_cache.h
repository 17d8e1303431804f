/* word_cache.h - the ids of words met before: two tables without chains, where a newer word takes the place of the
 * older one. Nearly all words are short, and half a cache line holds one. Private to lib/text. */
#ifndef DK_TEXT_WORD_CACHE_H
#define DK_TEXT_WORD_CACHE_H

#include "text/tokens.h"

enum {
    DK_SHORT_SLOTS = 1 << 15, /* 1 MiB */
    DK_SHORT_KEY = 16,
    DK_SHORT_IDS = 4,
    DK_LONG_SLOTS = 1 << 13, /* 512 KiB */
    DK_LONG_KEY = 30,
    DK_LONG_IDS = 8
};
typedef struct dk_short_word {
    uint64_t head, tail;
    uint32_t
        ids[DK_SHORT_IDS]; /* below DK_TOKEN_LIMIT; the top byte of the first is the size, of the second the count */
} dk_short_word;
typedef struct dk_long_word {
    uint8_t size, count;
    char key[DK_LONG_KEY];
    int32_t ids[DK_LONG_IDS];
} dk_long_word;
typedef struct dk_word_cache { /* zeroed: no word */
    dk_short_word shorts[DK_SHORT_SLOTS];
    dk_long_word longs[DK_LONG_SLOTS];
} dk_word_cache;

/* The first and the last bytes of a word of 1 to 16: with the size, all of it. */
static inline void dk_word_ends(const char *word, size_t size, uint64_t *head, uint64_t *tail)
{
    if (size >= 8) {
        memcpy(head, word, 8);
        memcpy(tail, word + size - 8, 8);
    } else if (size >= 4) {
        uint32_t first, last;
        memcpy(&first, word, 4);
        memcpy(&last, word + size - 4, 4);
        *head = first;
        *tail = last;
    } else {
        *head = (uint64_t)(unsigned char)word[0] << 8 | (unsigned char)word[size / 2];
        *tail = (unsigned char)word[size - 1];
    }
}

typedef struct dk_word_place { /* where a word is looked for; both NULL = nowhere */
    uint64_t head, tail;
    dk_short_word *brief;
    dk_long_word *lengthy;
} dk_word_place;
static inline dk_word_place dk_word_find(dk_word_cache *cache, const char *word, size_t size)
{
    dk_word_place place = {0};
    if (size - 1 < DK_SHORT_KEY) {
        dk_word_ends(word, size, &place.head, &place.tail);
        uint64_t hash = dk_mix((place.head ^ size << 56) * 0x9e3779b97f4a7c15u ^ place.tail);
        place.brief = &cache->shorts[hash & (DK_SHORT_SLOTS - 1)];
        __builtin_prefetch(place.brief);
    } else if (size - 1 < DK_LONG_KEY) {
        place.lengthy = &cache->longs[dk_text_hash(word, size) & (DK_LONG_SLOTS - 1)];
        __builtin_prefetch(place.lengthy);
    }
    return place;
}

/* How many ids the word has, which go to ids[DK_LONG_IDS]; 0 = it is not known. */
static inline int32_t dk_word_ids(const dk_word_place *place, const char *word, size_t size, int32_t *ids)
{
    const dk_short_word *brief = place->brief;
    if (brief) {
        if (brief->head != place->head || brief->tail != place->tail || brief->ids[0] >> 24 != size) return 0;
        for (int32_t i = 0; i < DK_SHORT_IDS; i++) ids[i] = (int32_t)(brief->ids[i] & (DK_TOKEN_LIMIT - 1));
        return (int32_t)(brief->ids[1] >> 24);
    }
    const dk_long_word *lengthy = place->lengthy;
    if (!lengthy || lengthy->size != size || memcmp(lengthy->key, word, size) != 0) return 0;
    memcpy(ids, lengthy->ids, sizeof lengthy->ids);
    return lengthy->count;
}
void dk_word_keep(const dk_word_place *place, const char *word, size_t size, const int32_t *ids, int64_t count);

#endif
