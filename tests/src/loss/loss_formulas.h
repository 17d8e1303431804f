/* loss_formulas.h - every built-in loss as its formula says it, plainly, in long double; what is detached is taken from
 * a copy of the student that differences do not move. */
#ifndef TESTS_LOSS_FORMULAS_H
#define TESTS_LOSS_FORMULAS_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FORMULA_MAX = 2100 };
typedef long double real;

typedef struct row { /* outcomes; u = z/T, where there are logits */
    int64_t n;
    int32_t label;
    real uq[FORMULA_MAX], up[FORMULA_MAX], lq[FORMULA_MAX], lp[FORMULA_MAX], fixed[FORMULA_MAX];
} row;
typedef real (*formula)(const row *r, const double *o);

static inline void log_softmax_real(const real *u, int64_t n, real *out)
{
    real top = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) top = u[i] > top ? u[i] : top;
    for (int64_t i = 0; i < n; i++) sum += expl(u[i] - top);
    for (int64_t i = 0; i < n; i++) out[i] = u[i] - top - logl(sum);
}

/* Sum a (log a - log b) */
static inline real kl_of(const real *la, const real *lb, int64_t n)
{
    real sum = 0;
    for (int64_t i = 0; i < n; i++)
        if (la[i] > -INFINITY) sum += expl(la[i]) * (la[i] - lb[i]);
    return sum;
}

static inline real log_mix(real w, real la, real lb) /* log(w a + (1 - w) b) */
{
    const real top = fmaxl(la, lb);
    if (w == 0 || w == 1) return w == 0 ? lb : la;
    return top > -INFINITY ? top + logl(w * expl(la - top) + (1 - w) * expl(lb - top)) : top;
}

static inline real f_cross_entropy(const row *r, const double *o)
{
    const real e = (real)o[0], lse = r->uq[r->label] - r->lq[r->label];
    real even = 0;
    for (int64_t i = 0; i < r->n; i++) even -= r->lq[i] / (real)r->n;
    return -(1 - e) * r->lq[r->label] + e * even + (real)o[1] * lse * lse;
}

static inline real f_forward(const row *r, const double *o)
{
    (void)o;
    return kl_of(r->lp, r->lq, r->n);
}

static inline real f_reverse(const row *r, const double *o)
{
    (void)o;
    return kl_of(r->lq, r->lp, r->n);
}

static inline real f_symmetric(const row *r, const double *o)
{
    return (1 - (real)o[0]) * kl_of(r->lp, r->lq, r->n) + (real)o[0] * kl_of(r->lq, r->lp, r->n);
}

static inline real f_jsd(const row *r, const double *o)
{
    const real b = (real)o[0];
    real sum = 0;
    if (o[1] != 0 && b == 0) return f_forward(r, o);
    if (o[1] != 0 && b == 1) return f_reverse(r, o);
    for (int64_t i = 0; i < r->n; i++) {
        const real lm = log_mix(b, r->lp[i], r->lq[i]);
        if (r->lp[i] > -INFINITY) sum += b * expl(r->lp[i]) * (r->lp[i] - lm);
        if (r->lq[i] > -INFINITY) sum += (1 - b) * expl(r->lq[i]) * (r->lq[i] - lm);
    }
    return o[1] != 0 ? sum / (b * (1 - b)) : sum;
}

static inline real f_skew_forward(const row *r, const double *o)
{
    real sum = 0;
    for (int64_t i = 0; i < r->n; i++)
        if (r->lp[i] > -INFINITY) sum += expl(r->lp[i]) * (r->lp[i] - log_mix((real)o[0], r->lp[i], r->lq[i]));
    return sum;
}

static inline real f_skew_reverse(const row *r, const double *o)
{
    real sum = 0;
    for (int64_t i = 0; i < r->n; i++) {
        const real inside = o[1] != 0 ? r->fixed[i] : r->lq[i];
        if (r->lq[i] > -INFINITY) sum += expl(r->lq[i]) * (r->lq[i] - log_mix((real)o[0], inside, r->lp[i]));
    }
    return sum;
}

static inline real f_tvd(const row *r, const double *o)
{
    real sum = 0;
    for (int64_t i = 0; i < r->n; i++) sum += fabsl(expl(r->lp[i]) - expl(r->lq[i])) / 2;
    (void)o;
    return sum;
}

