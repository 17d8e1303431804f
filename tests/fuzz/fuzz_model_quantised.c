#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int write_input(const char *path, const uint8_t *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    if (!file) return 0;
    size_t written = fwrite(data, 1, size, file);
    return !fclose(file) && written == size;
}

/* Every value of a model that opens is read, frozen as it lies and as fp32 masters. They are the same ones. */
static void read_values(dk_backend *backend, const char *path)
{
    char hex[2][65] = {"", ""};
    dk_error err = {0};
    for (int32_t trainable = 0; trainable < 2; trainable++) {
        const dk_model_options options = {.use_mmap = trainable, .trainable = trainable};
        dk_model *model = NULL;
        if (!dk_model_open(backend, path, &options, &model, &err) && dk_model_hash(model, hex[trainable], &err))
            abort();
        dk_model_free(model);
    }
    if (strcmp(hex[0], hex[1]) != 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dk_host *host = NULL;
    dk_backend *backend = NULL;
    dk_error err = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/fuzz_quantised_%ld.gguf", TEST_TMP, (long)getpid());
    if (dk_host_create(NULL, &host, &err)) return 0;
    if (!dk_backend_cpu(host, &backend, &err) && write_input(path, data, size)) read_values(backend, path);
    if (backend) dk_backend_free(backend);
    remove(path);
    dk_host_release(host);
    return 0;
}
