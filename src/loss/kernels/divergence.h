/* divergence.h - a loss that compares two distributions outcome by outcome, written as short functions of vectors.
 *
 * A loss gives the value of an outcome and dL/dlog q there (`point`), and what it must know of the whole row before
 * (`prepare`). Everything else is here, once, in doubles, and in divergence_floats.h for long dense rows. */
#ifndef DI_LOSS_KERNELS_DIVERGENCE_H
#define DI_LOSS_KERNELS_DIVERGENCE_H

#ifdef DK_AS_FLOATS
#include "loss/kernels/outcomes.h"
#else
#include "loss/kernels/pair.h"
#endif

#define DI_INLINE static inline __attribute__((always_inline))

enum { DI_CONSTANTS = DI_LOSS_OPTIONS + 4 };
enum { DI_NEAR = 1, DI_FAR = 2 }; /* how a loss is fitted */

#ifdef DK_AS_FLOATS
typedef struct di_dense di_row;
#else
typedef di_pair di_row;
#endif

typedef struct di_form {
    di_mark (*point)(const di_outcomes *x, const double *constants);
    /* Or NULL. Fills constants from the options in front of them; what it returns is added to the sum of the values.
     * In floats NaN = the row wants doubles. */
    double (*prepare)(di_row *row, double *constants);
    di_outcomes (*turn)(const di_outcomes *x, const double *constants); /* or NULL: p is not the teacher's */
    di_v (*turn_gap)(di_v d, const double *constants); /* what turn makes of d, where p > 0 and q > 0 */
    double (*power)(const double *options);            /* near each other value and slope go with q to this; NULL = 1 */
    /* DI_NEAR: floats take polynomials where |d| < 1, since what is written there cancels. DI_FAR: wherever it is worth
     * it, which is where tables are looked up in registers. */
    int32_t fitted;
    int32_t asks; /* DI_MIXES: for x->fall; DI_LOGS: for x->log_p and x->log_q */
    int32_t firm; /* an error of the log-sums would move the value near p = q, and is taken out */
    int32_t (*floors)(const double *options);  /* it is infinite where p = 0; NULL = as the table says */
    int32_t (*doubles)(const double *options); /* no floats with these; NULL = any */
} di_form;

#ifdef DK_AS_FLOATS
#include "loss/kernels/divergence_floats.h"
#else

/* Sum of an amount over all outcomes. */
DI_INLINE double di_total(const di_row *pair, di_v (*amount)(const di_outcomes *x, const double *constants),
                          const double *constants)
{
    const int64_t count = di_pair_count(pair);
    dk_vd sum = dk_vd_set(0);
    for (int64_t i = pair->p ? 0 : -DK_VD; i < count; i += DK_VD) {
        const di_outcomes x = di_outcomes_at(pair, i);
        sum = sum + amount(&x, constants);
    }
    return dk_vd_sum(sum);
}

/* Sum of the loss's slopes at turned gaps; amount is what one of them is, negated. */
DI_INLINE double di_total_slope(const di_row *pair, di_v (*turn_gap)(di_v d, const double *constants),
                                di_v (*amount)(const di_outcomes *x, const double *constants), const double *constants)
{
    (void)turn_gap;
    return -di_total(pair, amount, constants);
}

/* log of the sum of exp(amount), where the amounts are logarithms far below 0. */
DI_INLINE double di_log_total(const di_row *pair, di_v (*amount)(const di_outcomes *x, const double *constants),
                              const double *constants)
{
    const int64_t count = di_pair_count(pair);
    double highest = -1e300;
    for (int64_t pass = 0;; pass++) {
        dk_vd top = dk_vd_set(-1e300), sum = dk_vd_set(0);
        double lanes[DK_VD];
        for (int64_t i = pair->p ? 0 : -DK_VD; i < count; i += DK_VD) {
            const di_outcomes x = di_outcomes_at(pair, i);
            const dk_vd log = amount(&x, constants);
            top = dk_vd_max(top, log);
            if (pass) sum = sum + dk_vd_exp(log - dk_vd_set(highest));
        }
        if (pass) return highest + log(dk_vd_sum(sum));
        dk_vd_store(lanes, top);
        for (int i = 0; i < DK_VD; i++) highest = fmax(highest, lanes[i]);
    }
}