static inline real f_alpha_beta(const row *r, const double *o)
{
    const real a = (real)o[0], b = (real)o[1];
    real sum = 0;
    for (int64_t i = 0; i < r->n; i++) {
        const real p = r->lp[i], q = r->lq[i];
        if (a == 0 && b == 0) sum += (p - q) * (p - q) / 2;
        else if (a == 0) sum += (expl(b * q) * b * (q - p) - expl(b * q) + expl(b * p)) / (b * b);
        else if (b == 0) sum += (expl(a * p) * a * (p - q) - expl(a * p) + expl(a * q)) / (a * a);
        else if (a + b == 0) sum += (a * (q - p) + expl(a * (p - q)) - 1) / (a * a);
        else sum -= (expl(a * p + b * q) - a / (a + b) * expl((a + b) * p) - b / (a + b) * expl((a + b) * q)) / (a * b);
    }
    return sum;
}

static inline real f_taid(const row *r, const double *o)
{
    static real u[FORMULA_MAX], lm[FORMULA_MAX];
    for (int64_t i = 0; i < r->n; i++) u[i] = (1 - (real)o[0]) * r->fixed[i] + (real)o[0] * r->lp[i];
    log_softmax_real(u, r->n, lm);
    return kl_of(lm, r->lq, r->n);
}

/* Sorted; of equal ones the lowest id first. */
static inline real f_adaptive(const row *r, const double *o)
{
    static int32_t taken[FORMULA_MAX];
    real mass = 0, head = 0, all = 0;
    memset(taken, 0, sizeof taken);
    for (int64_t count = 0; count < r->n; count++) {
        int64_t best = -1;
        for (int64_t i = 0; i < r->n; i++)
            if (!taken[i] && (best < 0 || r->lp[i] > r->lp[best])) best = i;
        mass += expl(r->lp[best]);
        if (count && mass > (real)o[0] + 1e-12L) break;
        taken[best] = 1;
    }
    for (int64_t i = 0; i < r->n; i++) {
        const real gap = fabsl(expl(r->lp[i]) - expl(r->fixed[i]));
        all += gap;
        head += taken[i] ? gap : 0;
    }
    const real w = all > 0 ? head / all : 0.5L;
    return w * kl_of(r->lp, r->lq, r->n) + (1 - w) * kl_of(r->lq, r->lp, r->n);
}

static inline real f_dkd(const row *r, const double *o)
{
    real rest_p = 0, rest_q = 0, others = 0;
    const real lp = r->lp[r->label], lq = r->lq[r->label];
    for (int64_t i = 0; i < r->n; i++) {
        rest_p += i == r->label ? 0 : expl(r->lp[i]);
        rest_q += i == r->label ? 0 : expl(r->lq[i]);
    }
    for (int64_t i = 0; i < r->n && rest_p > 0; i++)
        if (i != r->label && r->lp[i] > -INFINITY)
            others += expl(r->lp[i]) / rest_p * (r->lp[i] - logl(rest_p) - r->lq[i] + logl(rest_q));
    return (real)o[0] * ((lp > -INFINITY ? expl(lp) * (lp - lq) : 0) +
                         (rest_p > 0 ? rest_p * (logl(rest_p) - logl(rest_q)) : 0)) +
           (real)o[1] * others;
}

static inline real f_logit_mse(const row *r, const double *o)
{
    real sum = 0;
    for (int64_t i = 0; i < r->n; i++) sum += (r->uq[i] - r->up[i]) * (r->uq[i] - r->up[i]) / (real)r->n;
    (void)o;
    return sum;
}

static inline real f_logit_cosine(const row *r, const double *o)
{
    real qq = 0, pp = 0, pq = 0;
    for (int64_t i = 0; i < r->n; i++) {
        qq += r->uq[i] * r->uq[i];
        pp += r->up[i] * r->up[i];
        pq += r->uq[i] * r->up[i];
    }
    (void)o;
    return 1 - pq / sqrtl(qq * pp);
}

static inline real f_acceptance(const row *r, const double *o)
{
    real sum = 0;
    for (int64_t i = 0; i < r->n; i++) sum += expl(fminl(r->lp[i], r->lq[i]));
    (void)o;
    return -logl(sum);
}

static inline int64_t best_ids(const row *r, int64_t most, int64_t *ids)
{
    int64_t count = 0;
    for (; count < most && count < r->n; count++) {
        int64_t best = -1;
        for (int64_t i = 0; i < r->n; i++) {
            int32_t taken = 0;
            for (int64_t j = 0; j < count; j++) taken |= ids[j] == i;
            if (!taken && (best < 0 || r->lp[i] > r->lp[best])) best = i;
        }
        ids[count] = best;
    }
    return count;
}

