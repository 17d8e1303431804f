/* mix.c - several sources as one dataset: names, weights, epochs. */
#include <math.h>
#include <string.h>

#include "dataset/walk.h"

enum { EPOCH_MAX = 100000000 }; /* windows that are counted one by one */

/* By size: the sources end their epochs together. */
static void weigh(di_mix *mix, const double *weights)
{
    for (int64_t s = 0; s < mix->count; s++)
        mix->weights[s] = weights ? weights[s] : (double)mix->sources[s]->plan.counts.tokens;
    mix->by_size = weights == NULL;
}

int32_t di_dataset_mix(dk_host *host, di_dataset **sources, int64_t count, const double *weights, di_dataset **out,
                       dk_error *err)
{
    di_dataset *dataset = NULL;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &dataset, err));
    atomic_init(&dataset->references, 1);
    atomic_init(&dataset->text_bytes, DI_UNCOUNTED);
    dataset->host = dk_host_retain(host);
    dataset->rules = sources[0]->rules;
    DK_TRY(dk_new(host, count, &dataset->mix.sources, err));
    DK_TRY(dk_new(host, count, &dataset->mix.weights, err));
    dataset->mix.count = count;
    for (int64_t s = 0; s < count; s++) dataset->mix.sources[s] = di_dataset_retain(sources[s]);
    weigh(&dataset->mix, weights);
    *out = dataset;
    return DK_OK;
out:
    di_dataset_release(dataset);
    return rc;
}

/* ---- splitting ---- */

/* ---- epochs ---- */

static double windows_in(const di_mix *mix, double times)
{
    double most = 0, windows = 0;
    for (int64_t s = 0; s < mix->count; s++) {
        double passes = mix->weights[s] > 0 ? (double)mix->sources[s]->plan.counts.tokens / mix->weights[s] : 0;
        if (passes > most) most = passes;
    }
    for (int64_t s = 0; s < mix->count; s++)
        windows += (double)mix->sources[s]->plan.windows * times * most * mix->weights[s] /
                   (double)mix->sources[s]->plan.counts.tokens;
    return windows;
}

static int32_t count_epochs(const di_dataset *dataset, uint64_t seed, double count, di_epochs *out, dk_error *err)
{
    di_walk walk = {0};
    int32_t rc;
    double windows = windows_in(&dataset->mix, count > 1 ? count : 1);
    if (windows > EPOCH_MAX)
        return dk_fail(err, DK_E_OPTION,
                       "train.epochs %.6g with this data.mix is about %.3g windows, for the source with the smallest "
                       "weight is to be seen whole: give train.steps",
                       count, windows);
    DK_TRY(di_walk_init(dataset, &walk, err));
    out->length = di_walk_count(dataset, seed, 1, &walk);
    out->total = di_walk_count(dataset, seed, count, &walk);
out:
    di_walk_free(dataset, &walk);
    return rc;
}

int32_t di_dataset_epochs(const di_dataset *dataset, uint64_t seed, double count, di_epochs *out, dk_error *err)
{
    if (dataset->mix.count) return count_epochs(dataset, seed, count, out, err);
    if (dataset->stream)
        return dk_fail(err, DK_E_OPTION,
                       "train.epochs does not go with a stream, whose length is not known: give train.steps");
    out->length = dataset->plan.windows;
    double total = ceil(count * (double)out->length * (1 - 1e-12)); /* 0.1 of 30 windows are 3 */
    out->total = total < 1 ? 1 : (int64_t)total;
    return DK_OK;
}

/* ---- what is seen ---- */

static void forecast(const di_dataset *dataset, int64_t windows, int64_t source, dk_strbuf *text)
{
    const di_mix *mix = &dataset->mix;
    double rate = 0, share = di_mix_share(mix, source);
    for (int64_t s = 0; s < mix->count; s++)
        rate +=
            di_mix_share(mix, s) * (double)mix->sources[s]->plan.windows / (double)mix->sources[s]->plan.counts.tokens;
    dk_strbuf_printf(text, "%s%s %.1f %% of the tokens, seen %.2f times", source ? "; " : "",
                     di_dataset_name(mix->sources[source]), 100 * share,
                     (double)windows / rate * share / (double)mix->sources[source]->plan.counts.tokens);
}

void di_dataset_tell_mix(const di_dataset *dataset, int64_t windows)
{
    dk_strbuf text;
    if (!dataset->mix.count) return;
    dk_strbuf_init(&text, dataset->host);
    for (int64_t s = 0; s < dataset->mix.count; s++) forecast(dataset, windows, s, &text);
    dk_log(dataset->host, DK_LOG_INFO, "dataset", "in %lld windows: %s", (long long)windows,
           text.data ? text.data : "");
    dk_strbuf_free(&text);
}
