#include "dataset/token_file.h"

#include <string.h>

#include "dataset/token_layout.h"

typedef struct body { /* what was written of [header, checksums), and the checksums of its blocks */
    dk_writer *writer;
    uint8_t *checksums; /* [blocks + 1] u32 */
    uint64_t at;        /* bytes behind the header */
    uint32_t crc;       /* of the unfinished block */
} body;

static void put_crc(uint8_t *at, uint32_t crc)
{
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(crc >> (8 * i));
}

static int32_t write_bytes(body *to, const uint8_t *data, uint64_t size, dk_error *err)
{
    int32_t rc = DK_OK;
    while (size) {
        uint64_t room = DI_TOKEN_BLOCK - to->at % DI_TOKEN_BLOCK, part = size < room ? size : room;
        to->crc = dk_crc32c(to->crc, data, (size_t)part);
        DK_TRY(dk_writer_write(to->writer, data, part, err));
        put_crc(to->checksums + 4 * (to->at / DI_TOKEN_BLOCK), to->crc);
        to->at += part;
        if (to->at % DI_TOKEN_BLOCK == 0) to->crc = 0;
        data += part;
        size -= part;
    }
out:
    return rc;
}

static int32_t write_sections(const di_store *store, const di_token_layout *layout, body *to, dk_error *err)
{
    const void *data[DI_TOKEN_SECTIONS] = {store->tokens.ids, store->documents, store->tokens.learn,
                                           store->tokens.weights, store->tags};
    static const uint8_t zeroes[8];
    int32_t rc = DK_OK;
    for (int i = 0; i < DI_TOKEN_SECTIONS; i++) {
        DK_TRY(write_bytes(to, data[i], layout->size[i], err));
        DK_TRY(write_bytes(to, zeroes, (8 - layout->size[i] % 8) % 8, err));
    }
out:
    return rc;
}

static int32_t describe(const di_store *store, const uint8_t key[32], di_token_layout *layout, const char *path,
                        dk_error *err)
{
    memset(layout, 0, sizeof *layout);
    layout->id_size = (uint32_t)store->tokens.id_size;
    layout->flags = (store->tokens.learn ? DI_TOKEN_LEARN : 0) | (store->tokens.weights ? DI_TOKEN_WEIGHTS : 0) |
                    (store->lines ? DI_TOKEN_LINES : 0) | (store->tag_count ? DI_TOKEN_TAGS : 0);
    layout->tags = (uint64_t)store->tag_count;
    layout->tokens = (uint64_t)store->token_count;
    layout->documents = (uint64_t)store->document_count;
    layout->largest = (uint64_t)store->largest;
    memcpy(layout->tokenizer, store->tokenizer, 32);
    memcpy(layout->content, store->content, 32);
    if (key) memcpy(layout->key, key, 32);
    return di_token_layout_place(layout) ? DK_OK
                                         : dk_fail(err, DK_E_INVALID, "%s: %lld tokens are too many for a token file",
                                                   path, (long long)store->token_count);
}

int32_t di_token_file_write(const di_store *store, const uint8_t key[32], const char *path, dk_error *err)
{
    uint8_t header[DI_TOKEN_HEADER];
    di_token_layout layout;
    body to = {NULL, NULL, 0, 0};
    int32_t rc;
    DK_TRY(describe(store, key, &layout, path, err));
    DK_TRY(dk_new(store->host, 4 * layout.blocks + 4, &to.checksums, err));
    DK_TRY(dk_writer_open(store->host, path, &to.writer, err));
    di_token_layout_write(&layout, header);
    DK_TRY(dk_writer_write(to.writer, header, sizeof header, err));
    DK_TRY(write_sections(store, &layout, &to, err));
    put_crc(to.checksums + 4 * layout.blocks, dk_crc32c(0, to.checksums, (size_t)(4 * layout.blocks)));
    DK_TRY(dk_writer_write(to.writer, to.checksums, 4 * layout.blocks + 4, err));
    rc = dk_writer_commit(to.writer, err);
    to.writer = NULL;
out:
    dk_writer_abort(to.writer);
    dk_free(store->host, to.checksums);
    return rc;
}