static inline real ranked(const row *r, const double *o, int32_t hinge)
{
    int64_t ids[256], pairs = 0;
    const int64_t count = best_ids(r, (int64_t)o[0], ids);
    real sum = 0;
    for (int64_t a = 0; a < count; a++)
        for (int64_t b = a + 1; b < count; b++) {
            const int64_t i = ids[a], j = ids[b];
            if (!(r->lp[i] > r->lp[j])) continue;
            const real margin = o[1] >= 0 ? (real)o[1] : expl(r->lp[i]) - expl(r->lp[j]);
            if (hinge) sum += fmaxl(0, margin - (expl(r->lq[i]) - expl(r->lq[j])));
            else sum += log1pl(expl(-(r->lq[i] - r->lq[j])));
            pairs++;
        }
    return pairs ? sum / (real)pairs : 0;
}

static inline real f_rank_hinge(const row *r, const double *o) { return ranked(r, o, 1); }

static inline real f_rank_logistic(const row *r, const double *o) { return ranked(r, o, 0); }

enum {                   /* what holds of a loss */
       SAME_IS_ZERO = 1, /* p = q gives 0, with no gradient */
       PLAIN = 2,        /* knows no temperature */
       NO_SHIFT = 4,     /* logits plus a constant are other logits */
       ON_TOPK = 8,      /* takes a few ids and the rest, as k + 1 outcomes */
       BOUNDED = 16,     /* finite whatever the teacher excludes */
       ORDERED = 32,     /* looks at the teacher's best ids only */
       KINKED = 64,      /* has kinks: differences take small steps */
       OVERFLOWS = 128,  /* has powers of p/q, which may be larger than a double */
       ROUGH = 256       /* value and gradient to 4e-6 of what they are; the others to 1e-6 and 2e-6 */
};
typedef struct loss_case {
    const char *yaml; /* behind "type: " */
    formula value;
    double options[4];
    int flags; /* what holds of it: see the table of relations */
} loss_case;

