#include <math.h>
#include <string.h>

#include "classifier/classifier_parts.h"
#include "evaluate/calibration.h"
#include "evaluate/rate.h"
#include "meter/meter.h"

static const double risk = 0.05; /* of intervals, half of it on either side */

typedef struct judging {
    const di_classifier *classifier;
    const di_labelled *texts;
    const int64_t *indices;
    float *logits; /* [count, classes] */
    dk_error *errors;
    _Atomic int32_t failed;
    _Atomic int64_t inputs; /* of its texts together */
} judging;

/* Ranges of texts are cut by their number alone, and each has memory of its own. */
static void logits_of_some(void *context, int64_t begin, int64_t end)
{
    judging *j = context;
    const di_classifier *c = j->classifier;
    di_inputs inputs;
    float *hidden = NULL;
    int32_t rc;
    di_inputs_init(&inputs, c->host);
    DK_TRY(dk_new(c->host, c->hidden + 1, &hidden, &j->errors[begin]));
    for (int64_t i = begin; i < end; i++) {
        const int64_t at = j->indices[i];
        DK_TRY(di_classifier_inputs(c, j->texts->texts[at], j->texts->sizes[at], &inputs, NULL, &j->errors[i]));
        di_classifier_logits(c, &inputs, hidden, j->logits + i * c->classes);
        j->inputs += inputs.count;
    }
out:
    if (rc) j->failed = 1;
    dk_free(c->host, hidden);
    di_inputs_free(&inputs);
}

static int32_t logits_of(judging *j, int64_t count, dk_error *err)
{
    dk_host *host = j->classifier->host;
    int32_t rc;
    DK_TRY(dk_new(host, count + 1, &j->errors, err));
    for (int64_t first = 0; first < count; first += 1024) {
        judging part = *j;
        const int64_t some = count - first < 1024 ? count - first : 1024;
        part.indices += first;
        part.logits += first * j->classifier->classes;
        part.errors += first;
        DK_TRY(dk_host_cancelled(host)
                   ? dk_fail(err, DK_E_CANCELLED, "cancelled at text %lld of %lld", (long long)first, (long long)count)
                   : DK_OK);
        dk_parallel_for(host, some, 16, logits_of_some, &part);
        DK_TRY(dk_parallel_check(host, err));
        dk_host_add_work(host, 0, di_classifier_flops(j->classifier, some, part.inputs));
        for (int64_t i = 0; part.failed && i < some; i++)
            if (part.errors[i].code) {
                if (err) *err = part.errors[i];
                rc = part.errors[i].code;
                goto out;
            }
    }
out:
    dk_free(host, j->errors);
    return rc;
}

/* -sum p log q of one text */
static double cross_entropy(const float *logits, const float *log_p, int64_t classes, double temperature,
                            double *entropy)
{
    double peak = -INFINITY, sum = 0, value = 0;
    for (int64_t j = 0; j < classes; j++)
        if ((double)logits[j] > peak) peak = (double)logits[j];
    for (int64_t j = 0; j < classes; j++) sum += exp(((double)logits[j] - peak) / temperature);
    *entropy = 0;
    for (int64_t j = 0; j < classes; j++) {
        if (!(log_p[j] > -INFINITY)) continue;
        const double p = exp((double)log_p[j]);
        value -= p * (((double)logits[j] - peak) / temperature - log(sum));
        *entropy -= p * (double)log_p[j];
    }
    return value;
}

static int32_t add_up(const di_classifier *c, const judging *j, int64_t count, di_judged *judged, di_measured *out,
                      dk_error *err)
{
    float *shares = NULL, *log_p = NULL;
    int32_t rc;
    DK_TRY(dk_new(c->host, c->classes, &shares, err));
    DK_TRY(dk_new(c->host, c->classes, &log_p, err));
    di_calibration calibration = {{0}, {0}, {0}};
    *out = (di_measured){.texts = count};
    for (int64_t i = 0; i < count; i++) {
        const int64_t at = j->indices[i];
        const float *logits = j->logits + i * c->classes;
        const di_verdict verdict = di_classifier_judge(c, logits, shares);
        double entropy;
        if (!isfinite(verdict.confidence))
            DK_TRY(dk_fail(err, DK_E_NUMERIC, "the logits of held-out text %lld are not finite", (long long)i));
        judged[i] = (di_judged){verdict.confidence, verdict.answer == j->texts->answers[at]};
        di_labelled_log_p(j->texts, at, log_p);
        const double value = cross_entropy(logits, log_p, c->classes, c->temperature, &entropy);
        out->cross_entropy += value / (double)count;
        out->forward_kl += (value - entropy) / (double)count;
        di_calibration_count(&calibration, verdict.confidence, judged[i].agrees);
        out->agreeing += judged[i].agrees;
        out->correct += verdict.answer == j->texts->labels[at];
    }
    double accuracy;
    out->calibration = count ? di_expected_calibration_error(&calibration, &accuracy) : 0;
out:
    dk_free(c->host, shares);
    dk_free(c->host, log_p);
    return rc;
}

int32_t di_classifier_judge_texts(const di_classifier *c, const di_labelled *texts, const int64_t *indices,
                                  int64_t count, float *logits, di_judged *judged, di_measured *out, dk_error *err)
{
    judging j = {.classifier = c, .texts = texts, .indices = indices, .logits = logits};
    int32_t rc;
    if (!logits) DK_TRY(dk_new(c->host, count * c->classes + 1, &j.logits, err));
    DK_TRY(logits_of(&j, count, err));
    DK_TRY(add_up(c, &j, count, judged, out, err));
out:
    if (!logits) dk_free(c->host, j.logits);
    return rc;
}

