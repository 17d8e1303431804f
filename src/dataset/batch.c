#include <string.h>

#include "base/random.h"
#include "dataset/dataset_parts.h"

int32_t di_batch_plan(dk_host *host, int64_t windows, int64_t tokens, int64_t sequences, di_batch **out, dk_error *err)
{
    di_batch *batch = NULL;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &batch, err));
    batch->host = host;
    batch->max_windows = windows;
    batch->max_tokens = tokens;
    batch->max_sequences = sequences;
    DK_TRY(dk_new(host, windows + 1, &batch->window_first, err));
    DK_TRY(dk_new(host, windows + 1, &batch->window_row, err));
    DK_TRY(dk_new(host, sequences + 1, &batch->offsets, err));
    DK_TRY(dk_new(host, tokens, &batch->ids, err));
    DK_TRY(dk_new(host, tokens, &batch->learn, err));
    DK_TRY(dk_new(host, tokens, &batch->row, err));
    DK_TRY(dk_new(host, tokens, &batch->labels, err));
    DK_TRY(dk_new(host, tokens, &batch->weights, err));
    DK_TRY(dk_new(host, tokens, &batch->row_sequence, err));
    *out = batch;
    return DK_OK;
out:
    di_batch_free(batch);
    return rc;
}

int32_t di_batch_create(const di_dataset *dataset, int64_t windows, di_batch **out, dk_error *err)
{
    int64_t tokens = dataset->stream ? dataset->rules.length : dataset->plan.max_tokens;
    int64_t sequences = !dataset->stream      ? dataset->plan.max_sequences
                        : dataset->rules.pack ? dataset->rules.length / 2
                                              : 1;
    if (windows < 1 || windows > INT64_MAX / 64 / tokens)
        return dk_fail(err, DK_E_INVALID, "a batch of %lld windows is out of bounds", (long long)windows);
    return di_batch_plan(dataset->host, windows, windows * tokens, windows * sequences, out, err);
}

void di_batch_free(di_batch *batch)
{
    if (!batch) return;
    void *parts[] = {batch->window_first, batch->window_row, batch->offsets, batch->ids,         batch->learn,
                     batch->row,          batch->labels,     batch->weights, batch->row_sequence};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) dk_free(batch->host, parts[i]);
    dk_free(batch->host, batch);
}

void di_batch_clear(di_batch *batch)
{
    batch->windows = batch->sequences = batch->rows = 0;
    batch->window_first[0] = batch->window_row[0] = batch->offsets[0] = 0;
    batch->weight_sum = 0;
}

static void copy_ids(const di_tokens *tokens, int64_t first, int64_t count, int32_t *out)
{
    if (tokens->id_size == 4) {
        memcpy(out, (const int32_t *)tokens->ids + first, (size_t)count * sizeof *out);
        return;
    }
    const uint16_t *ids = (const uint16_t *)tokens->ids + first;
    for (int64_t i = 0; i < count; i++) out[i] = ids[i];
}

void di_batch_add_sequence(di_batch *batch, const di_tokens *tokens, int64_t first, int64_t count)
{
    int64_t begin = batch->offsets[batch->sequences];
    copy_ids(tokens, first, count, batch->ids + begin);
    batch->learn[begin] = 0;
    for (int64_t i = 1; i < count; i++) {
        int32_t learnt = di_tokens_learnt(tokens, first + i);
        batch->learn[begin + i] = (uint8_t)learnt;
        if (!learnt) continue;
        int64_t row = batch->rows++;
        batch->row[row] = begin + i - 1;
        batch->labels[row] = batch->ids[begin + i];
        batch->weights[row] = tokens->weights ? tokens->weights[first + i] : 1.0f;
        batch->row_sequence[row] = batch->sequences;
        batch->weight_sum += (double)batch->weights[row];
    }
    batch->offsets[++batch->sequences] = begin + count;
}

void di_batch_end_window(di_batch *batch)
{
    batch->windows++;
    batch->window_first[batch->windows] = batch->sequences;
    batch->window_row[batch->windows] = batch->rows;
}

static void add_window(const di_dataset *dataset, int64_t window, di_batch *out)
{
    const di_plan *plan = &dataset->plan;
    for (int64_t i = plan->first[window]; i < plan->first[window + 1]; i++)
        di_batch_add_sequence(out, &dataset->store->tokens, plan->sequences[i].first, plan->sequences[i].count);
    di_batch_end_window(out);
}

static int32_t check_room(const di_dataset *dataset, int64_t first, int64_t windows, const di_batch *out, dk_error *err)
{
    int64_t tokens = dataset->stream ? dataset->rules.length : dataset->plan.max_tokens;
    if (first < 0 || windows < 1)
        return dk_fail(err, DK_E_INVALID, "windows [%lld, +%lld) do not exist", (long long)first, (long long)windows);
    if (windows <= out->max_windows && windows * tokens <= out->max_tokens) return DK_OK;
    return dk_fail(err, DK_E_INVALID, "%lld windows do not fit into a batch made for %lld", (long long)windows,
                   (long long)out->max_windows);
}

int32_t di_dataset_batch(di_dataset *dataset, uint64_t seed, int64_t k, int64_t windows, di_batch *out, dk_error *err)
{
    const uint64_t count = (uint64_t)dataset->plan.windows;
    int32_t rc = check_room(dataset, k, windows, out, err);
    if (rc != DK_OK) return rc;
    if (dataset->stream) return di_sample_stream_windows(dataset->stream, k * windows, windows, out, err);
    di_batch_clear(out);
    for (int64_t i = 0; i < windows; i++) {
        uint64_t place = (uint64_t)k * (uint64_t)windows + (uint64_t)i, epoch = place / count, window = place % count;
        if (dataset->rules.shuffle)
            window = dk_random_permute(dk_random_u64(seed, DK_STREAM_SHUFFLE, epoch), DK_STREAM_SHUFFLE, window, count);
        add_window(dataset, (int64_t)window, out);
    }
    return DK_OK;
}

int32_t di_dataset_windows(di_dataset *dataset, int64_t first, int64_t count, di_batch *out, dk_error *err)
{
    int32_t rc = check_room(dataset, first, count, out, err);
    if (rc != DK_OK) return rc;
    if (dataset->stream) return di_sample_stream_windows(dataset->stream, first, count, out, err);
    if (first >= dataset->plan.windows)
        return dk_fail(err, DK_E_END, "window %lld is behind the last of %lld", (long long)first,
                       (long long)dataset->plan.windows);
    if (count > dataset->plan.windows - first) count = dataset->plan.windows - first;
    di_batch_clear(out);
    for (int64_t i = 0; i < count; i++) add_window(dataset, first + i, out);
    return DK_OK;
}
