#include "classifier/classifier.h"

#include <math.h>
#include <string.h>

#include "base/random.h"

static void free_names(di_classifier *c)
{
    for (int64_t i = 0; c->names && i < c->classes; i++) dk_free(c->host, c->names[i]);
    dk_free(c->host, c->names);
}

void di_classifier_free(di_classifier *c)
{
    if (!c) return;
    dk_host *host = c->host;
    free_names(c);
    di_embedding_free(c->embedding);
    dk_free(host, c->mean);
    dk_free(host, c->scale);
    dk_free(host, c->table);
    dk_free(host, c->bias);
    dk_free(host, c->head);
    dk_free(host, c->head_bias);
    dk_free(host, c->steps);
    dk_free(host, c->question.text);
    dk_strbuf_free(&c->held_out);
    dk_free(host, c);
}

static int32_t check_spec(const di_classifier_spec *spec, dk_error *err)
{
    if (spec->classes < 2)
        return dk_fail(err, DK_E_INVALID, "a classifier of %lld class%s has nothing to tell apart: at least 2",
                       (long long)spec->classes, spec->classes == 1 ? "" : "es");
    if (spec->classes > DI_CLASSES_MOST)
        return dk_fail(err, DK_E_INVALID, "a classifier of %lld classes: at most %d", (long long)spec->classes,
                       DI_CLASSES_MOST);
    if (!spec->embedding && !spec->ngrams.words && !spec->ngrams.characters_most)
        return dk_fail(err, DK_E_INVALID, "a classifier of n-grams of 0 words and 0 characters sees nothing");
    return DK_OK;
}

static int32_t make_weights(di_classifier *c, dk_error *err)
{
    int32_t rc;
    DK_TRY(dk_new(c->host, c->inputs * c->width, &c->table, err));
    DK_TRY(dk_new(c->host, c->width, &c->bias, err));
    if (c->embedding) DK_TRY(dk_new(c->host, c->inputs, &c->mean, err));
    if (c->embedding) DK_TRY(dk_new(c->host, c->inputs, &c->scale, err));
    for (int64_t i = 0; c->scale && i < c->inputs; i++) c->scale[i] = 1;
    if (!c->hidden) goto out;
    DK_TRY(dk_new(c->host, c->hidden * c->classes, &c->head, err));
    DK_TRY(dk_new(c->host, c->classes, &c->head_bias, err));
out:
    return rc;
}

static int32_t keep_names(di_classifier *c, const char *const *names, dk_error *err)
{
    int32_t rc = dk_new(c->host, c->classes, &c->names, err);
    for (int64_t i = 0; rc == DK_OK && i < c->classes; i++)
        if (!(c->names[i] = dk_strdup(c->host, names[i]))) rc = dk_fail_nomem(err, strlen(names[i]));
    return rc;
}

int32_t di_classifier_create(dk_backend *backend, const di_classifier_spec *spec, di_classifier **out, dk_error *err)
{
    di_classifier *c = NULL;
    int32_t rc = check_spec(spec, err);
    if (rc == DK_OK) rc = dk_new(backend->host, 1, &c, err);
    if (rc != DK_OK) {
        di_embedding_free(spec->embedding);
        return rc;
    }
    c->host = backend->host;
    c->backend = backend;
    c->embedding = spec->embedding;
    c->embed = spec->embed;
    c->ngrams = spec->ngrams;
    c->inputs = spec->embedding ? di_embedding_width(spec->embedding) : (int64_t)1 << spec->ngrams.bits;
    c->hidden = spec->hidden;
    c->classes = spec->classes;
    c->width = c->hidden ? c->hidden : c->classes;
    c->store = spec->store;
    c->temperature = 1;
    c->promise.threshold = 2;
    dk_strbuf_init(&c->held_out, c->host);
    if (c->embedding) DK_TRY(di_embedding_hash(c->embedding, c->model_hash, err));
    DK_TRY(keep_names(c, spec->names, err));
    DK_TRY(make_weights(c, err));
    for (int64_t i = 0; c->head && i < c->hidden * c->classes; i++)
        c->head[i] = (float)(dk_random_normal(spec->seed, DK_STREAM_INIT, (uint64_t)i) / sqrt((double)c->hidden));
out:
    if (rc) di_classifier_free(c);
    else *out = c;
    return rc;
}

/* ---- forward ---- */

static int32_t embed(const di_classifier *c, const char *text, size_t size, di_inputs *out, int64_t *tokens,
                     dk_error *err)
{
    int32_t rc;
    out->count = 0;
    DK_TRY(di_inputs_room(out, c->inputs, err));
    DK_TRY(di_embedding_of(c->embedding, text, size, out->values, tokens, err));
    if (!*tokens) goto out;
    out->count = c->inputs;
    for (int64_t i = 0; i < c->inputs; i++) {
        out->ids[i] = (int32_t)i;
        out->values[i] = (out->values[i] - c->mean[i]) * c->scale[i];
    }
out:
    return rc;
}

