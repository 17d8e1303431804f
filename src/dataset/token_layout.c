#include "dataset/token_layout.h"

#include <string.h>

static void put(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)at[i] << (8 * i);
    return value;
}

int32_t di_token_layout_place(di_token_layout *layout)
{
    const uint64_t most = UINT64_C(1) << 56; /* no sum below can overflow */
    uint64_t at = DI_TOKEN_HEADER;
    if (layout->tokens > most / 8 || layout->documents > layout->tokens || layout->tags > DI_TAGS_MAX) return 0;
    if (!layout->tags != !(layout->flags & DI_TOKEN_TAGS)) return 0;
    layout->size[0] = layout->tokens * layout->id_size;
    layout->size[1] = layout->documents * sizeof(di_document);
    layout->size[2] = layout->flags & DI_TOKEN_LEARN ? (layout->tokens + 7) / 8 : 0;
    layout->size[3] = layout->flags & DI_TOKEN_WEIGHTS ? layout->tokens * sizeof(float) : 0;
    layout->size[4] = layout->tags * sizeof(di_tag);
    for (int i = 0; i < DI_TOKEN_SECTIONS; i++) {
        layout->offset[i] = layout->size[i] || i < 2 ? at : 0;
        at += (layout->size[i] + 7) / 8 * 8;
    }
    layout->checksums = at;
    layout->blocks = (at - DI_TOKEN_HEADER + DI_TOKEN_BLOCK - 1) / DI_TOKEN_BLOCK;
    layout->file_size = at + 4 * layout->blocks + 4;
    return 1;
}

void di_token_layout_write(const di_token_layout *layout, uint8_t header[DI_TOKEN_HEADER])
{
    memset(header, 0, DI_TOKEN_HEADER);
    memcpy(header, DI_TOKEN_MAGIC, 8);
    put(header + 8, DI_TOKEN_VERSION, 4);
    put(header + 12, DI_TOKEN_HEADER, 4);
    put(header + 16, layout->id_size, 4);
    put(header + 20, layout->flags, 4);
    put(header + 24, layout->tokens, 8);
    put(header + 32, layout->documents, 8);
    put(header + 40, layout->largest, 8);
    put(header + 48, DI_TOKEN_BLOCK, 8);
    for (int i = 0; i < 4; i++) put(header + 56 + 8 * i, layout->offset[i], 8);
    put(header + 88, layout->checksums, 8);
    put(header + 96, layout->file_size, 8);
    memcpy(header + 104, layout->tokenizer, 32);
    memcpy(header + 136, layout->key, 32);
    memcpy(header + 168, layout->content, 32);
    put(header + 200, layout->offset[4], 8);
    put(header + 208, layout->tags, 8);
    put(header + 252, dk_crc32c(0, header, 252), 4);
}

/* What the numbers say must be what writing them again gives: so every field is checked at once. */
static int32_t check_layout(const uint8_t *data, uint64_t size, const char *path, di_token_layout *layout,
                            dk_error *err)
{
    uint8_t again[DI_TOKEN_HEADER];
    if ((layout->id_size != 2 && layout->id_size != 4) || layout->flags > 15 || !di_token_layout_place(layout))
        return dk_fail_at(err, DK_E_FORMAT, 16,
                          "%s: the header says ids of %u bytes, flags %u, %llu tokens, %llu documents, which cannot be",
                          path, (unsigned)layout->id_size, (unsigned)layout->flags, (unsigned long long)layout->tokens,
                          (unsigned long long)layout->documents);
    if (layout->file_size != size)
        return dk_fail_at(err, DK_E_FORMAT, (int64_t)size,
                          "%s: has %llu bytes, its header says %llu: it was cut off or not written to the end", path,
                          (unsigned long long)size, (unsigned long long)layout->file_size);
    di_token_layout_write(layout, again);
    for (int i = 0; i < DI_TOKEN_HEADER; i++)
        if (again[i] != data[i])
            return dk_fail_at(err, DK_E_FORMAT, i, "%s: byte %d of the header is not as version %d has it", path, i,
                              DI_TOKEN_VERSION);
    return DK_OK;
}

int32_t di_token_layout_read(const uint8_t *data, uint64_t size, const char *path, di_token_layout *out, dk_error *err)
{
    memset(out, 0, sizeof *out);
    if (size < 8 || memcmp(data, DI_TOKEN_MAGIC, 8) != 0)
        return dk_fail_at(err, DK_E_FORMAT, 0, "%s: is no token file: it does not begin with %s", path, DI_TOKEN_MAGIC);
    if (size < DI_TOKEN_HEADER)
        return dk_fail_at(err, DK_E_FORMAT, (int64_t)size, "%s: ends after %llu bytes, inside the header of %d", path,
                          (unsigned long long)size, DI_TOKEN_HEADER);
    if (get(data + 8, 4) != DI_TOKEN_VERSION)
        return dk_fail_at(err, DK_E_UNSUPPORTED, 8,
                          "%s: is a token file of version %u, this library reads %d: make it again", path,
                          (unsigned)get(data + 8, 4), DI_TOKEN_VERSION);
    if (get(data + 252, 4) != dk_crc32c(0, data, 252))
        return dk_fail_at(err, DK_E_FORMAT, 0, "%s: the header (bytes 0 to 255) is damaged: its checksum differs",
                          path);
    out->id_size = (uint32_t)get(data + 16, 4);
    out->flags = (uint32_t)get(data + 20, 4);
    out->tokens = get(data + 24, 8);
    out->documents = get(data + 32, 8);
    out->largest = get(data + 40, 8);
    out->tags = get(data + 208, 8);
    memcpy(out->tokenizer, data + 104, 32);
    memcpy(out->key, data + 136, 32);
    memcpy(out->content, data + 168, 32);
    return check_layout(data, size, path, out, err);
}
