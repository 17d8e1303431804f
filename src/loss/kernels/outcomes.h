/* outcomes.h - what student and teacher say of some outcomes, and the divergences' parts that losses are made of.
 *
 * Losses over outcomes (kernels/points) are compiled twice, in vectors of floats (DK_AS_FLOATS) and of doubles; di_v is
 * either. Floats serve long dense rows; where log p and log q are less than 1 apart a loss is made of the series below,
 * or comes from polynomials that were fitted to its doubles (divergence_floats.h). Everything else is in doubles, exact
 * also where student and teacher are almost the same. */
#ifndef DI_LOSS_KERNELS_OUTCOMES_H
#define DI_LOSS_KERNELS_OUTCOMES_H

#include "loss/kernels/gap.h"

/* A loss's own functions: in floats they stand in the loop over a row. */
#ifdef DK_AS_FLOATS
#define DI_POINT static inline __attribute__((always_inline))
#else
#define DI_POINT static
#endif

#ifdef DK_AS_FLOATS
typedef dk_vf di_v;
typedef dk_vm di_vm;
#define DI_V(name) dk_vf_##name
#define DI_TINY 1e-37
#define DI_LOW -104.0 /* exp of less is 0 */
#define DI_NEVER -1e37

static inline di_v di_v_set(double x) { return dk_vf_set((float)x); }

static inline di_v di_v_exp_down(di_v x) { return dk_vf_exp_down(x); } /* x <= 0 */

static inline di_v di_v_inverse(di_v x) { return dk_vf_inverse(x); }

/* log(1 + x), x > -1; what 1 + x loses is put back behind the point. */
static inline di_v di_v_log1p(di_v x)
{
    const dk_vf one = dk_vf_set(1), sum = one + x, lost = x - (sum - one);
    const dk_vi bits = dk_vf_bits(sum) - 0x3f3504f3; /* from sqrt(1/2): the mantissa lands in [sqrt(1/2), sqrt(2)) */
    const dk_vi whole = bits >> 23;
    const dk_vf n = dk_vi_float(whole), shrunk = lost * dk_vi_bits((127 - whole) << 23);
    return dk_vf_log_parts(n, dk_vi_bits((bits & 0x7fffff) + 0x3f3504f3) - one + shrunk);
}

/* exp(x) - 1, |x| <= 1 */
static inline di_v di_v_expm1_near(di_v x) { return dk_vf_fma(x * x, di_curvature(x), x); }
#else
typedef dk_vd di_v;
typedef dk_vl di_vm;
#define DI_V(name) dk_vd_##name
#define DI_TINY 1e-300
#define DI_LOW -708.0
#define DI_NEVER -1e300

static inline di_v di_v_set(double x) { return dk_vd_set(x); }

static inline di_v di_v_exp_down(di_v x) { return dk_vd_exp(x); }

static inline di_v di_v_inverse(di_v x) { return dk_vd_set(1) / x; }

static inline di_v di_v_log1p(di_v x) { return dk_vd_log1p(x); }

static inline di_v di_v_expm1_near(di_v x) { return dk_vd_expm1_near(x); }
#endif

#define di_v_exp DI_V(exp)
#define di_v_abs DI_V(abs)
#define di_v_min DI_V(min)
#define di_v_max DI_V(max)
#define di_v_less DI_V(less)
#define di_v_select DI_V(select)

typedef struct di_outcomes { /* a vector of them; lanes behind the last have p = q = 0 */
    di_v log_p, log_q;       /* raised to the floors; in floats only for a form that asks for them */
    di_v p, q;
    di_v d;          /* log p - log q, and far below 0 where p = 0 */
    di_v fall;       /* e^-|d| - 1; in floats only for a form that asks for it */
    di_vm none, out; /* log p, log q is -inf; in floats there are no such */
} di_outcomes;

enum { DI_MIXES = 1, DI_LOGS = 2 }; /* what floats are asked for beside d, p and q: fall; log p and log q */