DI_INLINE di_mark di_mark_at(const di_row *pair, int64_t i, const di_form *form, const double *constants, dk_vd *q)
{
    di_outcomes x = di_outcomes_at(pair, i);
    if (form->turn) x = form->turn(&x, constants);
    *q = x.q;
    return form->point(&x, constants);
}

/* The slope over q at the student's likeliest outcome. */
DI_INLINE double di_centre(const di_row *pair, const di_form *form, const double *constants)
{
    const int64_t i = DK_VARIANT(di_top_of)(pair), lane = i < 0 ? 0 : i % DK_VD;
    double slopes[DK_VD], masses[DK_VD];
    dk_vd q;
    dk_vd_store(slopes, di_mark_at(pair, i < 0 ? -DK_VD : i - lane, form, constants, &q).slope);
    dk_vd_store(masses, q);
    return masses[lane] > 0 ? slopes[lane] / masses[lane] : 0;
}

/* h is 0 at the student's likeliest outcome: where it is sure of one, nothing cancels. */
DI_INLINE double di_divergence_row(const di_row *pair, const di_form *form, const double *constants, float *h)
{
    const int64_t count = di_pair_count(pair);
    const dk_vd centre = dk_vd_set(h ? di_centre(pair, form, constants) : 0);
    dk_vd sum = dk_vd_set(0), q;
    for (int64_t i = pair->p ? 0 : -DK_VD; i < count; i += DK_VD) {
        const di_mark mark = di_mark_at(pair, i, form, constants, &q);
        sum = sum + mark.value;
        if (h) di_put(pair, i, mark.slope - q * centre, h);
    }
    return dk_vd_sum(sum);
}

DI_INLINE int32_t di_divergence(di_builtin_call *call, const distill_loss_rows *rows, const di_form *form)
{
    if (form->floors) call->floors = form->floors(call->options);
    for (int64_t r = 0; r < rows->rows; r++) {
        double constants[DI_CONSTANTS] = {0}, value = 0;
        di_pair pair;
        DK_VARIANT(di_pair_of)(call, rows, r, &pair);
        memcpy(constants, call->options, sizeof call->options);
        if (form->prepare) value = form->prepare(&pair, constants);
        value += di_divergence_row(&pair, form, constants, rows->gradient ? rows->gradient + r * rows->vocab : NULL);
        const int64_t excluded = DK_VARIANT(di_pair_excludes)(&pair, call->floors ? &call->floored : NULL);
        if (excluded && call->student_floor == -INFINITY) value = INFINITY;
        rows->value[r] = value < 0 ? 0 : value; /* by rounding; NaN stays NaN */
    }
    return DISTILL_CB_OK;
}

/* ---- what floats take from here ---- */

enum { DI_POINTS = 16 };

/* The polynomial through n points (x, y), lowest power first: Newton's, multiplied out. */
static inline void di_interpolate(const double *x, double *y, int n, double *out)
{
    memset(out, 0, (size_t)n * sizeof *out);
    for (int k = 1; k < n; k++)
        for (int i = n - 1; i >= k; i--) y[i] = (y[i] - y[i - 1]) / (x[i] - x[i - k]);
    for (int k = n - 1; k >= 0; k--) {
        for (int i = n - 1; i > 0; i--) out[i] = out[i - 1] - out[i] * x[k];
        out[0] = y[k] - out[0] * x[k];
    }
}

/* Chebyshev's points of [-half, half]; the one at 0 is moved beside it, where value/d^2 is a number. */
static inline void di_nodes(int n, double half, double *x)
{
    for (int i = 0; i < n; i++) x[i] = half * cos(3.14159265358979323846 * (i + 0.5) / n);
    if (n % 2) x[n / 2] = 1e-3 * half;
}

