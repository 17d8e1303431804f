/* simd_double.h - vectors of doubles beside those of floats, half as many lanes, for the few sums that floats cannot
 * carry. The compiler's vectors; an instruction set adds dk_vd_fma alone. */
#ifndef DK_COMPUTE_SIMD_DOUBLE_H
#define DK_COMPUTE_SIMD_DOUBLE_H

#include "compute/simd.h"

static inline dk_vd dk_vd_set(double value)
{
#if DK_VF > 1
    dk_vd v = {0};
    for (int i = 0; i < DK_VD; i++) v[i] = value;
    return v;
#else
    return value;
#endif
}

static inline dk_vd dk_vd_load(const double *x)
{
    dk_vd v;
    memcpy(&v, x, sizeof v);
    return v;
}

static inline void dk_vd_store(double *y, dk_vd v) { memcpy(y, &v, sizeof v); }

/* n floats, n in [1, DK_VD], widened; the lanes behind them hold `rest`. */
static inline dk_vd dk_vd_take(const float *x, int64_t n, float rest)
{
    float lanes[DK_VD];
    dk_vh half;
    if (n < DK_VD) {
        for (int64_t i = 0; i < DK_VD; i++) lanes[i] = i < n ? x[i] : rest;
        x = lanes;
    }
    memcpy(&half, x, sizeof half);
#if DK_VF > 1
    return __builtin_convertvector(half, dk_vd);
#else
    return (double)half;
#endif
}

static inline dk_vh dk_vd_narrow(dk_vd v)
{
#if DK_VF > 1
    return __builtin_convertvector(v, dk_vh);
#else
    return (float)v;
#endif
}

