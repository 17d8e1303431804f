#include "teacher/blend_join.h"

#include <math.h>

#define SURE 1.125 /* below it a total is summed without the highest, whose 1 swallows the digits of the others */

typedef struct row { /* of a member: x = (z - top) / T of its logits z */
    const float *z;
    float top, inverse;
    double label;         /* x of the token that follows */
    double total, moment; /* sum of e^x, of x e^x */
} row;

int32_t di_blend_is_mixture(const di_blend_settings *how)
{
    return how->mode == DI_BLEND_LINEAR || how->mode == DI_BLEND_LOG_LINEAR;
}

int32_t di_blend_is_weighed(const di_blend_settings *how)
{
    return di_blend_is_mixture(how) && (how->weighting == DI_WEIGH_ENTROPY || how->weighting == DI_WEIGH_LABEL);
}

int32_t di_blend_goes_by_label(const di_blend_settings *how)
{
    return how->mode == DI_BLEND_MIN_CROSS_ENTROPY || (di_blend_is_mixture(how) && how->weighting == DI_WEIGH_LABEL);
}

static int32_t goes_by_entropy(const di_blend_settings *how)
{
    return how->mode == DI_BLEND_MIN_ENTROPY || (di_blend_is_mixture(how) && how->weighting == DI_WEIGH_ENTROPY);
}

/* 0 = no distribution: NaN, +inf, or nothing above -inf. */
static int32_t read_row(const di_joining *j, const di_joiner *from, int64_t r, const float *z, row *out)
{
    *out = (row){.z = z, .top = j->kernels->highest(z, j->blend->width), .inverse = (float)(1 / from->temperature)};
    if (!isfinite(out->top)) return 0;
    if (di_blend_goes_by_label(&j->blend->settings))
        out->label = ((double)z[j->labels[r]] - (double)out->top) / from->temperature;
    return 1;
}

static void take_sums(const di_joining *j, row *from)
{
    const di_blend_settings *how = &j->blend->settings;
    const int64_t n = j->blend->width;
    if (how->mode == DI_BLEND_STOCHASTIC || (how->mode == DI_BLEND_LOG_LINEAR && !di_blend_is_weighed(how))) return;
    from->total = j->kernels->sums(from->z, n, from->top, from->inverse, goes_by_entropy(how) ? &from->moment : NULL);
    if (from->total < SURE) from->total = 1 + j->kernels->rest(from->z, n, from->top, from->inverse);
}

/* out may be where the logits are. */
static void take_shares(const di_joining *j, row *from, float *out)
{
    from->total = j->kernels->shares(from->z, out, j->blend->width, from->top, from->inverse,
                                     goes_by_entropy(&j->blend->settings) ? &from->moment : NULL);
}

/* What decides between members at a row: the highest is taken; in mixtures, the logarithm of its weight. */
static double worth(const di_joining *j, const di_joiner *of, const row *from, int64_t r)
{
    const di_blend_settings *how = &j->blend->settings;
    const double log_total = log(from->total), entropy = log_total - from->moment / from->total;
    switch (how->mode) {
    case DI_BLEND_MAX_CONFIDENCE:
        return -log_total;
    case DI_BLEND_MIN_ENTROPY:
        return -entropy;
    case DI_BLEND_MIN_CROSS_ENTROPY:
        return from->label - log_total;
    case DI_BLEND_STOCHASTIC:
        return j->draws[r] >= of->below ? (double)of->index : -1;
    default:
        break;
    }
    if (how->weighting == DI_WEIGH_ENTROPY) return log(of->weight) - entropy / how->softness;
    if (how->weighting == DI_WEIGH_LABEL) return log(of->weight) + exp(from->label - log_total) / how->softness;
    return log(of->weight);
}

static void keep_worth(const di_joining *j, const di_joiner *of, int64_t r, double score)
{
    if (j->worths) j->worths[of->index * j->height + r] = score;
}

/* The row of the first member, where it stands. */
static void admit(const di_joining *j, const row *from, int64_t r, float *out)
{
    const di_blend_mode mode = j->blend->settings.mode;
    row first = *from;
    if (mode == DI_BLEND_LINEAR) take_shares(j, &first, out);
    else take_sums(j, &first);
    if (mode != DI_BLEND_LINEAR) j->kernels->scale(out, out, j->blend->width, first.top, first.inverse);
    j->best[r] = worth(j, &j->held, &first, r);
    j->mass[r] = 1;
    j->share[r] = 1 / first.total;
    keep_worth(j, &j->held, r, j->best[r]);
}

static void choose(const di_joining *j, row *from, int64_t r, float *out)
{
    take_sums(j, from);
    const double score = worth(j, &j->next, from, r);
    keep_worth(j, &j->next, r, score);
    if (!(score > j->best[r])) return; /* ties: by name */
    j->kernels->scale(from->z, out, j->blend->width, from->top, from->inverse);
    j->best[r] = score;
}

/* The weights of what stands in the strip and of the row that joins it: running sums need no second look at members. */
static void weigh(const di_joining *j, double score, int64_t r, double *keep, double *take)
{
    const double top = j->best[r] > score ? j->best[r] : score;
    const double kept = j->mass[r] * exp(j->best[r] - top), taken = exp(score - top), sum = kept + taken;
    *keep = kept / sum;
    *take = taken / sum;
    j->best[r] = top;
    j->mass[r] = sum;
    keep_worth(j, &j->next, r, score);
}

static void mix(const di_joining *j, row *from, int64_t r, float *out, float *spare)
{
    const int64_t n = j->blend->width;
    double keep, take;
    if (j->blend->settings.mode == DI_BLEND_LOG_LINEAR) {
        take_sums(j, from);
        weigh(j, worth(j, &j->next, from, r), r, &keep, &take);
        j->kernels->add(out, from->z, n, from->top, (float)keep, (float)(take / j->next.temperature));
        return;
    }
    take_shares(j, from, spare);
    weigh(j, worth(j, &j->next, from, r), r, &keep, &take);
    (j->last ? j->kernels->mix_last : j->kernels->mix)(out, spare, n, keep * j->share[r], take / from->total);
    j->share[r] = 1;
}

static void admit_alone(const di_joining *j, int64_t r)
{
    j->best[r] = 0;
    j->mass[r] = 1;
    keep_worth(j, &j->held, r, 0);
}

static void join_row(di_joining *j, int64_t r, float *spare)
{
    float *out = (float *)(void *)(j->strip.data + r * j->strip.step);
    row read;
    if (j->alone || j->second) {
        if (!read_row(j, &j->held, r, out, &read)) atomic_store(&j->held.broken, (int)r + 1);
        else if (j->alone) admit_alone(j, r);
        else admit(j, &read, r, out);
    }
    if (j->alone) return;
    const float *z = (const float *)(const void *)(j->given.data + r * j->given.step);
    if (!read_row(j, &j->next, r, z, &read)) atomic_store(&j->next.broken, (int)r + 1);
    else if (di_blend_is_mixture(&j->blend->settings)) mix(j, &read, r, out, spare);
    else choose(j, &read, r, out);
}

void di_blend_join_rows(void *joining, int64_t begin, int64_t end)
{
    di_joining *j = joining;
    float *spare = j->alone ? NULL : (float *)(void *)(j->spare.data + begin * j->spare.step);
    for (int64_t r = begin; r < end; r++) join_row(j, r, spare);
}