/* Value over d to `value_power` and slope over d to `slope_power` at n points d = middle + x, at q = 1. */
DI_INLINE void di_sample(const di_form *form, const double *constants, double middle, const double *x, int n,
                         double *value, double *slope, int value_power, int slope_power)
{
    const dk_vd one = dk_vd_set(1), zero = dk_vd_set(0);
    const dk_vl no = dk_vd_less(one, zero);
    double at[DI_POINTS];
    for (int i = 0; i < DI_POINTS; i++) at[i] = middle + x[i < n ? i : 0];
    for (int i = 0; i < n; i += DK_VD) {
        const dk_vd d = dk_vd_load(at + i);
        const di_outcomes given = {d, zero, dk_vd_exp(d), one, d, dk_vd_expm1(zero - dk_vd_abs(d)), no, no};
        const di_mark mark = form->point(&given, constants);
        dk_vd_store(value + i, value_power ? mark.value / (d * d) : mark.value);
        dk_vd_store(slope + i, slope_power ? mark.slope / d : mark.slope);
    }
}

/* Where the two are the same, value and slope are 0, and the value's derivative: d^2 and d are taken out there. */
DI_INLINE void di_fit_piece(const di_form *form, const double *constants, int middle, di_fitted *fit)
{
    double x[DI_POINTS], value[DI_POINTS], slope[DI_POINTS], unused[DI_POINTS], powers[2][DI_POWERS] = {{0}};
    if (middle) {
        di_nodes(DI_POWERS, 0.5, x);
        di_sample(form, constants, middle, x, DI_POWERS, value, slope, 0, 0);
        di_interpolate(x, value, DI_POWERS, powers[0]);
        di_interpolate(x, slope, DI_POWERS, powers[1]);
    } else {
        di_nodes(DI_POWERS - 2, 0.5, x);
        di_sample(form, constants, 0, x, DI_POWERS - 2, value, unused, 2, 1);
        di_interpolate(x, value, DI_POWERS - 2, powers[0] + 2);
        di_nodes(DI_POWERS - 1, 0.5, x);
        di_sample(form, constants, 0, x, DI_POWERS - 1, unused, slope, 2, 1);
        di_interpolate(x, slope, DI_POWERS - 1, powers[1] + 1);
    }
    for (int k = 0; k < DI_POWERS; k++) {
        fit->far_values[k][middle & (DI_FAR_PIECES - 1)] = (float)powers[0][k];
        fit->far_slopes[k][middle & (DI_FAR_PIECES - 1)] = (float)powers[1][k];
        if (middle < -DI_PIECES / 2 || middle >= DI_PIECES / 2) continue;
        fit->values[k][middle & (DI_PIECES - 1)] = (float)powers[0][k];
        fit->slopes[k][middle & (DI_PIECES - 1)] = (float)powers[1][k];
    }
}

DI_INLINE void di_fit_of(const di_form *form, const double *options, di_fitted *fit)
{
    double constants[DI_CONSTANTS] = {0}, x[DI_POINTS], value[DI_POINTS], slope[DI_POINTS], powers[2][DI_FIT];
    memcpy(constants, options, DI_LOSS_OPTIONS * sizeof *options);
    di_nodes(DI_FIT, 1, x);
    di_sample(form, constants, 0, x, DI_FIT, value, slope, 2, 1);
    di_interpolate(x, value, DI_FIT, powers[0]);
    di_interpolate(x, slope, DI_FIT, powers[1]);
    for (int i = 0; i < DI_FIT; i++) {
        fit->value[i] = (float)powers[0][i];
        fit->slope[i] = (float)powers[1][i];
    }
    for (int n = -DI_FAR_PIECES / 2; n < DI_FAR_PIECES / 2; n++) di_fit_piece(form, constants, n, fit);
}

/* Defines the loss in doubles; DI_DIVERGENCE(name, .point = point, ...). */
#define DI_DIVERGENCE(name, ...)                                                        \
    static const di_form form_of_##name = {__VA_ARGS__};                                \
    int32_t DK_VARIANT(di_##name##_doubles)(void *user, const distill_loss_rows *rows); \
    void DK_VARIANT(di_##name##_fit)(const double *options, di_fitted *fit);            \
    int32_t DK_VARIANT(di_##name##_doubles)(void *user, const distill_loss_rows *rows)  \
    {                                                                                   \
        return di_divergence(user, rows, &form_of_##name);                              \
    }                                                                                   \
    void DK_VARIANT(di_##name##_fit)(const double *options, di_fitted *fit)             \
    {                                                                                   \
        di_fit_of(&form_of_##name, options, fit);                                       \
    }
#endif

#endif
