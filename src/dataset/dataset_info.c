/* dataset_info.c - what is known about a dataset: counts, its hash, bytes of text. */
#include <string.h>

#include "dataset/dataset_parts.h"
#include "dataset/unpack.h"

static di_counts counts_of(const di_dataset *dataset)
{
    di_counts counts = {0};
    if (dataset->stream) return *di_sample_stream_counts(dataset->stream);
    for (int64_t s = 0; s < di_dataset_sources(dataset); s++)
        di_counts_add(&counts, &di_dataset_source(dataset, s)->plan.counts);
    return counts;
}

static int64_t windows_of(const di_dataset *dataset)
{
    int64_t windows = 0;
    for (int64_t s = 0; s < di_dataset_sources(dataset); s++) windows += di_dataset_source(dataset, s)->plan.windows;
    return windows;
}

int32_t di_dataset_get_i64(const di_dataset *dataset, const char *key, int64_t *out, dk_error *err)
{
    const di_counts known = counts_of(dataset), *counts = &known;
    const int64_t unknown = dataset->stream ? -1 : 0; /* takes the place of what a stream does not know */
    const struct {
        const char *key;
        int64_t value;
    } values[] = {{"samples", unknown ? unknown : counts->samples},
                  {"tokens", unknown ? unknown : counts->tokens},
                  {"skipped", counts->skipped},
                  {"truncated", counts->truncated},
                  {"learnt", unknown ? unknown : counts->learnt},
                  {"windows", unknown ? unknown : windows_of(dataset)},
                  {"split", counts->split},
                  {"no_labels", counts->no_labels},
                  {"lost_labels", counts->lost_labels},
                  {"lost_tokens", counts->lost_tokens},
                  {"lost_learnt", counts->lost_learnt},
                  {"dropped", counts->dropped},
                  {"pairs", unknown ? unknown : counts->pairs},
                  {"stream", dataset->stream != NULL},
                  {"max_length", unknown ? dataset->rules.length : counts->max_length}};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        if (strcmp(values[i].key, key) != 0) continue;
        *out = values[i].value;
        return DK_OK;
    }
    if (strcmp(key, "bytes") != 0)
        return dk_fail(
            err, DK_E_NOT_FOUND,
            "key %s is not one of samples, tokens, skipped, truncated, learnt, windows, split, no_labels, lost_labels, "
            "lost_tokens, lost_learnt, dropped, pairs, stream, max_length, bytes",
            key);
    return di_dataset_text_bytes(dataset, out, err);
}

void di_dataset_tell(const di_dataset *dataset)
{
    const di_counts counts = counts_of(dataset);
    if (!dataset->stream)
        di_counts_tell(&counts, dataset->plan.windows, dataset->rules.length, dataset->host, dataset->store->name);
}

static void describe_counts(const di_dataset *dataset, dk_strbuf *json)
{
    const di_counts counts = counts_of(dataset);
    di_counts_json(&counts, json);
    if (!dataset->stream) dk_strbuf_printf(json, ",\"windows\":%lld", (long long)windows_of(dataset));
}

/* Passes: how often it was seen; beyond 1 it was repeated. */
static void describe_seen(const di_dataset *dataset, const di_walk *seen, int64_t s, dk_strbuf *json)
{
    dk_strbuf_puts(json, ",\"share\":");
    dk_strbuf_f64(json, di_mix_share(&dataset->mix, s));
    if (dataset->mix.count) dk_strbuf_printf(json, ",\"seen_tokens\":%lld", (long long)seen->tokens[s]);
    dk_strbuf_puts(json, ",\"passes\":");
    dk_strbuf_f64(json, (double)seen->windows[s] / (double)di_dataset_source(dataset, s)->plan.windows);
}

