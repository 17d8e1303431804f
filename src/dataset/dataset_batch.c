/* dataset_batch.c - which windows of a dataset batch k has. */
#include "dataset/walk.h"

static int64_t largest_of(const di_dataset *dataset, int64_t *sequences)
{
    int64_t tokens = 0;
    *sequences = dataset->rules.pack ? dataset->rules.length / 2 : 1;
    if (dataset->stream) return dataset->rules.length;
    *sequences = 0;
    for (int64_t s = 0; s < di_dataset_sources(dataset); s++) {
        const di_plan *plan = &di_dataset_source(dataset, s)->plan;
        if (plan->max_tokens > tokens) tokens = plan->max_tokens;
        if (plan->max_sequences > *sequences) *sequences = plan->max_sequences;
    }
    return tokens;
}

int32_t di_batch_create(const di_dataset *dataset, int64_t windows, di_batch **out, dk_error *err)
{
    int64_t sequences, tokens = largest_of(dataset, &sequences);
    di_batch *batch = NULL;
    int32_t rc;
    if (windows < 1 || windows > INT64_MAX / 64 / tokens)
        return dk_fail(err, DK_E_INVALID, "a batch of %lld windows is out of bounds", (long long)windows);
    DK_TRY(di_batch_plan(dataset->host, windows, windows * tokens, windows * sequences, &batch, err));
    DK_TRY(di_walk_init(dataset, &batch->walk, err));
    *out = batch;
    return DK_OK;
out:
    di_batch_free(batch);
    return rc;
}

/* The document that token `first` lies in. */
di_origin di_dataset_origin(const di_dataset *dataset, int64_t first)
{
    const di_store *store = dataset->store;
    int64_t low = 0, high = store->document_count - 1;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if ((int64_t)store->documents[middle].end <= first) low = middle + 1;
        else high = middle;
    }
    const di_document *document = &store->documents[low];
    const int64_t tag = di_document_tag(document);
    di_origin origin = {di_dataset_name(dataset),           NULL, di_document_number(document),
                        first - di_store_begin(store, low), 0,    di_store_side(store, low)};
    di_origin_tag(&origin, tag ? &store->tags[tag - 1] : NULL);
    return origin;
}

/* Sequences of the sources before this one. */
static int64_t sequences_before(const di_dataset *dataset, const di_dataset *source)
{
    int64_t count = 0;
    for (int64_t s = 0; s < dataset->mix.count && dataset->mix.sources[s] != source; s++)
        count += di_dataset_sequence_count(dataset->mix.sources[s]);
    return count;
}

int64_t di_dataset_sequence_count(const di_dataset *dataset)
{
    if (dataset->mix.count) return sequences_before(dataset, NULL);
    return dataset->stream ? 0 : dataset->plan.first[dataset->plan.windows];
}

static void add_window(const di_dataset *dataset, const di_dataset *source, int64_t window, di_batch *out)
{
    const di_plan *plan = &source->plan;
    const int64_t before = sequences_before(dataset, source);
    for (int64_t i = plan->first[window]; i < plan->first[window + 1]; i++) {
        const di_sequence *sequence = &plan->sequences[i];
        di_origin origin = di_dataset_origin(source, sequence->first);
        origin.number = before + i;
        di_batch_add_sequence(out, &source->store->tokens, sequence->first, sequence->count, origin);
    }
    di_batch_end_window(out);
}

static int32_t check_room(const di_dataset *dataset, int64_t first, int64_t windows, const di_batch *out, dk_error *err)
{
    int64_t sequences, tokens = largest_of(dataset, &sequences);
    if (first < 0 || windows < 1)
        return dk_fail(err, DK_E_INVALID, "windows [%lld, +%lld) do not exist", (long long)first, (long long)windows);
    if (dataset->mix.count && out->walk.dataset != dataset)
        return dk_fail(err, DK_E_INVALID, "a batch that was made for other data");
    if (windows <= out->max_windows && windows * tokens <= out->max_tokens) return DK_OK;
    return dk_fail(err, DK_E_INVALID, "%lld windows do not fit into a batch made for %lld", (long long)windows,
                   (long long)out->max_windows);
}

