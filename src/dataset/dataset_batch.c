/* dataset_batch.c - which windows of a dataset batch k has. */
#include "base/random.h"
#include "dataset/dataset_parts.h"
#include "dataset/sample_stream.h"

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
