/* classifier_data.c - the texts of a training: from files or from the host, with the classes that they name, parted
 * into what is learnt and what is held out. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "classifier/classifier_parts.h"

static int32_t count_paths(const di_options *options, const char *list)
{
    return (int32_t)di_options_list_size(options, list);
}

static int32_t open_paths(dk_host *host, const di_options *options, const char *list, di_source_text *out,
                          int64_t *opened, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < count_paths(options, list) && rc == DK_OK; i++) {
        const char *path = di_options_at_text(options, list, i, "path");
        if (!path) return dk_fail(err, DK_E_OPTION, "%s.%lld.path is not set", list, (long long)i);
        rc = di_source_open(host, path, &out[*opened], err);
        *opened += rc == DK_OK;
    }
    return rc;
}

static int32_t open_sources(const di_classifier_args *args, di_fit_texts *t, dk_error *err)
{
    dk_host *host = args->backend->host;
    const int64_t train = args->lines ? 1 : count_paths(args->options, "data.train"),
                  eval = count_paths(args->options, "data.eval");
    int32_t rc;
    if (!train) return dk_fail(err, DK_E_OPTION, "data.train is not set: a file of texts with probabilities");
    DK_TRY(dk_new(host, train + eval, &t->sources, err));
    if (args->lines) {
        t->sources[0] =
            (di_source_text){.name = "samples", .lines = (dk_slice *)(uintptr_t)args->lines, .count = args->count};
        t->source_count = 1;
    } else DK_TRY(open_paths(host, args->options, "data.train", t->sources, &t->source_count, err));
    DK_TRY(open_paths(host, args->options, "data.eval", t->sources + t->source_count, &t->eval_count, err));
out:
    return rc;
}

static int32_t take_names(const di_classifier_args *args, di_fit_texts *t, dk_error *err)
{
    dk_host *host = args->backend->host;
    const int64_t count = di_options_list_size(args->options, "classifier.classes");
    const char **names = NULL;
    int32_t rc;
    if (!count) return di_class_names_gather(host, t->sources, t->source_count, &t->names, err);
    DK_TRY(dk_new(host, count, &names, err));
    for (int64_t i = 0; i < count; i++) names[i] = di_options_list_text(args->options, "classifier.classes", i);
    DK_TRY(di_class_names_take(host, names, count, &t->names, err));
out:
    dk_free(host, names);
    return rc;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

/* Held-out texts that training has, too, say nothing of new ones. */
static int32_t leave_seen_out(dk_host *host, di_fit_texts *t, dk_error *err)
{
    uint64_t *hashes = NULL;
    int64_t kept = 0;
    const int32_t rc = dk_new(host, t->train_count + 1, &hashes, err);
    if (rc) return rc;
    for (int64_t i = 0; i < t->train_count; i++)
        hashes[i] = dk_hash64(t->all.texts[t->train[i]], t->all.sizes[t->train[i]]);
    qsort(hashes, (size_t)t->train_count, sizeof *hashes, by_value);
    for (int64_t i = 0; i < t->held_out_count; i++) {
        const uint64_t hash = dk_hash64(t->all.texts[t->held_out[i]], t->all.sizes[t->held_out[i]]);
        if (bsearch(&hash, hashes, (size_t)t->train_count, sizeof hash, by_value)) t->seen++;
        else t->held_out[kept++] = t->held_out[i];
    }
    t->held_out_count = kept;
    dk_free(host, hashes);
    return DK_OK;
}

static int32_t part(const di_classifier_args *args, di_fit_texts *t, dk_error *err)
{
    dk_host *host = args->backend->host;
    const double fraction = t->eval_count ? 0 : di_options_f64(args->options, "data.eval_fraction");
    int64_t all = 0;
    int32_t rc;
    for (int64_t s = 0; s < t->source_count + t->eval_count; s++) all += t->sources[s].count;
    DK_TRY(dk_new(host, all + 1, &t->train, err));
    DK_TRY(dk_new(host, all + 1, &t->held_out, err));
    for (int64_t s = 0, at = 0; s < t->source_count + t->eval_count; s++) {
        const int64_t count = t->sources[s].count, kept = count - (int64_t)((double)count * fraction);
        DK_TRY(di_labelled_add(&t->all, &t->sources[s], err));
        for (int64_t i = 0; i < count; i++, at++) {
            if (s >= t->source_count || i >= kept) t->held_out[t->held_out_count++] = at;
            else t->train[t->train_count++] = at;
        }
    }
    if (!t->train_count) DK_TRY(dk_fail(err, DK_E_INVALID, "there is no text to learn from"));
    DK_TRY(leave_seen_out(host, t, err));
out:
    return rc;
}

int32_t di_fit_texts_open(const di_classifier_args *args, di_fit_texts *out, dk_error *err)
{
    dk_host *host = args->backend->host;
    int32_t rc;
    *out = (di_fit_texts){.sources = NULL};
    DK_TRY(open_sources(args, out, err));
    DK_TRY(take_names(args, out, err));
    di_labelled_init(&out->all, host, &out->names);
    if (out->names.count < 2)
        DK_TRY(dk_fail(err, DK_E_INVALID, "the texts name %lld class%s: a classifier has at least 2%s",
                       (long long)out->names.count, out->names.count == 1 ? "" : "es",
                       out->names.count ? "" : "; each needs probabilities or a label"));
    DK_TRY(part(args, out, err));
out:
    if (rc) di_fit_texts_free(host, out);
    return rc;
}

void di_fit_texts_free(dk_host *host, di_fit_texts *t)
{
    for (int64_t i = 0; i < t->source_count + t->eval_count; i++) di_source_free(host, &t->sources[i]);
    dk_free(host, t->sources);
    di_labelled_free(&t->all);
    di_class_names_free(&t->names);
    dk_free(host, t->train);
    dk_free(host, t->held_out);
    *t = (di_fit_texts){.sources = NULL};
}