int32_t di_classifier_inputs(const di_classifier *c, const char *text, size_t size, di_inputs *out, int64_t *tokens,
                             dk_error *err)
{
    int64_t none = 0;
    if (c->embedding) return embed(c, text, size, out, tokens ? tokens : &none, err);
    return di_ngrams_of(&c->ngrams, text, size, out, err);
}

/* y [width] += sum of values[i] * table[ids[i]] */
static void add_rows(const float *table, int64_t width, const di_inputs *x, float *y)
{
    for (int64_t i = 0; i < x->count; i++) {
        const float value = x->values[i], *row = table + (int64_t)x->ids[i] * width;
        for (int64_t j = 0; j < width; j++) y[j] += value * row[j];
    }
}

void di_classifier_logits(const di_classifier *c, const di_inputs *inputs, float *hidden, float *logits)
{
    float *first = c->hidden ? hidden : logits;
    memcpy(first, c->bias, sizeof *first * (size_t)c->width);
    add_rows(c->table, c->width, inputs, first);
    if (!c->hidden) return;
    memcpy(logits, c->head_bias, sizeof *logits * (size_t)c->classes);
    for (int64_t i = 0; i < c->hidden; i++) {
        const float value = hidden[i] = tanhf(hidden[i]), *row = c->head + i * c->classes;
        for (int64_t j = 0; j < c->classes; j++) logits[j] += value * row[j];
    }
}

double di_classifier_flops(const di_classifier *c, int64_t texts, int64_t inputs)
{
    return 2 * ((double)inputs * (double)c->width + (double)texts * (double)(c->hidden * c->classes));
}

di_verdict di_classifier_judge(const di_classifier *c, const float *logits, float *probabilities)
{
    di_verdict verdict = {.answer = 0};
    double sum = 0;
    for (int64_t j = 1; j < c->classes; j++)
        if (logits[j] > logits[verdict.answer]) verdict.answer = j;
    const double peak = (double)logits[verdict.answer];
    for (int64_t j = 0; j < c->classes; j++) {
        const double share = exp(((double)logits[j] - peak) / c->temperature);
        probabilities[j] = (float)share;
        sum += share;
    }
    for (int64_t j = 0; j < c->classes; j++) probabilities[j] = (float)((double)probabilities[j] / sum);
    verdict.confidence = 1 / sum;
    verdict.sure = verdict.confidence >= c->promise.threshold;
    return verdict;
}

int32_t di_classifier_predict(const di_classifier *c, const char *text, size_t size, float *probabilities,
                              di_verdict *out, dk_error *err)
{
    di_inputs inputs;
    float *hidden = NULL;
    int32_t rc;
    di_inputs_init(&inputs, c->host);
    if (c->hidden) DK_TRY(dk_new(c->host, c->hidden, &hidden, err));
    DK_TRY(di_classifier_inputs(c, text, size, &inputs, NULL, err));
    if (!inputs.count)
        DK_TRY(dk_fail(err, DK_E_INVALID, "a text of %llu bytes has no word or sign to classify",
                       (unsigned long long)size));
    di_classifier_logits(c, &inputs, hidden, probabilities);
    *out = di_classifier_judge(c, probabilities, probabilities);
    if (!isfinite(out->confidence)) rc = dk_fail(err, DK_E_NUMERIC, "the classifier's logits are not finite");
out:
    dk_free(c->host, hidden);
    di_inputs_free(&inputs);
    return rc;
}

/* ---- what it is ---- */

int64_t di_classifier_parameters(const di_classifier *c)
{
    return c->inputs * c->width + c->width + (c->hidden ? c->hidden * c->classes + c->classes : 0);
}

int64_t di_classifier_bytes(const di_classifier *c)
{
    const int64_t rest = c->width + (c->hidden ? c->hidden * c->classes + c->classes : 0) +
                         (c->embedding ? 2 * c->inputs : 0) + (c->store == DI_WEIGHT_INT8 ? c->width : 0);
    const int64_t each = c->store == DI_WEIGHT_F32 ? 4 : c->store == DI_WEIGHT_F16 ? 2 : 1;
    return c->inputs * c->width * each + rest * (int64_t)sizeof(float);
}

int32_t di_classifier_get_f64(const di_classifier *c, const char *key, double *out, dk_error *err)
{
    const di_promise *p = &c->promise;
    const struct {
        const char *key;
        double value;
    } facts[] = {{"classes", (double)c->classes},
                 {"inputs", (double)c->inputs},
                 {"hidden", (double)c->hidden},
                 {"parameters", (double)di_classifier_parameters(c)},
                 {"bytes", (double)di_classifier_bytes(c)},
                 {"temperature", c->temperature},
                 {"agreement", p->agreement},
                 {"threshold", p->threshold},
                 {"coverage", p->texts ? (double)p->answered / (double)p->texts : 0}};
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        if (!strcmp(facts[i].key, key)) {
            *out = facts[i].value;
            return DK_OK;
        }
    return dk_fail(err, DK_E_NOT_FOUND,
                   "a classifier knows nothing of \"%.60s\": classes, inputs, hidden, parameters, bytes, temperature, "
                   "agreement, threshold, coverage",
                   key);
}
