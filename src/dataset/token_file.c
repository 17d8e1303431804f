#include "dataset/token_file.h"

#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "dataset/token_layout.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "token files are mapped as they are: a big-endian machine needs a reader that swaps"
#endif

int32_t di_token_file_is(dk_host *host, const char *path)
{
    char magic[8];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    (void)host;
    if (fd < 0) return 0;
    ssize_t got = pread(fd, magic, sizeof magic, 0);
    close(fd);
    return got == (ssize_t)sizeof magic && memcmp(magic, DI_TOKEN_MAGIC, sizeof magic) == 0;
}

static uint32_t read_crc(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

typedef struct block_check {
    dk_host *host;
    const uint8_t *data;
    const di_token_layout *layout;
    _Atomic int64_t bad; /* first block whose checksum differs */
} block_check;

static void check_range(void *context, int64_t begin, int64_t end)
{
    block_check *check = context;
    const di_token_layout *layout = check->layout;
    for (int64_t block = begin; block < end && !dk_host_cancelled(check->host); block++) {
        uint64_t at = DI_TOKEN_HEADER + (uint64_t)block * DI_TOKEN_BLOCK, size = layout->checksums - at;
        if (size > DI_TOKEN_BLOCK) size = DI_TOKEN_BLOCK;
        if (dk_crc32c(0, check->data + at, (size_t)size) == read_crc(check->data + layout->checksums + 4 * block))
            continue;
        int64_t known = atomic_load(&check->bad);
        while (block < known && !atomic_compare_exchange_weak(&check->bad, &known, block)) continue;
    }
}

static int32_t check_blocks(dk_host *host, const char *path, const uint8_t *data, const di_token_layout *layout,
                            dk_error *err)
{
    block_check check = {.host = host, .data = data, .layout = layout};
    const uint8_t *table = data + layout->checksums;
    if (dk_crc32c(0, table, (size_t)(4 * layout->blocks)) != read_crc(table + 4 * layout->blocks))
        return dk_fail_at(err, DK_E_FORMAT, (int64_t)layout->checksums,
                          "%s: the table of checksums at byte %llu is damaged: make the file again", path,
                          (unsigned long long)layout->checksums);
    atomic_init(&check.bad, INT64_MAX);
    dk_parallel_for(host, (int64_t)layout->blocks, 1, check_range, &check);
    if (dk_parallel_check(host, err) != DK_OK) return dk_error_context(err, "%s", path);
    if (dk_host_cancelled(host)) return dk_fail(err, DK_E_CANCELLED, "%s: checking was cancelled", path);
    int64_t bad = atomic_load(&check.bad), at = DI_TOKEN_HEADER + bad * (bad == INT64_MAX ? 0 : DI_TOKEN_BLOCK);
    if (bad == INT64_MAX) return DK_OK;
    return dk_fail_at(err, DK_E_FORMAT, at,
                      "%s: block %lld at byte %lld is damaged: its checksum differs; make the file again", path,
                      (long long)bad, (long long)at);
}

static int32_t check_documents(const di_store *store, dk_error *err)
{
    uint64_t begin = 0;
    for (int64_t i = 0; i < store->document_count; i++) {
        if (store->documents[i].end <= begin || store->documents[i].end > (uint64_t)store->token_count)
            return dk_fail(err, DK_E_FORMAT, "%s: document %lld ends at token %llu, outside (%llu, %lld]", store->name,
                           (long long)i, (unsigned long long)store->documents[i].end, (unsigned long long)begin,
                           (long long)store->token_count);
        if (di_document_tag(&store->documents[i]) > store->tag_count)
            return dk_fail(err, DK_E_FORMAT, "%s: document %lld has tag %lld of %lld", store->name, (long long)i,
                           (long long)di_document_tag(&store->documents[i]), (long long)store->tag_count);
        if (di_store_side(store, i) == DISTILL_CHOSEN &&
            (i + 1 == store->document_count || di_store_side(store, i + 1) != DISTILL_REJECTED))
            return dk_fail(err, DK_E_FORMAT, "%s: document %lld is the chosen side of a pair, and none follows it",
                           store->name, (long long)i);
        begin = store->documents[i].end;
    }
    if (begin == (uint64_t)store->token_count) return DK_OK;
    return dk_fail(err, DK_E_FORMAT, "%s: the last document ends at token %llu of %lld", store->name,
                   (unsigned long long)begin, (long long)store->token_count);
}

static int32_t check_tags(const di_store *store, dk_error *err)
{
    for (int64_t i = 0; i < store->tag_count; i++)
        if (store->tags[i].source[DI_TAG_SIZE - 1] || store->tags[i].teacher[DI_TAG_SIZE - 1])
            return dk_fail(err, DK_E_FORMAT, "%s: tag %lld does not end", store->name, (long long)i + 1);
    return DK_OK;
}

static int32_t check_values(const di_store *store, dk_error *err)
{
    int64_t largest = -1;
    for (int64_t i = 0; i < store->token_count; i++) {
        int32_t id = di_tokens_id(&store->tokens, i);
        if (id < 0)
            return dk_fail(err, DK_E_FORMAT, "%s: token %lld is id %d: ids are not negative", store->name, (long long)i,
                           (int)id);
        if (id > largest) largest = id;
        if (store->tokens.weights && !(store->tokens.weights[i] >= 0 && isfinite(store->tokens.weights[i])))
            return dk_fail(err, DK_E_FORMAT, "%s: the weight of token %lld is %g, no number >= 0", store->name,
                           (long long)i, (double)store->tokens.weights[i]);
    }
    if (largest == store->largest) return DK_OK;
    return dk_fail(err, DK_E_FORMAT, "%s: the largest id is %lld, the header says %lld", store->name,
                   (long long)largest, (long long)store->largest);
}

static int32_t check_tokenizer(const di_store *store, const di_token_layout *layout, dk_error *err)
{
    static const uint8_t none[32];
    char file[65], own[65];
    if (!store->decoder || memcmp(layout->tokenizer, none, 32) == 0) return DK_OK;
    if (memcmp(layout->tokenizer, store->tokenizer, 32) == 0) return DK_OK;
    dk_hex(layout->tokenizer, 32, file);
    dk_hex(store->tokenizer, 32, own);
    return dk_fail(
        err, DK_E_MISMATCH,
        "%s: was made with the tokenizer %.16s, the model's is %.16s: its ids mean other tokens; make it again",
        store->name, file, own);
}

/* The store's parts point into its map. */
static void attach(di_store *store, const di_token_layout *layout)
{
    const uint8_t *data = store->map.data;
    store->lines = (layout->flags & DI_TOKEN_LINES) != 0;
    store->tokens.ids = data + layout->offset[0];
    store->tokens.id_size = layout->id_size;
    store->documents = (const di_document *)(const void *)(data + layout->offset[1]);
    store->tokens.learn = layout->flags & DI_TOKEN_LEARN ? data + layout->offset[2] : NULL;
    store->tokens.weights =
        layout->flags & DI_TOKEN_WEIGHTS ? (const float *)(const void *)(data + layout->offset[3]) : NULL;
    store->tags = layout->tags ? (const di_tag *)(const void *)(data + layout->offset[4]) : NULL;
    store->tag_count = (int64_t)layout->tags;
    store->token_count = (int64_t)layout->tokens;
    store->document_count = (int64_t)layout->documents;
    store->largest = (int64_t)layout->largest;
    memcpy(store->content, layout->content, 32);
}

int32_t di_token_file_open(dk_host *host, const char *path, dk_tokenizer *tokenizer, const uint8_t *key, di_store **out,
                           dk_error *err)
{
    di_store *store = NULL;
    di_token_layout layout;
    int32_t rc;
    DK_TRY(di_store_create(host, path, tokenizer, &store, err));
    DK_TRY(dk_map_open(host, path, 1, &store->map, err));
    DK_TRY(di_token_layout_read(store->map.data, store->map.size, path, &layout, err));
    if (key && memcmp(key, layout.key, 32) != 0)
        DK_TRY(dk_fail(err, DK_E_MISMATCH, "%s: was made of another source or with other options", path));
    DK_TRY(check_tokenizer(store, &layout, err));
    DK_TRY(check_blocks(host, path, store->map.data, &layout, err));
    attach(store, &layout);
    DK_TRY(check_tags(store, err));
    DK_TRY(check_documents(store, err));
    DK_TRY(check_values(store, err));
    memcpy(store->tokenizer, layout.tokenizer, 32);
    *out = store;
    return DK_OK;
out:
    di_store_release(store);
    return rc;
}

static void describe(const di_token_layout *layout, dk_strbuf *json)
{
    char hex[65];
    dk_strbuf_printf(json, ",\"version\":%d,\"tokens\":%llu,\"documents\":%llu,\"largest_id\":%lld,\"bytes_per_id\":%u",
                     DI_TOKEN_VERSION, (unsigned long long)layout->tokens, (unsigned long long)layout->documents,
                     (long long)layout->largest, (unsigned)layout->id_size);
    dk_strbuf_printf(json, ",\"masked\":%s,\"weighted\":%s,\"bytes\":%llu",
                     layout->flags & DI_TOKEN_LEARN ? "true" : "false",
                     layout->flags & DI_TOKEN_WEIGHTS ? "true" : "false", (unsigned long long)layout->file_size);
    dk_hex(layout->tokenizer, 32, hex);
    dk_strbuf_printf(json, ",\"tokenizer\":\"%s\"", hex);
    dk_hex(layout->content, 32, hex);
    dk_strbuf_printf(json, ",\"content\":\"%s\"", hex);
}

int32_t di_token_file_inspect(dk_host *host, const char *path, dk_strbuf *json, dk_error *err)
{
    dk_mapping map = {0};
    di_token_layout layout;
    di_store *store = NULL;
    dk_error problem;
    int32_t rc;
    dk_error_clear(&problem);
    DK_TRY(dk_map_open(host, path, 1, &map, err));
    dk_strbuf_puts(json, "{\"kind\":\"tokens\"");
    if (di_token_layout_read(map.data, map.size, path, &layout, &problem) == DK_OK) {
        describe(&layout, json);
        di_token_file_open(host, path, NULL, NULL, &store, &problem);
    }
    dk_strbuf_printf(json, ",\"whole\":%s", problem.code ? "false" : "true");
    if (problem.code) {
        dk_strbuf_puts(json, ",\"problem\":");
        dk_strbuf_json(json, problem.message, strlen(problem.message));
    }
    dk_strbuf_puts(json, "}");
    rc = dk_strbuf_check(json, err);
out:
    di_store_release(store);
    dk_map_close(&map);
    return rc;
}
