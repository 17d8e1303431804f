/* dataset.c - the handle: references, names, sources. */
#include "dataset/dataset_parts.h"

int32_t di_dataset_create(di_store *store, const di_rules *rules, const di_range *range, di_dataset **out,
                          dk_error *err)
{
    di_dataset *dataset = NULL;
    int32_t rc = dk_new(store->host, 1, &dataset, err);
    if (rc != DK_OK) {
        di_store_release(store);
        return rc;
    }
    atomic_init(&dataset->references, 1);
    atomic_init(&dataset->text_bytes, DI_UNCOUNTED);
    dataset->host = dk_host_retain(store->host);
    dataset->store = store;
    dataset->rules = *rules;
    dataset->range = range ? *range : (di_range){0, store->document_count, 0, store->token_count};
    if (store->callbacks.get && store->callbacks.count < 0) {
        *out = dataset;
        return DK_OK;
    }
    DK_TRY(di_plan_make(store, &dataset->range, rules, &dataset->plan, err));
    *out = dataset;
    return DK_OK;
out:
    di_dataset_release(dataset);
    return rc;
}

di_dataset *di_dataset_retain(di_dataset *dataset)
{
    atomic_fetch_add_explicit(&dataset->references, 1, memory_order_relaxed);
    return dataset;
}

static void free_mix(dk_host *host, di_mix *mix)
{
    for (int64_t s = 0; s < mix->count; s++) di_dataset_release(mix->sources[s]);
    dk_free(host, mix->sources);
    dk_free(host, mix->weights);
}

void di_dataset_release(di_dataset *dataset)
{
    if (!dataset || atomic_fetch_sub_explicit(&dataset->references, 1, memory_order_acq_rel) > 1) return;
    dk_host *host = dataset->host;
    di_sample_stream_free(dataset->stream);
    free_mix(host, &dataset->mix);
    dk_free(host, dataset->name);
    di_plan_free(host, &dataset->plan);
    di_store_release(dataset->store);
    dk_free(host, dataset);
    dk_host_release(host);
}

/* ---- what it is made of ---- */

const char *di_dataset_name(const di_dataset *dataset) { return dataset->name ? dataset->name : dataset->store->name; }

int64_t di_dataset_sources(const di_dataset *dataset) { return dataset->mix.count ? dataset->mix.count : 1; }

const di_dataset *di_dataset_source(const di_dataset *dataset, int64_t source)
{
    return dataset->mix.count ? dataset->mix.sources[source] : dataset;
}

const char *di_dataset_chat_template(const di_dataset *dataset)
{
    for (int64_t s = 0; s < di_dataset_sources(dataset); s++) {
        const di_store *store = di_dataset_source(dataset, s)->store;
        if (store->chat_template) return store->chat_template;
    }
    return NULL;
}

double di_mix_share(const di_mix *mix, int64_t source)
{
    double sum = 0;
    for (int64_t s = 0; s < mix->count; s++) sum += mix->weights[s];
    return mix->count ? mix->weights[source] / sum : 1;
}