static const loss_case loss_cases[] = {
    {"cross_entropy", f_cross_entropy, {0, 0}, PLAIN},
    {"cross_entropy, cross_entropy.label_smoothing: 0.2", f_cross_entropy, {0.2, 0}, PLAIN},
    {"cross_entropy, cross_entropy.z_loss: 0.01", f_cross_entropy, {0, 0.01}, PLAIN | NO_SHIFT},
    {"cross_entropy, cross_entropy: {label_smoothing: 0.1, z_loss: 1e-3}",
     f_cross_entropy,
     {0.1, 1e-3},
     PLAIN | NO_SHIFT},
    {"forward_kl", f_forward, {0}, SAME_IS_ZERO | ON_TOPK},
    {"reverse_kl", f_reverse, {0}, SAME_IS_ZERO | ON_TOPK},
    {"symmetric_kl", f_symmetric, {0.5}, SAME_IS_ZERO | ON_TOPK},
    {"symmetric_kl, symmetric_kl.reverse_weight: 0.9", f_symmetric, {0.9}, SAME_IS_ZERO | ON_TOPK},
    {"jsd", f_jsd, {0.5, 0}, SAME_IS_ZERO | ON_TOPK | BOUNDED},
    {"jsd, jsd.teacher_weight: 0.1", f_jsd, {0.1, 0}, SAME_IS_ZERO | ON_TOPK | BOUNDED},
    {"jsd, jsd.teacher_weight: 0.9", f_jsd, {0.9, 0}, SAME_IS_ZERO | ON_TOPK | BOUNDED},
    {"jsd, jsd: {teacher_weight: 0.3, normalised: true}", f_jsd, {0.3, 1}, SAME_IS_ZERO | ON_TOPK},
    {"jsd, jsd: {teacher_weight: 0, normalised: true}", f_jsd, {0, 1}, SAME_IS_ZERO | ON_TOPK},
    {"jsd, jsd: {teacher_weight: 1, normalised: true}", f_jsd, {1, 1}, SAME_IS_ZERO | ON_TOPK},
    {"skew_forward_kl", f_skew_forward, {0.1}, SAME_IS_ZERO | ON_TOPK | BOUNDED},
    {"skew_forward_kl, skew.lambda: 0.5", f_skew_forward, {0.5}, SAME_IS_ZERO | ON_TOPK | BOUNDED},
    {"skew_forward_kl, skew.lambda: 0", f_skew_forward, {0}, SAME_IS_ZERO | ON_TOPK},
    {"skew_forward_kl, skew.lambda: 1e-5", f_skew_forward, {1e-5}, SAME_IS_ZERO | ON_TOPK | BOUNDED},
    {"skew_forward_kl, skew.lambda: 0.06", f_skew_forward, {0.06}, SAME_IS_ZERO | ON_TOPK | BOUNDED},
    {"skew_reverse_kl", f_skew_reverse, {0.1, 0}, SAME_IS_ZERO | ON_TOPK | BOUNDED},
    {"skew_reverse_kl, skew: {lambda: 0.3, detach: true}", f_skew_reverse, {0.3, 1}, SAME_IS_ZERO | ON_TOPK | BOUNDED},
    {"skew_reverse_kl, skew.lambda: 1e-5", f_skew_reverse, {1e-5, 0}, SAME_IS_ZERO | ON_TOPK | BOUNDED},
    {"skew_reverse_kl, skew.lambda: 0", f_skew_reverse, {0, 0}, SAME_IS_ZERO | ON_TOPK},
    {"tvd", f_tvd, {0}, KINKED | SAME_IS_ZERO | ON_TOPK | BOUNDED},
    {"alpha_beta", f_alpha_beta, {0.2, 0.7}, ROUGH | SAME_IS_ZERO | ON_TOPK},
    {"alpha_beta, alpha_beta: {alpha: 1, beta: 0}", f_alpha_beta, {1, 0}, ROUGH | SAME_IS_ZERO | ON_TOPK},
    {"alpha_beta, alpha_beta: {alpha: 0, beta: 1}", f_alpha_beta, {0, 1}, ROUGH | SAME_IS_ZERO | ON_TOPK},
    {"alpha_beta, alpha_beta: {alpha: 0, beta: 0.5}", f_alpha_beta, {0, 0.5}, ROUGH | SAME_IS_ZERO | ON_TOPK},
    {"alpha_beta, alpha_beta: {alpha: 2, beta: 0}", f_alpha_beta, {2, 0}, ROUGH | SAME_IS_ZERO | ON_TOPK},
    {"alpha_beta, alpha_beta: {alpha: 0, beta: 0}", f_alpha_beta, {0, 0}, ROUGH | SAME_IS_ZERO | ON_TOPK},
    {"alpha_beta, alpha_beta: {alpha: 0.25, beta: -0.25}",
     f_alpha_beta,
     {0.25, -0.25},
     OVERFLOWS | SAME_IS_ZERO | ON_TOPK},
    {"taid", f_taid, {0.4}, ROUGH | SAME_IS_ZERO | ON_TOPK},
    {"taid, taid.t: 0.9", f_taid, {0.9}, ROUGH | SAME_IS_ZERO | ON_TOPK},
    {"taid, taid.t: 1", f_taid, {1}, ROUGH | SAME_IS_ZERO | ON_TOPK},
    {"taid, taid.t: 0", f_taid, {0}, ROUGH | SAME_IS_ZERO | ON_TOPK},
    {"adaptive_kl", f_adaptive, {0.5}, SAME_IS_ZERO},
    {"adaptive_kl, adaptive_kl.head_mass: 0.05", f_adaptive, {0.05}, SAME_IS_ZERO},
    {"adaptive_kl, adaptive_kl.head_mass: 0.95", f_adaptive, {0.95}, SAME_IS_ZERO},
    {"adaptive_kl, adaptive_kl.head_mass: 1", f_adaptive, {1}, SAME_IS_ZERO},
    {"dkd", f_dkd, {1, 8}, SAME_IS_ZERO},
    {"dkd, dkd: {target_weight: 2, non_target_weight: 0.5}", f_dkd, {2, 0.5}, SAME_IS_ZERO},
    {"logit_mse", f_logit_mse, {0}, SAME_IS_ZERO | NO_SHIFT},
    {"logit_cosine", f_logit_cosine, {0}, SAME_IS_ZERO | PLAIN | NO_SHIFT | BOUNDED},
    {"acceptance", f_acceptance, {0}, KINKED | SAME_IS_ZERO | ON_TOPK},
    {"rank_hinge", f_rank_hinge, {8, -1}, KINKED | SAME_IS_ZERO | ORDERED},
    {"rank_hinge, rank_hinge: {top_k: 4, margin: 0.1}", f_rank_hinge, {4, 0.1}, KINKED | ORDERED},
    {"rank_logistic", f_rank_logistic, {8, -1}, ORDERED},
    {"rank_logistic, rank_logistic.top_k: 20", f_rank_logistic, {20, -1}, ORDERED},
};
enum { LOSS_CASES = sizeof loss_cases / sizeof *loss_cases };

#endif
