/* pair_point.h - the loss of a pair of sequences, from what both add up to: dpo and its forms. */
#ifndef DI_LOSS_KERNELS_PAIR_POINT_H
#define DI_LOSS_KERNELS_PAIR_POINT_H

#include <math.h>

#include "loss/builtin.h"

enum { DI_PAIR_BETA, DI_PAIR_SMOOTHING, DI_PAIR_TEACHER_BETA, DI_PAIR_FORM }; /* options of dpo */
enum { DI_PAIR_SIGMOID, DI_PAIR_HINGE, DI_PAIR_IPO };
enum { DI_PAIR_LOG_PROB, DI_PAIR_ROWS, DI_PAIR_WEIGHT, DI_PAIR_SUMS }; /* what it measures of a row */

typedef struct di_pair_point {
    double value, slope[2]; /* by the log-probability of a token of the chosen side, and of the rejected one */
    double margin;          /* of rewards */
    double rows, weight;    /* of both sides; of the pair */
} di_pair_point;

static inline double di_log_sigmoid(double x) { return x > 0 ? -log1p(exp(-x)) : x - log1p(exp(x)); }

static inline double di_sigmoid(double x) { return exp(di_log_sigmoid(x)); }

/* How likely the chosen side is the better one. */
static inline double di_pair_label(const di_pairs *pairs, int64_t chosen, const double *options)
{
    const double e = options[DI_PAIR_SMOOTHING];
    if (!pairs->teacher) return 1 - e;
    return e + (1 - 2 * e) *
                   di_sigmoid(options[DI_PAIR_TEACHER_BETA] * (pairs->teacher[chosen] - pairs->teacher[chosen + 1]));
}

static inline double di_pair_hinge(double p, double h, double *slope)
{
    *slope = (h > -1 ? 1 - p : 0) - (h < 1 ? p : 0);
    return p * fmax(0, 1 - h) + (1 - p) * fmax(0, 1 + h);
}

/* sums: [sequences, DI_PAIR_SUMS] of the batch. */
static inline di_pair_point di_pair_at(const di_pairs *pairs, const double *sums, int64_t chosen, const double *options)
{
    const double *side[2] = {sums + chosen * DI_PAIR_SUMS, sums + (chosen + 1) * DI_PAIR_SUMS};
    const double beta = options[DI_PAIR_BETA], p = di_pair_label(pairs, chosen, options);
    const int form = (int)options[DI_PAIR_FORM];
    double ratio[2], share[2], slope = 0;
    di_pair_point out = {.rows = side[0][DI_PAIR_ROWS] + side[1][DI_PAIR_ROWS]};
    out.weight = (side[0][DI_PAIR_WEIGHT] + side[1][DI_PAIR_WEIGHT]) / out.rows;
    for (int i = 0; i < 2; i++) {
        share[i] = form == DI_PAIR_IPO ? 1 / fmax(side[i][DI_PAIR_ROWS], 1) : 1;
        ratio[i] = side[i][DI_PAIR_LOG_PROB] - (pairs->reference ? pairs->reference[chosen + i] : 0);
    }
    out.margin = beta * (ratio[0] - ratio[1]);
    if (form == DI_PAIR_IPO) {
        const double off = share[0] * ratio[0] - share[1] * ratio[1] - (p - 0.5) / beta;
        out.value = off * off;
        slope = 2 * off / beta;
    } else if (form == DI_PAIR_HINGE) {
        out.value = di_pair_hinge(p, out.margin, &slope);
    } else {
        out.value = -p * di_log_sigmoid(out.margin) - (1 - p) * di_log_sigmoid(-out.margin);
        slope = (1 - p) * di_sigmoid(out.margin) - p * di_sigmoid(-out.margin);
    }
    for (int i = 0; i < 2; i++) out.slope[i] = (i ? -1 : 1) * beta * slope * share[i];
    return out;
}

#endif
