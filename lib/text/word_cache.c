#include "text/word_cache.h"

void dk_word_keep(const dk_word_place *place, const char *word, size_t size, const int32_t *ids, int64_t count)
{
    if (place->brief && count <= DK_SHORT_IDS) {
        *place->brief = (dk_short_word){.head = place->head, .tail = place->tail};
        for (int64_t i = 0; i < count; i++) place->brief->ids[i] = (uint32_t)ids[i];
        place->brief->ids[0] |= (uint32_t)size << 24;
        place->brief->ids[1] |= (uint32_t)count << 24;
    } else if (place->lengthy && count <= DK_LONG_IDS) {
        place->lengthy->size = (uint8_t)size;
        place->lengthy->count = (uint8_t)count;
        memcpy(place->lengthy->key, word, size);
        memcpy(place->lengthy->ids, ids, (size_t)count * sizeof *ids);
    }
}
