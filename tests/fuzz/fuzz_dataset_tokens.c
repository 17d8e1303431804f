/* A token file of any bytes, as it is and with its checksums put right: it opens and can be read, or is refused. */
#include <unistd.h>

#include "../src/dataset/dataset_fixture.h"
#include "dataset/token_file.h"
#include "dataset/token_layout.h"

static void put_crc(uint8_t *at, uint32_t crc)
{
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(crc >> (8 * i));
}

static void mend(uint8_t *data, size_t size)
{
    di_token_layout layout;
    dk_error err;
    if (size < DI_TOKEN_HEADER) return;
    memcpy(data, DI_TOKEN_MAGIC, 8);
    put_crc(data + 252, dk_crc32c(0, data, 252));
    if (di_token_layout_read(data, size, "fuzz", &layout, &err) != DK_OK) return;
    uint8_t *table = data + layout.checksums;
    for (uint64_t block = 0; block < layout.blocks; block++) {
        uint64_t at = DI_TOKEN_HEADER + block * DI_TOKEN_BLOCK,
                 end = at + DI_TOKEN_BLOCK < layout.checksums ? at + DI_TOKEN_BLOCK : layout.checksums;
        put_crc(table + 4 * block, dk_crc32c(0, data + at, (size_t)(end - at)));
    }
    put_crc(table + 4 * layout.blocks, dk_crc32c(0, table, (size_t)(4 * layout.blocks)));
}

static void open_and_read(fixture *f, const char *path)
{
    di_dataset *dataset = NULL;
    di_batch *batch = NULL;
    dk_error err;
    dk_strbuf json;
    if (di_dataset_open(f->host, path, NULL, f->options, &dataset, &err) == DK_OK &&
        di_batch_create(dataset, 2, &batch, &err) == DK_OK)
        for (int64_t k = 0; k < 3; k++) di_dataset_batch(dataset, 1, k, 2, batch, &err);
    di_batch_free(batch);
    di_dataset_release(dataset);
    dk_strbuf_init(&json, f->host);
    di_token_file_inspect(f->host, path, &json, &err);
    dk_strbuf_free(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fixture f;
    char name[64];
    if (size > 16384 || (!f.host && !fixture_open(&f, OPTIONS("data.sequence_length=16", "data.format=tokens"))))
        return 0;
    snprintf(name, sizeof name, "fuzz.%ld.tokens", (long)getpid());
    const char *path = fixture_bytes(name, data, size);
    open_and_read(&f, path);
    uint8_t *copy = malloc(size + 1);
    if (!copy) return 0;
    if (size) memcpy(copy, data, size);
    mend(copy, size);
    path = fixture_bytes(name, copy, size);
    open_and_read(&f, path);
    free(copy);
    remove(path);
    return 0;
}
