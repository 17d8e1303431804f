/* dataset_info.c - what is known about a dataset: counts, its hash, bytes of text. */
#include <string.h>

#include "dataset/dataset_parts.h"

int32_t di_dataset_get_i64(const di_dataset *dataset, const char *key, int64_t *out, dk_error *err)
{
    const di_counts *counts = dataset->stream ? di_sample_stream_counts(dataset->stream) : &dataset->plan.counts;
    const int64_t unknown = dataset->stream ? -1 : 0; /* takes the place of what a stream does not know */
    const struct {
        const char *key;
        int64_t value;
    } values[] = {{"samples", unknown ? unknown : counts->samples},
                  {"tokens", unknown ? unknown : counts->tokens},
                  {"skipped", counts->skipped},
                  {"truncated", counts->truncated},
                  {"learnt", unknown ? unknown : counts->learnt},
                  {"windows", unknown ? unknown : dataset->plan.windows},
                  {"dropped", counts->dropped},
                  {"max_length", unknown ? dataset->rules.length : counts->max_length}};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        if (strcmp(values[i].key, key) != 0) continue;
        *out = values[i].value;
        return DK_OK;
    }
    if (strcmp(key, "bytes") != 0)
        return dk_fail(
            err, DK_E_NOT_FOUND,
            "key %s is not one of samples, tokens, skipped, truncated, learnt, windows, dropped, max_length, bytes",
            key);
    *out = di_dataset_text_bytes(dataset);
    return DK_OK;
}

int32_t di_dataset_hash(const di_dataset *dataset, char hex[65], dk_error *err)
{
    const di_range *range = &dataset->range;
    int64_t numbers[] = {range->begin,           range->end,
                         range->first_token,     range->last_token,
                         dataset->rules.length,  dataset->rules.too_long,
                         dataset->rules.pack,    dataset->rules.shuffle,
                         dataset->stream != NULL};
    uint8_t digest[32];
    dk_sha256 sha;
    (void)err;
    dk_sha256_begin(&sha);
    dk_sha256_add(&sha, dataset->store->content, sizeof dataset->store->content);
    dk_sha256_add(&sha, numbers, sizeof numbers);
    dk_sha256_end(&sha, digest);
    dk_hex(digest, sizeof digest, hex);
    return DK_OK;
}

int32_t di_dataset_check_vocab(const di_dataset *dataset, int64_t vocab_size, dk_error *err)
{
    const di_store *store = dataset->store;
    int64_t largest =
        dataset->stream ? store->decoder ? dk_tokenizer_vocab_size(store->decoder) - 1 : -1 : store->largest;
    if (largest < vocab_size) return DK_OK;
    return dk_fail(err, DK_E_MISMATCH,
                   "%s has token %lld, the model's vocabulary ends at %lld: was it made with another tokenizer?",
                   store->name, (long long)largest, (long long)vocab_size - 1);
}

/* ---- bytes of text ---- */

static int64_t decoded_size(const dk_tokenizer *tokenizer, int32_t id, int64_t count, dk_strbuf *text)
{
    const int32_t ids[2] = {id, id};
    dk_error ignored;
    dk_strbuf_clear(text);
    return dk_tokenizer_decode_to(tokenizer, ids, count, 0, text, &ignored) == DK_OK ? (int64_t)text->size : 0;
}

/* What the token adds behind another one. A byte token adds one byte, though alone it may decode to U+FFFD. */
static int64_t bytes_of(const dk_tokenizer *tokenizer, int32_t id, dk_strbuf *text)
{
    size_t size = 0;
    const char *name = dk_tokenizer_id_text(tokenizer, id, &size);
    if (!name || dk_tokenizer_is_special(tokenizer, id)) return 0;
    int64_t bytes = decoded_size(tokenizer, id, 2, text) - decoded_size(tokenizer, id, 1, text);
    return size == 6 && memcmp(name, "<0x", 3) == 0 && bytes < 6 ? 1 : bytes;
}

static int32_t count_bytes(const di_dataset *dataset, int64_t *out)
{
    const di_store *store = dataset->store;
    int64_t vocab = dk_tokenizer_vocab_size(store->decoder), bytes = 0; /* a token file may have ids beyond it */
    int32_t *sizes = NULL, rc;
    dk_strbuf text;
    dk_strbuf_init(&text, dataset->host);
    DK_TRY(dk_new(dataset->host, vocab, &sizes, NULL));
    for (int64_t id = 0; id < vocab; id++) sizes[id] = (int32_t)bytes_of(store->decoder, (int32_t)id, &text);
    for (int64_t s = 0; s < dataset->plan.first[dataset->plan.windows]; s++) {
        const di_sequence *sequence = &dataset->plan.sequences[s];
        for (int64_t i = sequence->first + 1; i < sequence->first + sequence->count; i++) {
            int32_t id = di_tokens_id(&store->tokens, i);
            if (id < vocab && di_tokens_learnt(&store->tokens, i)) bytes += sizes[id];
        }
    }
    *out = bytes;
out:
    dk_free(dataset->host, sizes);
    dk_strbuf_free(&text);
    return rc;
}

int64_t di_dataset_text_bytes(const di_dataset *dataset)
{
    int64_t bytes = atomic_load(&dataset->text_bytes);
    if (bytes >= -1) return bytes;
    if (dataset->stream || !dataset->store->decoder || count_bytes(dataset, &bytes) != DK_OK) bytes = -1;
    atomic_store(&((di_dataset *)(uintptr_t)dataset)->text_bytes, bytes);
    return bytes;
}
