/* simd_math.h - exp, log, tanh, erf and sigmoid over vectors of any width: minimax polynomials on the reduced argument.
 *
 * They are within about 2 ulp, keep NaN, and are right at the ends: exp(-inf) = 0, log(0) = -inf. */
#ifndef DK_COMPUTE_SIMD_MATH_H
#define DK_COMPUTE_SIMD_MATH_H

static inline dk_vf dk_vf_exp(dk_vf x)
{
    const dk_vf shift = dk_vf_set(12582912.0f); /* 1.5*2^23: adding it rounds to an integer */
    x = dk_vf_max(dk_vf_set(-105.0f), dk_vf_min(dk_vf_set(89.0f), x));
    dk_vf scaled = dk_vf_fma(x, dk_vf_set(1.44269504f), shift), n = scaled - shift;
    dk_vf r = dk_vf_fma(n, dk_vf_set(-0.693359375f), x);
    r = dk_vf_fma(n, dk_vf_set(2.12194440e-4f), r);
    dk_vf p = dk_vf_set(1.381461e-3f);
    p = dk_vf_fma(p, r, dk_vf_set(8.368711e-3f));
    p = dk_vf_fma(p, r, dk_vf_set(4.166839e-2f));
    p = dk_vf_fma(p, r, dk_vf_set(1.6666521e-1f));
    p = dk_vf_fma(p, r, dk_vf_set(4.9999994e-1f));
    p = dk_vf_fma(p, r * r, r) + dk_vf_set(1.0f);
    return dk_vf_power(p, n, dk_vf_bits(scaled) - dk_vf_bits(shift));
}

/* exp(x), -103 <= x <= 0, or NaN. Where roots of two can be looked up, the rest is so small that a short polynomial
 * serves. */
static inline dk_vf dk_vf_exp_mild(dk_vf x)
{
#ifdef DK_VF_ROOTS
    const dk_vf shift = dk_vf_set(786432.0f); /* 1.5*2^19: adding it rounds to sixteenths, its last four bits */
    dk_vf scaled = dk_vf_fma(x, dk_vf_set(1.44269504f), shift), n = scaled - shift;
    dk_vf r = dk_vf_fma(n, dk_vf_set(-0.693359375f), x);
    r = dk_vf_fma(n, dk_vf_set(2.12194440e-4f), r);
    dk_vf p = dk_vf_fma(r, dk_vf_set(1.6666667e-1f), dk_vf_set(5.000162e-1f)), root = dk_vf_root(dk_vf_bits(scaled));
    p = dk_vf_fma(p, r * r, r);
    return dk_vf_scale(dk_vf_fma(root, p, root), n); /* by 2^n, n rounded down */
#else
    return dk_vf_exp(x);
#endif
}

/* exp(x), x <= 0 */
static inline dk_vf dk_vf_exp_down(dk_vf x)
{
#ifdef DK_VF_ROOTS
    const dk_vf low = dk_vf_set(-104.0f);
    return dk_vf_select(dk_vf_less(x, low), dk_vf_set(0), dk_vf_exp_mild(dk_vf_max(low, x)));
#else
    return dk_vf_exp(x);
#endif
}

/* log(2^n (1 + f)), 1 + f in [sqrt(1/2), sqrt(2)) */
static inline dk_vf dk_vf_log_parts(dk_vf n, dk_vf f)
{
    dk_vf p = dk_vf_set(6.7466386e-2f);
    p = dk_vf_fma(p, f, dk_vf_set(-1.1675651e-1f));
    p = dk_vf_fma(p, f, dk_vf_set(1.1888163e-1f));
    p = dk_vf_fma(p, f, dk_vf_set(-1.2405589e-1f));
    p = dk_vf_fma(p, f, dk_vf_set(1.4219552e-1f));
    p = dk_vf_fma(p, f, dk_vf_set(-1.6667996e-1f));
    p = dk_vf_fma(p, f, dk_vf_set(2.0002119e-1f));
    p = dk_vf_fma(p, f, dk_vf_set(-2.500001e-1f));
    p = dk_vf_fma(p, f, dk_vf_set(3.3333313e-1f));
    dk_vf square = f * f;
    dk_vf low = dk_vf_fma(p * f, square, n * dk_vf_set(-2.12194440e-4f));
    return dk_vf_fma(n, dk_vf_set(0.693359375f), f + dk_vf_fma(square, dk_vf_set(-0.5f), low));
}