static void describe_source(const di_dataset *dataset, const di_walk *seen, int64_t s, dk_strbuf *json)
{
    const di_dataset *source = di_dataset_source(dataset, s);
    const char *name = di_dataset_name(source), *path = source->store->name;
    dk_strbuf_json(json, name, strlen(name));
    dk_strbuf_puts(json, ":{\"path\":");
    dk_strbuf_json(json, path, strlen(path));
    dk_strbuf_puts(json, ",");
    describe_counts(source, json);
    if (seen) describe_seen(dataset, seen, s, json);
    dk_strbuf_puts(json, "}");
}

void di_dataset_describe(const di_dataset *dataset, const di_walk *seen, dk_strbuf *json)
{
    if (dataset->store) {
        dk_strbuf_puts(json, "\"source\":");
        dk_strbuf_json(json, dataset->store->name, strlen(dataset->store->name));
        dk_strbuf_puts(json, ",");
    }
    describe_counts(dataset, json);
    if (dataset->stream) return;
    dk_strbuf_puts(json, ",\"sources\":{");
    for (int64_t s = 0; s < di_dataset_sources(dataset); s++) {
        if (s) dk_strbuf_puts(json, ",");
        describe_source(dataset, seen, s, json);
    }
    dk_strbuf_puts(json, "}");
}

int32_t di_dataset_is_stream(const di_dataset *dataset) { return dataset->stream != NULL; }

/* Names are not in it: they change no batch. */
static int32_t hash_mix(const di_dataset *dataset, char hex[65], dk_error *err)
{
    const di_mix *mix = &dataset->mix;
    uint8_t digest[32];
    dk_sha256 sha;
    int32_t rc = DK_OK;
    dk_sha256_begin(&sha);
    for (int64_t s = 0; s < mix->count; s++) {
        DK_TRY(di_dataset_hash(mix->sources[s], hex, err));
        dk_sha256_add(&sha, hex, 64);
        dk_sha256_add(&sha, &mix->weights[s], sizeof mix->weights[s]);
    }
    dk_sha256_end(&sha, digest);
    dk_hex(digest, sizeof digest, hex);
out:
    return rc;
}

int32_t di_dataset_hash(const di_dataset *dataset, char hex[65], dk_error *err)
{
    if (dataset->mix.count) return hash_mix(dataset, hex, err);
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
    int32_t rc = DK_OK;
    for (int64_t s = 0; s < dataset->mix.count && rc == DK_OK; s++)
        rc = di_dataset_check_vocab(dataset->mix.sources[s], vocab_size, err);
    if (dataset->mix.count) return rc;
    const di_store *store = dataset->store;
    int64_t largest =
        dataset->stream ? store->decoder ? dk_tokenizer_vocab_size(store->decoder) - 1 : -1 : store->largest;
    if (largest < vocab_size) return DK_OK;
    return dk_fail(err, DK_E_MISMATCH,
                   "%s has token %lld, the model's vocabulary ends at %lld: was it made with another tokenizer?",
                   store->name, (long long)largest, (long long)vocab_size - 1);
}

/* ---- bytes of text ---- */

/* *out = 0 for a token that does not decode. */
static int32_t decoded_size(const dk_tokenizer *tokenizer, int32_t id, int64_t count, dk_strbuf *text, int64_t *out,
                            dk_error *err)
{
    const int32_t ids[2] = {id, id};
    dk_error problem;
    dk_strbuf_clear(text);
    int32_t rc = dk_tokenizer_decode_to(tokenizer, ids, count, 0, text, &problem);
    *out = rc == DK_OK ? (int64_t)text->size : 0;
    if (rc != DK_E_NOMEM) return DK_OK;
    if (err) *err = problem;
    return rc;
}

/* What the token adds behind another one. A byte token adds one byte, though alone it may decode to U+FFFD. */
static int32_t bytes_of(const dk_tokenizer *tokenizer, int32_t id, dk_strbuf *text, int32_t *out, dk_error *err)
{
    size_t size = 0;
    const char *name = dk_tokenizer_id_text(tokenizer, id, &size);
    int64_t one, two;
    int32_t rc = DK_OK;
    *out = 0;
    if (!name || dk_tokenizer_is_special(tokenizer, id)) return DK_OK;
    DK_TRY(decoded_size(tokenizer, id, 2, text, &two, err));
    DK_TRY(decoded_size(tokenizer, id, 1, text, &one, err));
    *out = size == 6 && memcmp(name, "<0x", 3) == 0 && two - one < 6 ? 1 : (int32_t)(two - one);
out:
    return rc;
}

