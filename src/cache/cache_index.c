#include "cache/cache_index.h"

#include <string.h>

void di_cache_index_init(di_cache_index *index, dk_host *host)
{
    memset(index, 0, sizeof *index);
    index->host = host;
}

void di_cache_index_free(di_cache_index *index)
{
    if (!index->host) return;
    dk_free(index->host, index->entries);
    dk_free(index->host, index->places);
    dk_free(index->host, index->heads);
    di_cache_index_init(index, index->host);
}

void di_cache_index_clear(di_cache_index *index)
{
    index->entry_count = index->place_count = index->rows = 0;
    for (int64_t i = 0; i < index->head_count; i++) index->heads[i] = -1;
}

static int32_t make_room(dk_host *host, void **array, int64_t count, int64_t *room, size_t size, dk_error *err)
{
    const int64_t more = *room ? 2 * *room : 64;
    if (count < *room) return DK_OK;
    void *grown = more > INT32_MAX ? NULL : dk_realloc(host, *array, (uint64_t)more, size);
    if (!grown) return dk_fail_nomem(err, (uint64_t)more * size);
    *array = grown;
    *room = more;
    return DK_OK;
}

int32_t di_cache_index_place(di_cache_index *index, uint64_t offset, int32_t checked, dk_error *err)
{
    int32_t rc;
    DK_TRY(make_room(index->host, (void **)&index->places, index->place_count, &index->place_room,
                     sizeof *index->places, err));
    index->places[index->place_count++] = (di_cache_place){offset, (uint8_t)checked, 0};
out:
    return rc;
}

static int64_t slot_of(const di_cache_index *index, const uint8_t key[16])
{
    return (int64_t)(di_get(key, 8) & (uint64_t)(index->head_count - 1));
}

static void chain(di_cache_index *index, int64_t number)
{
    di_cache_entry *entry = &index->entries[number];
    const int64_t slot = slot_of(index, entry->key);
    entry->next = index->heads[slot];
    index->heads[slot] = (int32_t)number;
}

static int32_t grow_heads(di_cache_index *index, dk_error *err)
{
    int32_t *heads;
    const int64_t count = index->head_count ? 2 * index->head_count : 64;
    int32_t rc;
    if (index->entry_count < index->head_count) return DK_OK;
    DK_TRY(dk_new(index->host, count, &heads, err));
    dk_free(index->host, index->heads);
    index->heads = heads;
    index->head_count = count;
    for (int64_t i = 0; i < count; i++) heads[i] = -1;
    for (int64_t i = 0; i < index->entry_count; i++) chain(index, i);
out:
    return rc;
}

int32_t di_cache_index_add(di_cache_index *index, const di_cache_record *record, uint64_t at, dk_error *err)
{
    di_cache_entry entry = {
        {0}, record->length, record->first, record->rows, (uint32_t)at, (uint32_t)(index->place_count - 1), -1};
    int32_t rc;
    memcpy(entry.key, record->key, 16);
    DK_TRY(make_room(index->host, (void **)&index->entries, index->entry_count, &index->entry_room,
                     sizeof *index->entries, err));
    DK_TRY(grow_heads(index, err));
    index->entries[index->entry_count] = entry;
    chain(index, index->entry_count++);
    index->rows += record->rows;
out:
    return rc;
}

const di_cache_entry *di_cache_index_find(const di_cache_index *index, const uint8_t key[16], uint32_t length,
                                          uint32_t position, const di_cache_entry *after)
{
    int32_t number = after ? after->next : index->head_count ? index->heads[slot_of(index, key)] : -1;
    for (; number >= 0; number = index->entries[number].next) {
        const di_cache_entry *entry = &index->entries[number];
        if (entry->length == length && position >= entry->first && position - entry->first < entry->rows &&
            memcmp(entry->key, key, 16) == 0)
            return entry;
    }
    return NULL;
}

int64_t di_cache_index_sequences(const di_cache_index *index)
{
    int64_t count = 0;
    for (int64_t i = 0; i < index->entry_count; i++) {
        const di_cache_entry *entry = &index->entries[i], *other = entry;
        int32_t number = entry->next; /* the ones added before it */
        for (; number >= 0; number = other->next) {
            other = &index->entries[number];
            if (other->length == entry->length && memcmp(other->key, entry->key, 16) == 0) break;
        }
        count += number < 0;
    }
    return count;
}
