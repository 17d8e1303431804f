/* dataset_split.c - a dataset as its beginning and its end. */
#include <string.h>

#include "dataset/dataset_parts.h"

/* A pair is not parted: it goes to the part that has its rejected side, or where that would be all, to the other. */
static int64_t beside_pair(const di_dataset *dataset, int64_t document)
{
    if (di_store_side(dataset->store, document) != DISTILL_REJECTED) return document;
    return document - 1 > dataset->range.begin ? document - 1 : document + 1;
}

static int32_t fail_one(const di_dataset *dataset, dk_error *err)
{
    return dk_fail(err, DK_E_INVALID,
                   "%s has one sample: none can be held out; give data.eval, or data.eval_fraction 0",
                   dataset->store->name);
}

/* Where the held-out part begins: whole documents where a document is less than the part, else inside the text. */
static int32_t find_cut(const di_dataset *dataset, double fraction, di_range *train, di_range *held_out, dk_error *err)
{
    const di_store *store = dataset->store;
    const di_range all = dataset->range;
    int64_t documents = all.end - all.begin, last = (int64_t)(fraction * (double)documents + 0.5), cut;
    *train = *held_out = all;
    if (fraction * (double)documents >= 1 && last < documents) {
        train->end = held_out->begin = beside_pair(dataset, all.end - last);
        if (train->end == all.end) return fail_one(dataset, err);
        train->last_token = held_out->first_token = di_store_begin(store, train->end);
        return DK_OK;
    }
    cut = all.last_token - (int64_t)(fraction * (double)(all.last_token - all.first_token) + 0.5);
    int64_t d = all.begin;
    while (d + 1 < all.end && (int64_t)store->documents[d].end <= cut) d++;
    if (!(store->documents[d].origin & DI_DOCUMENT_TEXT)) {
        if (documents < 2) return fail_one(dataset, err);
        train->end = held_out->begin = beside_pair(dataset, all.end - 1);
        if (train->end == all.end) return fail_one(dataset, err);
        cut = di_store_begin(store, train->end);
    }
    train->last_token = held_out->first_token = cut;
    return DK_OK;
}

static int32_t take_name(di_dataset *part, const di_dataset *whole, dk_error *err)
{
    if (!whole->name || (part->name = dk_strdup(part->host, whole->name))) return DK_OK;
    return dk_fail_nomem(err, strlen(whole->name));
}

static void release_all(di_dataset **sources, int64_t count)
{
    for (int64_t s = 0; s < count; s++) di_dataset_release(sources[s]);
}

/* The end of each source. */
static int32_t split_mix(di_dataset *dataset, double fraction, di_dataset **train, di_dataset **held_out, dk_error *err)
{
    const di_mix *mix = &dataset->mix;
    di_dataset **halves = NULL, *first = NULL;
    int64_t done = 0;
    int32_t rc;
    DK_TRY(dk_new(dataset->host, 2 * mix->count, &halves, err));
    for (; done < mix->count; done++)
        DK_TRY(di_dataset_split(mix->sources[done], fraction, &halves[done], &halves[mix->count + done], err));
    DK_TRY(di_dataset_mix(dataset->host, halves, mix->count, mix->by_size ? NULL : mix->weights, &first, err));
    DK_TRY(di_dataset_mix(dataset->host, halves + mix->count, mix->count, NULL, held_out, err));
    *train = first;
    first = NULL;
out:
    if (halves) release_all(halves, done), release_all(halves + mix->count, done);
    dk_free(dataset->host, halves);
    di_dataset_release(first);
    return rc;
}

int32_t di_dataset_split(di_dataset *dataset, double fraction, di_dataset **train, di_dataset **held_out, dk_error *err)
{
    di_dataset *parts[2] = {NULL, NULL};
    di_range ranges[2];
    int32_t rc;
    if (dataset->mix.count) return split_mix(dataset, fraction, train, held_out, err);
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