static inline dk_vf dk_vf_log(dk_vf x)
{
    const dk_vf zero = dk_vf_set(0.0f), infinite = dk_vf_set(INFINITY);
    dk_vm tiny = dk_vf_less(x, dk_vf_set(0x1p-126f));
    dk_vf scaled = dk_vf_select(tiny, x * dk_vf_set(0x1p23f), x);
    dk_vi bits = dk_vf_bits(scaled) - 0x3f3504f3; /* from sqrt(1/2): the mantissa lands in [sqrt(1/2), sqrt(2)) */
    dk_vf n = dk_vi_float(bits >> 23) - dk_vf_select(tiny, dk_vf_set(23.0f), zero);
    dk_vf f = dk_vi_bits((bits & 0x7fffff) + 0x3f3504f3) - dk_vf_set(1.0f);
    dk_vf y = dk_vf_log_parts(n, f);
    y = dk_vf_select(dk_vf_less(x, infinite), y, x); /* infinity and NaN */
    y = dk_vf_select(dk_vf_less(zero, x), y, dk_vf_select(dk_vf_less(x, zero), dk_vf_set(NAN), x - infinite));
    return y;
}

static inline dk_vf dk_vf_tanh(dk_vf x)
{
    dk_vf size = dk_vf_abs(x), s = x * x;
    dk_vf p = dk_vf_set(-5.7049864e-3f);
    p = dk_vf_fma(p, s, dk_vf_set(2.0639086e-2f));
    p = dk_vf_fma(p, s, dk_vf_set(-5.3739715e-2f));
    p = dk_vf_fma(p, s, dk_vf_set(1.3331442e-1f));
    p = dk_vf_fma(p, s, dk_vf_set(-3.333328e-1f));
    dk_vf small = dk_vf_fma(p, s * x, x);
    dk_vf large = dk_vf_set(1.0f) - dk_vf_set(2.0f) / (dk_vf_exp(size + size) + dk_vf_set(1.0f));
    return dk_vf_select(dk_vf_less(size, dk_vf_set(0.625f)), small, dk_vf_sign_of(large, x));
}

static inline dk_vf dk_vf_erf(dk_vf x)
{
    dk_vf size = dk_vf_abs(x), s = x * x, t = dk_vf_min(dk_vf_set(4.0f), size);
    dk_vf p = dk_vf_set(7.853861e-5f);
    p = dk_vf_fma(p, s, dk_vf_set(-8.0101937e-4f));
    p = dk_vf_fma(p, s, dk_vf_set(5.1883277e-3f));
    p = dk_vf_fma(p, s, dk_vf_set(-2.6853813e-2f));
    p = dk_vf_fma(p, s, dk_vf_set(1.12835854e-1f));
    p = dk_vf_fma(p, s, dk_vf_set(-3.7612626e-1f));
    p = dk_vf_fma(p, s, dk_vf_set(1.2837917e-1f));
    dk_vf small = dk_vf_fma(p, x, x);
    dk_vf e = dk_vf_set(-2.169759e-5f); /* log(erfc(t)) on [1, 4] */
    e = dk_vf_fma(e, t, dk_vf_set(4.4147234e-4f));
    e = dk_vf_fma(e, t, dk_vf_set(-4.205283e-3f));
    e = dk_vf_fma(e, t, dk_vf_set(2.5210334e-2f));
    e = dk_vf_fma(e, t, dk_vf_set(-1.0842209e-1f));
    e = dk_vf_fma(e, t, dk_vf_set(-6.332164e-1f));
    e = dk_vf_fma(e, t, dk_vf_set(-1.1295803e+0f));
    e = dk_vf_fma(e, t, dk_vf_set(1.884666e-4f));
    dk_vf large = dk_vf_set(1.0f) - dk_vf_exp(e);
    return dk_vf_select(dk_vf_less(size, dk_vf_set(1.0f)), small, dk_vf_sign_of(large, x));
}

static inline dk_vf dk_vf_sigmoid(dk_vf x)
{
    return dk_vf_set(1.0f) / (dk_vf_set(1.0f) + dk_vf_exp(dk_vf_set(0.0f) - x));
}

#endif
