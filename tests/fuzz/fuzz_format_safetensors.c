#include "format/checkpoint.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dk_host *host = NULL;
    dk_checkpoint *file = NULL;
    dk_error err = {0};
    volatile uint8_t sum = 0;
    if (dk_host_create(NULL, &host, &err)) return 0;
    if (!dk_checkpoint_parse(host, data, size, "input", 0, &file, &err))
        for (int64_t i = 0; i < dk_checkpoint_count(file); i++) {
            const dk_tensor *tensor = dk_checkpoint_at(file, i);
            for (uint64_t k = 0; k < tensor->bytes; k++) sum = (uint8_t)(sum + ((const uint8_t *)tensor->data)[k]);
            if (dk_checkpoint_find(file, tensor->name) != tensor) abort();
        }
    dk_checkpoint_close(file);
    dk_host_release(host);
    return 0;
}