/* Windows [first, first + count) of the endless stream of epochs. */
static void add_places(const di_dataset *dataset, uint64_t seed, int64_t first, int64_t count, di_batch *out)
{
    di_batch_clear(out);
    di_walk_to(dataset, seed, first, &out->walk);
    for (int64_t i = 0; i < count; i++) {
        const di_stop stop = di_walk_next(dataset, &out->walk);
        add_window(dataset, stop.source, stop.window, out);
    }
}

int32_t di_dataset_batch(di_dataset *dataset, uint64_t seed, int64_t k, int64_t windows, di_batch *out, dk_error *err)
{
    int32_t rc = check_room(dataset, k, windows, out, err);
    if (rc != DK_OK) return rc;
    if (dataset->stream) return di_sample_stream_windows(dataset->stream, k * windows, windows, out, err);
    add_places(dataset, seed, k * windows, windows, out);
    return DK_OK;
}

static int64_t divide_up(int64_t a, int64_t b) { return a / b + (a % b > 0); }

int64_t di_epoch_steps(const di_epochs *epochs, int64_t windows)
{
    return epochs->total / epochs->length * divide_up(epochs->length, windows) +
           divide_up(epochs->total % epochs->length, windows);
}

int64_t di_epoch_place(const di_epochs *epochs, int64_t windows, int64_t k)
{
    int64_t steps = divide_up(epochs->length, windows);
    int64_t place = k / steps * epochs->length + k % steps * windows;
    return place < epochs->total ? place : epochs->total;
}

int32_t di_dataset_epoch_batch(di_dataset *dataset, uint64_t seed, int64_t k, int64_t windows, const di_epochs *epochs,
                               di_batch *out, dk_error *err)
{
    int32_t rc = check_room(dataset, k, windows, out, err);
    if (rc != DK_OK) return rc;
    if (k >= di_epoch_steps(epochs, windows))
        return dk_fail(err, DK_E_END, "batch %lld is behind the last of %lld windows", (long long)k,
                       (long long)epochs->total);
    int64_t first = di_epoch_place(epochs, windows, k), next = di_epoch_place(epochs, windows, k + 1);
    add_places(dataset, seed, first, next - first, out);
    return DK_OK;
}

int32_t di_dataset_walk(const di_dataset *dataset, uint64_t seed, int64_t windows, di_walk *out, dk_error *err)
{
    int32_t rc = di_walk_init(dataset, out, err);
    if (rc == DK_OK && !dataset->stream) di_walk_to(dataset, seed, windows, out);
    return rc;
}

/* The source that window number *window of all lies in, and its number there. */
static const di_dataset *find_source(const di_dataset *dataset, int64_t *window)
{
    int64_t s = 0;
    for (; s + 1 < di_dataset_sources(dataset); s++) {
        int64_t windows = di_dataset_source(dataset, s)->plan.windows;
        if (*window < windows) break;
        *window -= windows;
    }
    return di_dataset_source(dataset, s);
}

int32_t di_dataset_windows(di_dataset *dataset, int64_t first, int64_t count, di_batch *out, dk_error *err)
{
    int64_t windows = 0;
    int32_t rc = check_room(dataset, first, count, out, err);
    if (rc != DK_OK) return rc;
    if (dataset->stream) return di_sample_stream_windows(dataset->stream, first, count, out, err);
    for (int64_t s = 0; s < di_dataset_sources(dataset); s++) windows += di_dataset_source(dataset, s)->plan.windows;
    if (first >= windows)
        return dk_fail(err, DK_E_END, "window %lld is behind the last of %lld", (long long)first, (long long)windows);
    if (count > windows - first) count = windows - first;
    di_batch_clear(out);
    for (int64_t i = 0; i < count; i++) {
        int64_t window = first + i;
        const di_dataset *source = find_source(dataset, &window);
        add_window(dataset, source, window, out);
    }
    return DK_OK;
}
