/* evaluation_json.c - what an evaluation found, as JSON: of the whole data, and of each of several sources. */
#include <math.h>
#include <string.h>

#include "evaluate/evaluate.h"

static void member(dk_strbuf *out, const char *name, double value)
{
    dk_strbuf_printf(out, ",\"%s\":", name);
    if (isfinite(value)) dk_strbuf_f64(out, value);
    else dk_strbuf_puts(out, "null");
}

static double bits_per_byte(double nats, const di_evaluation *e)
{
    return nats * (double)e->tokens / log(2.0) / (double)e->text_bytes;
}

static void calibration(const di_calibration *c, const char *error, const char *right, dk_strbuf *out)
{
    double accuracy;
    const double apart = di_expected_calibration_error(c, &accuracy);
    if (apart < 0) return; /* not counted: of a source among several */
    member(out, error, apart);
    member(out, right, accuracy);
}

static void quality(const di_evaluation *e, dk_strbuf *out)
{
    dk_strbuf_printf(out, "{\"tokens\":%lld", (long long)e->tokens);
    member(out, "perplexity", exp(e->nats));
    member(out, "nats", e->nats);
    if (e->text_bytes > 0) member(out, "bits_per_byte", bits_per_byte(e->nats, e));
    calibration(&e->calibration, "calibration_error", "accuracy", out);
    calibration(&e->teacher_calibration, "teacher_calibration_error", "teacher_accuracy", out);
    if (e->has_teacher) {
        dk_strbuf_printf(out, ",\"teacher_target\":\"%s\"", di_kind_name(e->teacher_kind));
        if (e->without_entropy) member(out, "soft_cross_entropy_temperature", e->temperature);
        else if (e->teacher_kind != DISTILL_DENSE) member(out, "forward_kl_temperature", e->temperature);
        if (e->floored) member(out, "floored", (double)e->floored);
        if (e->common.rows) member(out, "common_mass", e->common.mass / (double)e->common.rows);
    }
    if (e->has_teacher && e->teacher_kind == DISTILL_DENSE) {
        member(out, "teacher_perplexity", exp(e->teacher_nats));
        member(out, "teacher_nats", e->teacher_nats);
        if (e->text_bytes > 0) member(out, "teacher_bits_per_byte", bits_per_byte(e->teacher_nats, e));
    }
    if (e->has_teacher && e->teacher_kind == DISTILL_SAMPLED) {
        member(out, e->without_entropy ? "soft_cross_entropy" : "forward_kl", e->kl_mean);
    } else if (e->has_teacher) {
        member(out, "forward_kl", e->kl_mean);
        member(out, "forward_kl_median", e->kl_median);
        member(out, "forward_kl_p99", e->kl_p99);
        member(out, "top1_agreement", e->top1_agreement);
        member(out, "expected_acceptance", e->acceptance);
    }
}

/* One source, as if it were the whole. */
static di_evaluation of_source(const di_evaluation *e, const di_source_scores *source)
{
    return (di_evaluation){.tokens = source->tokens,
                           .text_bytes = source->text_bytes,
                           .floored = source->floored,
                           .nats = source->nats,
                           .teacher_nats = source->teacher_nats,
                           .kl_mean = source->kl_mean,
                           .kl_median = source->kl_median,
                           .kl_p99 = source->kl_p99,
                           .top1_agreement = source->top1_agreement,
                           .acceptance = source->acceptance,
                           .has_teacher = e->has_teacher,
                           .teacher_kind = e->teacher_kind,
                           .without_entropy = e->without_entropy,
                           .temperature = e->temperature};
}

void di_evaluation_sources_json(const di_evaluation *e, dk_strbuf *out)
{
    if (!e->source_count) return;
    dk_strbuf_puts(out, ",\"sources\":{");
    for (int64_t s = 0; s < e->source_count; s++) {
        const di_evaluation source = of_source(e, &e->sources[s]);
        if (s) dk_strbuf_puts(out, ",");
        dk_strbuf_json(out, e->sources[s].name, strlen(e->sources[s].name));
        dk_strbuf_puts(out, ":");
        quality(&source, out);
        dk_strbuf_puts(out, "}");
    }
    dk_strbuf_puts(out, "}");
}

void di_evaluation_precision_json(const di_evaluation *e, dk_strbuf *out)
{
    dk_strbuf_printf(out, ",\"precision\":\"%s\"", e->precision == DK_PRECISION_BF16 ? "bf16" : "fp32");
}

void di_evaluation_json(const di_evaluation *e, const dk_strbuf *teachers, dk_strbuf *out)
{
    quality(e, out);
    di_pair_tally_json(&e->pairs, out);
    di_evaluation_precision_json(e, out);
    member(out, "seconds", e->seconds);
    di_evaluation_sources_json(e, out);
    if (teachers && teachers->size) dk_strbuf_append(out, teachers->data, teachers->size);
    dk_strbuf_puts(out, "}");
}
