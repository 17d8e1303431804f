#include "dataset/dataset.h"

#include <string.h>

#include "dataset/dataset_parts.h"
#include "dataset/read_memory.h"

/* ---- handles ---- */

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

void di_dataset_release(di_dataset *dataset)
{
    if (!dataset || atomic_fetch_sub_explicit(&dataset->references, 1, memory_order_acq_rel) > 1) return;
    dk_host *host = dataset->host;
    di_sample_stream_free(dataset->stream);
    di_mix_free(host, &dataset->mix);
    dk_free(host, dataset->name);
    di_plan_free(host, &dataset->plan);
    di_store_release(dataset->store);
    dk_free(host, dataset);
    dk_host_release(host);
}

/* ---- memory and callbacks ---- */

int32_t di_dataset_from_tokens(dk_host *host, const distill_batch *tokens, const di_options *options, di_dataset **out,
                               dk_error *err)
{
    di_builder builder = {0};
    di_store *store;
    di_rules rules;
    int32_t rc;
    di_rules_read(&rules, options);
    DK_TRY(di_builder_init(&builder, host, "tokens", NULL, DI_MEMORY_LIMIT, err));
    DK_TRY(di_read_batch(tokens, &builder, host, err));
    DK_TRY(di_builder_finish(&builder, &store, err));
    DK_TRY(di_dataset_create(store, &rules, NULL, out, err));
    di_dataset_tell(*out);
out:
    di_builder_free(&builder);
    return rc;
}

static int32_t check_table(const distill_dataset_callbacks *table, dk_error *err)
{
    if (!table->get) return dk_fail(err, DK_E_INVALID, "table: get is NULL");
    if (table->count < -1)
        return dk_fail(err, DK_E_INVALID, "table: count %lld is neither a number of samples nor -1 for a stream",
                       (long long)table->count);
    return DK_OK;
}

int32_t di_dataset_from_callbacks(dk_host *host, const distill_dataset_callbacks *table, dk_tokenizer *tokenizer,
                                  const di_options *options, di_dataset **out, dk_error *err)
{
    di_builder builder = {0};
    di_dataset *dataset = NULL;
    di_store *store = NULL;
    di_encoder encoder;
    di_rules rules;
    int32_t rc, owned = 0;
    di_rules_read(&rules, options);
    di_encoder_init(&encoder, host, tokenizer, options);
    DK_TRY(check_table(table, err));
    DK_TRY(di_builder_init(&builder, host, "the host's samples", tokenizer, DI_MEMORY_LIMIT, err));
    builder.store->callbacks = *table;
    owned = 1; /* from here on the store calls destroy */
    if (table->count >= 0) DK_TRY(di_read_callbacks(&encoder, table, &builder, err));
    DK_TRY(di_builder_finish(&builder, &store, err));
    DK_TRY(di_dataset_create(store, &rules, NULL, &dataset, err));
    if (table->count < 0) DK_TRY(di_sample_stream_create(&encoder, table, &rules, &dataset->stream, err));
    di_dataset_tell(dataset);
    *out = dataset;
    dataset = NULL;
out:
    di_builder_free(&builder);
    di_dataset_release(dataset);
    if (!owned && table->destroy) table->destroy(table->user);
    return rc;
}

/* ---- splitting ---- */

/* Where the held-out part begins: whole documents where a document is less than the part, else inside the text. */
static int32_t find_cut(const di_dataset *dataset, double fraction, di_range *train, di_range *held_out, dk_error *err)
{
    const di_store *store = dataset->store;
    const di_range all = dataset->range;
    int64_t documents = all.end - all.begin, last = (int64_t)(fraction * (double)documents + 0.5), cut;
    *train = *held_out = all;
    if (fraction * (double)documents >= 1 && last < documents) {
        train->end = held_out->begin = all.end - last;
        train->last_token = held_out->first_token = di_store_begin(store, train->end);
        return DK_OK;
    }
    cut = all.last_token - (int64_t)(fraction * (double)(all.last_token - all.first_token) + 0.5);
    int64_t d = all.begin;
    while (d + 1 < all.end && (int64_t)store->documents[d].end <= cut) d++;
    if (!(store->documents[d].origin & DI_DOCUMENT_TEXT)) {
        if (documents < 2)
            return dk_fail(err, DK_E_INVALID,
                           "%s has one sample: none can be held out; give data.eval, or data.eval_fraction 0",
                           store->name);
        train->end = held_out->begin = all.end - 1;
        cut = di_store_begin(store, all.end - 1);
    }
    train->last_token = held_out->first_token = cut;
    return DK_OK;
}

static int32_t take_name(di_dataset *part, const di_dataset *whole, dk_error *err)
{
    if (!whole->name || (part->name = dk_strdup(part->host, whole->name))) return DK_OK;
    return dk_fail_nomem(err, strlen(whole->name));
}

int32_t di_dataset_split(di_dataset *dataset, double fraction, di_dataset **train, di_dataset **held_out, dk_error *err)
{
    di_dataset *parts[2] = {NULL, NULL};
    di_range ranges[2];
    int32_t rc;
    if (dataset->mix.count) return di_mix_split(dataset, fraction, train, held_out, err);
    if (dataset->stream)
        return dk_fail(err, DK_E_UNSUPPORTED, "a stream cannot be split: give data.eval, or data.eval_fraction 0");
    if (!(fraction > 0 && fraction < 1))
        return dk_fail(err, DK_E_INVALID, "the part to hold out must be between 0 and 1");
    DK_TRY(find_cut(dataset, fraction, &ranges[0], &ranges[1], err));
    for (int i = 0; i < 2; i++) {
        rc = di_dataset_create(di_store_retain(dataset->store), &dataset->rules, &ranges[i], &parts[i], err);
        if (rc == DK_OK) rc = take_name(parts[i], dataset, err);
        if (rc == DK_OK) continue;
        dk_error_context(err, i ? "the part of data.eval_fraction" : "the part beside data.eval_fraction");
        goto out;
    }
    *train = parts[0];
    *held_out = parts[1];
    return DK_OK;
out:
    for (int i = 0; i < 2; i++) di_dataset_release(parts[i]);
    return rc;
}
