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

/* The document that token `first` lies in. */
static di_origin origin_of(const di_store *store, int64_t first)
{
    int64_t low = 0, high = store->document_count - 1;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if ((int64_t)store->documents[middle].end <= first) low = middle + 1;
        else high = middle;
    }
    return (di_origin){(int64_t)(store->documents[low].origin >> 2), first - di_store_begin(store, low)};
}

static void add_window(const di_dataset *dataset, int64_t window, di_batch *out)
{
    const di_plan *plan = &dataset->plan;
    const di_store *store = dataset->store;
    out->source = store->name;
    for (int64_t i = plan->first[window]; i < plan->first[window + 1]; i++) {
        const di_sequence *sequence = &plan->sequences[i];
        di_batch_add_sequence(out, &store->tokens, sequence->first, sequence->count, origin_of(store, sequence->first));
    }
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

/* Windows [first, first + count) of the endless stream of epochs. */
static void add_places(const di_dataset *dataset, uint64_t seed, uint64_t first, int64_t count, di_batch *out)
{
    const uint64_t windows = (uint64_t)dataset->plan.windows;
    di_batch_clear(out);
    for (int64_t i = 0; i < count; i++) {
        uint64_t place = first + (uint64_t)i, epoch = place / windows, window = place % windows;
        if (dataset->rules.shuffle)
            window =
                dk_random_permute(dk_random_u64(seed, DK_STREAM_SHUFFLE, epoch), DK_STREAM_SHUFFLE, window, windows);
        add_window(dataset, (int64_t)window, out);
    }
}

int32_t di_dataset_batch(di_dataset *dataset, uint64_t seed, int64_t k, int64_t windows, di_batch *out, dk_error *err)
{
    int32_t rc = check_room(dataset, k, windows, out, err);
    if (rc != DK_OK) return rc;
    if (dataset->stream) return di_sample_stream_windows(dataset->stream, k * windows, windows, out, err);
    add_places(dataset, seed, (uint64_t)k * (uint64_t)windows, windows, out);
    return DK_OK;
}

static int64_t divide_up(int64_t a, int64_t b) { return a / b + (a % b > 0); }

int64_t di_dataset_epoch_steps(const di_dataset *dataset, int64_t windows, int64_t total)
{
    int64_t count = dataset->plan.windows;
    return total / count * divide_up(count, windows) + divide_up(total % count, windows);
}

int32_t di_dataset_epoch_batch(di_dataset *dataset, uint64_t seed, int64_t k, int64_t windows, int64_t total,
                               di_batch *out, dk_error *err)
{
    const int64_t count = dataset->plan.windows;
    int32_t rc = check_room(dataset, k, windows, out, err);
    if (rc != DK_OK) return rc;
    if (k >= di_dataset_epoch_steps(dataset, windows, total))
        return dk_fail(err, DK_E_END, "batch %lld is behind the last of %lld windows", (long long)k, (long long)total);
    int64_t steps = divide_up(count, windows), epoch = k / steps, first = epoch * count + k % steps * windows;
    int64_t last = (epoch + 1) * count < total ? (epoch + 1) * count : total;
    add_places(dataset, seed, (uint64_t)first, last - first < windows ? last - first : windows, out);
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