typedef struct di_mark {
    di_v value, slope; /* slope: dL/dlog q, up to a multiple of q that is the same for the whole row */
} di_mark;

#ifdef DK_AS_FLOATS
static inline di_vm di_is_near(const di_outcomes *x) { return di_v_less(di_v_abs(x->d), di_v_set(1)); }

/* p - q, exact also where they are almost the same */
static inline di_v di_excess(const di_outcomes *x)
{
    return di_v_select(di_is_near(x), x->q * di_v_expm1_near(x->d), x->p - x->q);
}

/* p*(log p - log q) - p + q, never negative; near it is q d^2 times what is left of the series */
static inline di_v di_forward(const di_outcomes *x)
{
    const dk_vf left = dk_vf_fma(x->d - di_v_set(1), di_curvature(x->d), di_v_set(1));
    return di_v_select(di_is_near(x), x->q * x->d * x->d * left, x->p * x->d - (x->p - x->q));
}

/* q*(log q - log p) - q + p, never negative */
static inline di_v di_reverse(const di_outcomes *x)
{
    const dk_vf first = x->q * x->d;
    return di_v_select(di_is_near(x), first * x->d * di_curvature(x->d), (x->p - x->q) - first);
}

static inline di_v di_reverse_slope(const di_outcomes *x) { return di_v_set(0) - x->q * x->d; }

/* p - q, for a loss that is fitted where they are near */
static inline di_v di_far_excess(const di_outcomes *x) { return x->p - x->q; }
#else
/* p - q, exact also where they are almost the same */
static inline di_v di_excess(const di_outcomes *x)
{
    const di_vm near = di_v_less(di_v_abs(x->d), di_v_set(0.5));
    return di_v_select(near, x->q * di_v_expm1_near(x->d), x->p - x->q);
}

/* p*(log p - log q) - p + q, never negative */
static inline di_v di_forward(const di_outcomes *x)
{
    const dk_vd d = x->d, far = x->p * d - di_excess(x);
    const dk_vd curved = d * d * (0.5 - d * (1.0 / 6 - d * (1.0 / 24 - d * (1.0 / 120 - d * (1.0 / 720)))));
    return dk_vd_select(dk_vd_less(dk_vd_abs(d), dk_vd_set(0.03)), x->p * curved, far);
}

/* q*(log q - log p) - q + p, never negative where p is not raised to the floor */
static inline di_v di_reverse(const di_outcomes *x)
{
    const dk_vd d = x->log_p - x->log_q, far = di_excess(x) - x->q * d;
    const dk_vd curved = d * d * (0.5 + d * (1.0 / 6 + d * (1.0 / 24 + d * (1.0 / 120 + d * (1.0 / 720)))));
    return dk_vd_select(dk_vd_less(dk_vd_abs(d), dk_vd_set(0.03)) & ~x->none, x->q * curved, far);
}

static inline di_v di_reverse_slope(const di_outcomes *x) { return x->q * (x->log_q - x->log_p); }

static inline di_v di_far_excess(const di_outcomes *x) { return di_excess(x); }
#endif

static inline di_v di_forward_slope(const di_outcomes *x) { return di_v_set(0) - di_excess(x); }

typedef struct di_mixture { /* m = w p + (1 - w) q */
    di_v to_p, to_q;        /* log m/p, log m/q */
    di_v over;              /* 1/m */
} di_mixture;

/* The logarithm is taken of m over the larger one of p and q: that one is what 1 is taken from. */
static inline di_mixture di_mix(const di_outcomes *x, double w)
{
    const di_v mine = di_v_set(w), other = di_v_set(1 - w), zero = di_v_set(0);
    const di_vm p_leads = di_v_less(zero, x->d);
    const di_v log = di_v_log1p(di_v_select(p_leads, other, mine) * x->fall);
    const di_v m = di_v_max(mine * x->p + other * x->q, di_v_set(DI_TINY));
    return (di_mixture){di_v_select(p_leads, log, log - x->d), di_v_select(p_leads, log + x->d, log), di_v_inverse(m)};
}

#endif
