#include "format/checkpoint.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t touch(const void *data, uint64_t size)
{
    uint8_t sum = 0;
    for (uint64_t k = 0; k < size; k++) sum = (uint8_t)(sum + ((const uint8_t *)data)[k]);
    return sum;
}

static uint8_t touch_metadata(const dk_metadata *entry)
{
    uint8_t sum = touch(entry->text.data, entry->text.size);
    for (int64_t i = 0; i < entry->count; i++) {
        if (entry->texts) sum = (uint8_t)(sum + touch(entry->texts[i].data, entry->texts[i].size));
        if (entry->items) sum = (uint8_t)(sum + (dk_metadata_item_f64(entry, i) > 0));
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dk_host *host = NULL;
    dk_error err = {0};
    volatile uint8_t sum = 0;
    if (dk_host_create(NULL, &host, &err)) return 0;
    for (uint32_t flags = 0; flags <= DK_OPEN_VOCABULARY; flags += DK_OPEN_VOCABULARY) {
        dk_checkpoint *file = NULL;
        if (dk_checkpoint_parse(host, data, size, "input", flags, &file, &err)) continue;
        for (int64_t i = 0; i < dk_checkpoint_count(file); i++)
            sum = (uint8_t)(sum + touch(dk_checkpoint_at(file, i)->data, dk_checkpoint_at(file, i)->bytes));
        for (int64_t i = 0; i < dk_metadata_count(file); i++) {
            const dk_metadata *entry = dk_metadata_at(file, i);
            sum = (uint8_t)(sum + touch_metadata(entry));
            if (dk_metadata_find(file, entry->key) != entry) abort();
        }
        dk_checkpoint_close(file);
    }
    dk_host_release(host);
    return 0;
}