static inline dk_vl dk_vd_bits(dk_vd v)
{
    dk_vl bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static inline dk_vd dk_vl_bits(dk_vl v)
{
    dk_vd value;
    memcpy(&value, &v, sizeof value);
    return value;
}

static inline dk_vl dk_vd_less(dk_vd a, dk_vd b)
{
#if DK_VF > 1
    return (dk_vl)(a < b);
#else
    return -(int64_t)(a < b);
#endif
}

static inline dk_vd dk_vd_select(dk_vl mask, dk_vd yes, dk_vd no)
{
    return dk_vl_bits((mask & dk_vd_bits(yes)) | (~mask & dk_vd_bits(no)));
}

static inline dk_vd dk_vd_abs(dk_vd v) { return dk_vl_bits(dk_vd_bits(v) & (dk_vd_bits(dk_vd_set(-0.0)) ^ -1)); }

/* Over the lanes, always in the same order. */
static inline double dk_vd_sum(dk_vd v)
{
    double lanes[DK_VD];
    dk_vd_store(lanes, v);
    for (int width = DK_VD / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++) lanes[i] += lanes[i + width];
    return lanes[0];
}

#ifdef DK_VD_ROOTS
/* 2^(n + r), |r| <= 1/32; n is a whole number of sixteenths, which are the lowest four bits of `scaled`. */
static inline dk_vd dk_vd_exp2_of(dk_vd scaled, dk_vd n, dk_vd r)
{
    const dk_vd root = dk_vd_root(dk_vd_bits(scaled));
    dk_vd p =
        dk_vd_fma(r, dk_vd_set(0.0001540378850835798), dk_vd_set(0.0013333818813265916)); /* (2^r - 1)/r to 1e-17 */
    p = dk_vd_fma(p, r, dk_vd_set(0.009618129106053069));
    p = dk_vd_fma(p, r, dk_vd_set(0.05550410865209371));
    p = dk_vd_fma(p, r, dk_vd_set(0.24022650695910103));
    p = dk_vd_fma(p, r, dk_vd_set(0.6931471805599468));
    return dk_vd_scale(dk_vd_fma(root * r, p, root), n); /* by 2^n, n rounded down */
}
#endif

/* To a few 1e-16 of it, -708 <= x <= 709, or NaN. */
static inline dk_vd dk_vd_exp_mild(dk_vd x)
{
#ifdef DK_VD_ROOTS
    const dk_vd shift = dk_vd_set(0x1.8p48), zero = dk_vd_set(0); /* adding it rounds to sixteenths */
    const dk_vd scaled = dk_vd_fma(x, dk_vd_set(0x1.71547652b82fep+0), shift), n = scaled - shift;
    const dk_vd r = dk_vd_fma(x, dk_vd_set(0x1.71547652b82fep+0), zero - n);
    return dk_vd_exp2_of(scaled, n, dk_vd_fma(x, dk_vd_set(0x1.777d0ffda0d24p-56), r));
#else
    static const double series[] = {1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720,
                                    1.0 / 120,      1.0 / 24,      1.0 / 6,      0.5,         1,          1};
    const dk_vd shift = dk_vd_set(0x1.8p52);
    dk_vd scaled = dk_vd_fma(x, dk_vd_set(0x1.71547652b82fep+0), shift), n = scaled - shift;
    dk_vd r = dk_vd_fma(n, dk_vd_set(-0x1.62e42feep-1), x);
    r = dk_vd_fma(n, dk_vd_set(-0x1.a39ef35793c76p-33), r);
    dk_vd p = dk_vd_set(1.0 / 479001600);
    for (size_t i = 0; i < sizeof series / sizeof *series; i++) p = dk_vd_fma(p, r, dk_vd_set(series[i]));
    return p * dk_vl_bits((dk_vd_bits(scaled) - dk_vd_bits(shift) + 1023) << 52);
#endif
}

/* To a few 1e-16 of it; 0 is 3e-308. NaN stays NaN. */
static inline dk_vd dk_vd_exp(dk_vd x)
{
    const dk_vd low = dk_vd_set(-708), high = dk_vd_set(709);
    return dk_vd_exp_mild(dk_vd_select(dk_vd_less(x, low), low, dk_vd_select(dk_vd_less(high, x), high, x)));
}

/* log x to a few 1e-16 of it, for normal x > 0. */
static inline dk_vd dk_vd_log(dk_vd x)
{
    static const double series[] = {2.0 / 21, 2.0 / 19, 2.0 / 17, 2.0 / 15, 2.0 / 13,
                                    2.0 / 11, 2.0 / 9,  2.0 / 7,  2.0 / 5,  2.0 / 3};
    const int64_t root = 0x3fe6a09e667f3bcd; /* of 1/2: the mantissa lands in [sqrt(1/2), sqrt(2)) */
    const dk_vd shift = dk_vd_set(0x1.8p52);
    const dk_vl bits = dk_vd_bits(x) - root;
    const dk_vd n = dk_vl_bits((bits >> 52) + dk_vd_bits(shift)) - shift;
    const dk_vd f = dk_vl_bits((bits & 0xfffffffffffff) + root) - dk_vd_set(1), s = f / (f + dk_vd_set(2)), z = s * s;
    dk_vd r = dk_vd_set(2.0 / 23);
    for (size_t i = 0; i < sizeof series / sizeof *series; i++) r = dk_vd_fma(r, z, dk_vd_set(series[i]));
    dk_vd low = dk_vd_fma(n, dk_vd_set(-0x1.a39ef35793c76p-33), s * (f - r * z));
    return dk_vd_fma(n, dk_vd_set(0x1.62e42feep-1), f - low);
}

/* log(1 + x) to a few 1e-16 of it, for finite x > -1. */
static inline dk_vd dk_vd_log1p(dk_vd x)
{
    const dk_vd one = dk_vd_set(1), sum = one + x;
    return dk_vd_log(sum) + (x - (sum - one)) / sum; /* what the sum lost */
}

/* exp(x) - 1 to a few 1e-16 of it, for x from -1/2 to 1/2. */
static inline dk_vd dk_vd_expm1_near(dk_vd x)
{
    static const double series[] = {1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800,
                                    1.0 / 362880,     1.0 / 40320,     1.0 / 5040,     1.0 / 720,
                                    1.0 / 120,        1.0 / 24,        1.0 / 6,        0.5};
    dk_vd p = dk_vd_set(1.0 / 87178291200);
    for (size_t i = 0; i < sizeof series / sizeof *series; i++) p = dk_vd_fma(p, x, dk_vd_set(series[i]));
    return dk_vd_fma(p * x, x, x);
}

/* For any x. */
static inline dk_vd dk_vd_expm1(dk_vd x)
{
    return dk_vd_select(dk_vd_less(dk_vd_abs(x), dk_vd_set(0.5)), dk_vd_expm1_near(x), dk_vd_exp(x) - dk_vd_set(1));
}

static inline dk_vd dk_vd_min(dk_vd a, dk_vd b) { return dk_vd_select(dk_vd_less(a, b), a, b); } /* b if one is NaN */

static inline dk_vd dk_vd_max(dk_vd a, dk_vd b) { return dk_vd_select(dk_vd_less(a, b), b, a); } /* a if one is NaN */

#endif
