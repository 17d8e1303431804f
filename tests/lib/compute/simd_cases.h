/* simd_cases.h - accuracy of the functions of simd.h, in units of the last place; one test per instruction set. */
#ifndef TESTS_SIMD_CASES_H
#define TESTS_SIMD_CASES_H

#include "compute/simd_double.h"
#include "test.h"

#ifdef SIMD_NEEDS
#define NEED_MACHINE \
    if (!(SIMD_NEEDS)) SKIP("not on this machine")
#else
#define NEED_MACHINE
#endif

static double ulps(float got, double want)
{
    if (isnan(got) || isnan(want)) return isnan(got) && isnan(want) ? 0 : INFINITY;
    if ((double)got == want || (isinf(got) && fabs(want) > 3.4028235e38 && (want > 0) == (got > 0))) return 0;
    int exponent;
    (void)frexp(want, &exponent);
    return fabs((double)got - want) / ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

static double worst_of(dk_vf (*f)(dk_vf), double (*exact)(double), double low, double high, int64_t n)
{
    double worst = 0;
    for (int64_t i = 0; i < n; i += DK_VF) {
        float x[DK_VF], y[DK_VF];
        for (int k = 0; k < DK_VF; k++) x[k] = (float)(low + (high - low) * (double)(i + k) / (double)n);
        dk_vf_store(y, f(dk_vf_load(x)));
        for (int k = 0; k < DK_VF; k++) worst = test_worst(worst, ulps(y[k], exact((double)x[k])));
    }
    return worst;
}

static double inverse(double x) { return 1 / x; }

static float at(dk_vf (*f)(dk_vf), float x) { return DK_LANE(f(dk_vf_set(x)), 0); }

TEST(functions)
{
    NEED_MACHINE;
    CHECK(worst_of(dk_vf_exp, exp, -104, 89, 400000) <= 2);
    CHECK(worst_of(dk_vf_exp, exp, -1, 1, 400000) <= 2);
    CHECK(worst_of(dk_vf_exp_down, exp, -104, 0, 400000) <= 2);
    CHECK(worst_of(dk_vf_exp_down, exp, -1, 0, 400000) <= 2);
    CHECK(worst_of(dk_vf_inverse, inverse, 1e-37, 1e-35, 40000) <= 1);
    CHECK(worst_of(dk_vf_inverse, inverse, -3, 3, 40001) <= 1);
    CHECK(worst_of(dk_vf_log, log, 1e-3, 10, 400000) <= 2);
    CHECK(worst_of(dk_vf_log, log, 0.99, 1.01, 400000) <= 2);
    CHECK(worst_of(dk_vf_log, log, 1e-40, 1e-37, 40000) <= 2);
    CHECK(worst_of(dk_vf_log, log, 1, 3e38, 40000) <= 2);
    CHECK(worst_of(dk_vf_tanh, tanh, -10, 10, 400000) <= 2.5);
    CHECK(worst_of(dk_vf_tanh, tanh, -1e-3, 1e-3, 40000) <= 2);
    CHECK(worst_of(dk_vf_erf, erf, -5, 5, 400000) <= 2.5);
    CHECK(worst_of(dk_vf_erf, erf, -1e-3, 1e-3, 40000) <= 2);
}

static double at_double(double x)
{
    double lanes[DK_VD];
    dk_vd_store(lanes, dk_vd_exp(dk_vd_set(x)));
    return lanes[DK_VD - 1];
}

TEST(doubles)
{
    enum { N = 200000 };
    NEED_MACHINE;
    double wide = 0, near = 0;
    for (int i = 0; i <= N; i++) {
        const double x = 1417.0 * i / N - 708, small = 2.0 * i / N - 1;
        const long double want = expl((long double)x), want_near = expl((long double)small);
        wide = test_worst(wide, (double)fabsl((long double)at_double(x) / want - 1));
        near = test_worst(near, (double)fabsl((long double)at_double(small) / want_near - 1));
    }
    CHECK(wide <= 5e-16);
    CHECK(near <= 5e-16);
    CHECK(at_double(0) == 1 && at_double(-INFINITY) < 4e-308 && isnan(at_double(NAN)));
}

TEST(ends)
{
    NEED_MACHINE;
    CHECK(at(dk_vf_exp, -INFINITY) == 0 && at(dk_vf_exp, -1e30f) == 0 && isinf(at(dk_vf_exp, 1e30f)) &&
          isinf(at(dk_vf_exp, INFINITY)));
    CHECK(at(dk_vf_exp, 0) == 1 && isnan(at(dk_vf_exp, NAN)));
    CHECK(at(dk_vf_exp_down, -INFINITY) == 0 && at(dk_vf_exp_down, -1e30f) == 0 && at(dk_vf_exp_down, 0) == 1 &&
          isnan(at(dk_vf_exp_down, NAN)));
    CHECK(at(dk_vf_log, 0) == -INFINITY && at(dk_vf_log, INFINITY) == INFINITY && at(dk_vf_log, 1) == 0);
    CHECK(isnan(at(dk_vf_log, -1)) && isnan(at(dk_vf_log, NAN)) && isnan(at(dk_vf_log, -INFINITY)));
    CHECK(at(dk_vf_tanh, 100) == 1 && at(dk_vf_tanh, -INFINITY) == -1 && isnan(at(dk_vf_tanh, NAN)));
    CHECK(at(dk_vf_erf, 100) == 1 && at(dk_vf_erf, -INFINITY) == -1 && isnan(at(dk_vf_erf, NAN)));
    CHECK(at(dk_vf_sigmoid, -INFINITY) == 0 && at(dk_vf_sigmoid, 200) == 1 && at(dk_vf_sigmoid, 0) == 0.5f);
}

TEST(lanes)
{
    NEED_MACHINE;
    float x[DK_VF + 1], y[DK_VF + 1];
    for (int n = 0; n < DK_VF; n++) {
        for (int i = 0; i <= DK_VF; i++) x[i] = (float)(i + 1), y[i] = -1;
        dk_vf v = dk_vf_load_n(x, n, 100);
        for (int i = 0; i < DK_VF; i++) CHECK(DK_LANE(v, i) == (i < n ? (float)(i + 1) : 100));
        dk_vf_store_n(y, v, n);
        for (int i = 0; i <= DK_VF; i++) CHECK(y[i] == (i < n ? (float)(i + 1) : -1));
        CHECK(dk_vf_sum(dk_vf_load_n(x, n, 0)) == (float)(n * (n + 1) / 2));
        CHECK(dk_vf_highest(dk_vf_load_n(x, n, -3)) == (n ? (float)n : -3));
    }
    dk_vf a = dk_vf_load(x), b = dk_vf_set(2);
    dk_vm less = dk_vm_and(dk_vf_less(b, a), dk_vi_less(dk_vi_iota(), dk_vi_set(DK_VF - 1)));
    for (int i = 0; i < DK_VF; i++) CHECK(DK_LANE(dk_vf_select(less, a, b), i) == (i >= 2 && i < DK_VF - 1 ? x[i] : 2));
    CHECK(isnan(DK_LANE(dk_vf_min(a, dk_vf_set(NAN)), 0)) && isnan(DK_LANE(dk_vf_max(a, dk_vf_set(NAN)), 0)));
    CHECK(dk_vf_store_where(y, a, less) == (DK_VF > 3 ? DK_VF - 3 : 0));
    for (int i = 2; i < DK_VF - 1; i++) CHECK(y[i - 2] == x[i]);
    CHECK(dk_vf_store_where(y, a, dk_vm_not(less)) == (DK_VF > 3 ? 3 : DK_VF));
    uint16_t half[DK_VF];
    for (int i = 0; i < DK_VF; i++) half[i] = (uint16_t)(0x3c01 + 77 * i);
    for (int i = 0; i < DK_VF; i++) {
        CHECK(DK_LANE(dk_vf_load_f16(half), i) == dk_widen_f16(half[i]));
        CHECK(DK_LANE(dk_vf_load_bf16(half), i) == dk_widen_bf16(half[i]));
        CHECK(DK_LANE(dk_vf_sqrt(a), i) == sqrtf(x[i]));
    }
}

TEST_MAIN(TEST_CASE(functions) TEST_CASE(doubles) TEST_CASE(ends) TEST_CASE(lanes))

#endif