static void number(dk_strbuf *out, const char *name, double value)
{
    dk_strbuf_printf(out, ",\"%s\":", name);
    dk_strbuf_f64(out, value);
}

void di_measured_json(const di_measured *m, dk_strbuf *out)
{
    dk_strbuf_printf(out, "{\"texts\":%lld", (long long)m->texts);
    number(out, "agreement", m->texts ? (double)m->agreeing / (double)m->texts : 0);
    dk_strbuf_puts(out, ",\"agreement_interval\":[");
    dk_strbuf_f64(out, di_rate_least(m->agreeing, m->texts, risk / 2));
    dk_strbuf_puts(out, ",");
    dk_strbuf_f64(out, di_rate_most(m->agreeing, m->texts, risk / 2));
    dk_strbuf_puts(out, "]");
    number(out, "label_accuracy", m->texts ? (double)m->correct / (double)m->texts : 0);
    number(out, "cross_entropy", m->cross_entropy);
    number(out, "forward_kl", m->forward_kl);
    number(out, "calibration_error", m->calibration);
    dk_strbuf_puts(out, "}");
}

static double mean_cross_entropy(const di_classifier *c, const judging *j, int64_t count, double temperature,
                                 float *log_p)
{
    double sum = 0, entropy;
    for (int64_t i = 0; i < count; i++) {
        di_labelled_log_p(j->texts, j->indices[i], log_p);
        sum += cross_entropy(j->logits + i * c->classes, log_p, c->classes, temperature, &entropy);
    }
    return sum / (double)count;
}

/* Golden section over log T: the cross-entropy is convex in 1 / T. */
int32_t di_classifier_fit_temperature(di_classifier *c, const di_labelled *texts, const int64_t *indices, int64_t count,
                                      float *logits, dk_error *err)
{
    const judging j = {.texts = texts, .indices = indices, .logits = logits};
    const double golden = 0.61803398874989485;
    double low = log(0.05), high = log(20.0);
    float *log_p = NULL;
    const int32_t rc = dk_new(c->host, c->classes, &log_p, err);
    for (int step = 0; rc == DK_OK && step < 50; step++) {
        const double left = high - golden * (high - low), right = low + golden * (high - low);
        if (mean_cross_entropy(c, &j, count, exp(left), log_p) < mean_cross_entropy(c, &j, count, exp(right), log_p))
            high = right;
        else low = left;
    }
    if (rc == DK_OK) c->temperature = exp((low + high) / 2);
    dk_free(c->host, log_p);
    return rc;
}

static int32_t measure(const di_classifier *c, const di_labelled *texts, dk_strbuf *json, dk_error *err)
{
    di_judged *judged = NULL;
    int64_t *indices = NULL, sure = 0, wrong = 0;
    di_measured m;
    int32_t rc;
    DK_TRY(dk_new(c->host, texts->count, &judged, err));
    DK_TRY(dk_new(c->host, texts->count, &indices, err));
    for (int64_t i = 0; i < texts->count; i++) indices[i] = i;
    DK_TRY(di_classifier_judge_texts(c, texts, indices, texts->count, NULL, judged, &m, err));
    for (int64_t i = 0; i < texts->count; i++) {
        const int32_t is_sure = judged[i].confidence >= c->promise.threshold;
        sure += is_sure;
        wrong += is_sure && !judged[i].agrees;
    }
    dk_strbuf_puts(json, "{\"measured\":");
    di_measured_json(&m, json);
    dk_strbuf_printf(json, ",\"cascade\":{\"answered\":%lld,\"wrong\":%lld", (long long)sure, (long long)wrong);
    number(json, "coverage", (double)sure / (double)m.texts);
    number(json, "agreement", 1 - (double)wrong / (double)m.texts);
    number(json, "agreement_least", 1 - di_rate_most(wrong, m.texts, risk));
    dk_strbuf_puts(json, "},\"promise\":");
    if (c->promise.agreement > 0) di_promise_json(&c->promise, json);
    else dk_strbuf_puts(json, "null");
    dk_strbuf_puts(json, ",\"unused_keys\":");
    di_labelled_unused_json(texts, json);
    DK_TRY(dk_strbuf_check(json, err));
out:
    dk_free(c->host, judged);
    dk_free(c->host, indices);
    return rc;
}

int32_t di_classifier_measure(const di_classifier *c, const char *path, dk_strbuf *json, dk_error *err)
{
    di_source_text source = {0};
    di_class_names names = {0};
    di_labelled texts = {0};
    di_meter meter = {0};
    int32_t rc;
    DK_TRY(di_meter_start(c->host, NULL, 0, &meter, err));
    DK_TRY(di_class_names_take(c->host, (const char *const *)c->names, c->classes, &names, err));
    di_labelled_init(&texts, c->host, &names);
    DK_TRY(di_source_open(c->host, path, &source, err));
    DK_TRY(di_labelled_add(&texts, &source, err));
    DK_TRY(measure(c, &texts, json, err));
    const di_cost cost = di_meter_read(&meter);
    dk_strbuf_puts(json, ",\"cost\":");
    di_cost_json(&meter, &cost, json);
    dk_strbuf_puts(json, "}");
    rc = dk_strbuf_check(json, err);
out:
    di_meter_end(&meter);
    di_labelled_free(&texts);
    di_class_names_free(&names);
    di_source_free(c->host, &source);
    return rc;
}