static int32_t sum_bytes(const di_mix *mix, int64_t *out, dk_error *err)
{
    int64_t bytes, sum = 0;
    int32_t rc = DK_OK;
    for (int64_t s = 0; s < mix->count; s++) {
        DK_TRY(di_dataset_text_bytes(mix->sources[s], &bytes, err));
        sum = sum < 0 || bytes < 0 ? -1 : sum + bytes;
    }
    *out = sum;
out:
    return rc;
}

static int32_t count_bytes(const di_dataset *dataset, int64_t *out, dk_error *err)
{
    const di_store *store = dataset->store;
    int64_t vocab = dk_tokenizer_vocab_size(store->decoder), bytes = 0; /* a token file may have ids beyond it */
    int32_t *sizes = NULL, rc;
    dk_strbuf text;
    dk_strbuf_init(&text, dataset->host);
    DK_TRY(dk_new(dataset->host, vocab, &sizes, err));
    for (int64_t id = 0; id < vocab; id++) DK_TRY(bytes_of(store->decoder, (int32_t)id, &text, &sizes[id], err));
    for (int64_t s = 0; s < dataset->plan.first[dataset->plan.windows]; s++) {
        const di_sequence *sequence = &dataset->plan.sequences[s];
        if (dataset->plan.counts.pairs && di_dataset_origin(dataset, sequence->first).side == DISTILL_REJECTED)
            continue;
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

int32_t di_dataset_text_bytes(const di_dataset *dataset, int64_t *out, dk_error *err)
{
    int64_t bytes = atomic_load(&dataset->text_bytes);
    int32_t rc = DK_OK;
    if (dataset->mix.count) return sum_bytes(&dataset->mix, out, err);
    if (bytes == DI_UNCOUNTED) {
        bytes = -1;
        if (!dataset->stream && dataset->store->decoder) DK_TRY(count_bytes(dataset, &bytes, err));
        atomic_store(&((di_dataset *)(uintptr_t)dataset)->text_bytes, bytes);
    }
    *out = bytes;
out:
    return rc;
}

const char *di_dataset_unpacks(void)
{
    static const char *const names[] = {"none", "gzip", "zstd", "gzip, zstd"};
    return names[di_unpack_knows(DI_PACKED_GZIP) + 2 * di_unpack_knows(DI_PACKED_ZSTD)];
}

static int32_t tell_origin(const di_dataset *dataset, int64_t tag, di_origin_fn fn, void *user, dk_error *err)
{
    di_origin origin = {.source = di_dataset_name(dataset)};
    di_origin_tag(&origin, tag ? &dataset->store->tags[tag - 1] : NULL);
    return fn(user, &origin, err);
}

int32_t di_dataset_origins(const di_dataset *dataset, di_origin_fn fn, void *user, dk_error *err)
{
    uint8_t seen[DI_TAGS_MAX + 1] = {0};
    int32_t rc = DK_OK;
    for (int64_t s = 0; s < dataset->mix.count && !rc; s++)
        if (dataset->mix.weights[s] > 0) rc = di_dataset_origins(dataset->mix.sources[s], fn, user, err);
    if (dataset->mix.count || dataset->stream) return rc;
    for (int64_t d = dataset->range.begin; d < dataset->range.end; d++)
        seen[di_document_tag(&dataset->store->documents[d])] = 1;
    for (int64_t tag = 0; tag <= dataset->store->tag_count && tag <= DI_TAGS_MAX && !rc; tag++)
        if (seen[tag]) rc = tell_origin(dataset, tag, fn, user, err);
    return rc;
}
