/* Alpha-beta divergence, -1/(a b) sum(p^a q^b - a/(a + b) p^(a + b) - b/(a + b) q^(a + b)). Cichocki et al. 2011; Wang
 * et al. 2025 (ABKD).
 *
 * It is d^2 times the second divided difference of exp at A = (a + b) log q, B = A + a d and C = (a + b) log p, where d
 * is log p - log q, and so has its true limits wherever a, b or a + b is 0: forward KL at (1, 0), reverse KL at (0, 1).
 * h = (q^(a + b) - p^a q^b)/a is -d times the first at A and B. */
#include "loss/kernels/divergence.h"

enum { ALPHA, BETA };

#ifdef DK_AS_FLOATS
/* (a - b)/by, and its limit where by is 0 */
DI_POINT di_v ratio(di_v a, di_v b, double by, di_v limit) { return by == 0 ? limit : (a - b) * di_v_set(1 / by); }

DI_POINT di_mark point(const di_outcomes *x, const double *o)
{
    const double total = o[ALPHA] + o[BETA];
    const di_v low = di_v_set(total) * x->log_q, step = di_v_set(o[ALPHA]) * x->d;
    const di_v apart = di_v_set(o[ALPHA]) * x->log_p + di_v_set(o[BETA]) * x->log_q;
    const di_vm is_near = di_v_less(di_v_abs(step), di_v_set(8)); /* farther apart low + step cancels */
    const di_v a = di_v_exp(low), b = di_v_exp(di_v_select(is_near, low + step, apart)),
               c = di_v_exp(di_v_set(total) * x->log_p);
    const di_v first = ratio(b, a, o[ALPHA], x->d * a), second = ratio(c, b, o[BETA], x->d * c);
    return (di_mark){ratio(second, first, total, di_v_set(0.5) * x->d * x->d), di_v_set(0) - first};
}
#else
/* (exp(v) - exp(u))/(v - u), u <= v */
static dk_vd first_difference(dk_vd u, dk_vd v)
{
    const dk_vd gap = u - v, none = dk_vd_set(0);
    return dk_vd_exp(v) * dk_vd_select(dk_vd_less(gap, none), dk_vd_expm1(gap) / gap, dk_vd_set(1));
}

/* Of three points, u <= v <= w. */
static dk_vd second_difference(dk_vd u, dk_vd v, dk_vd w)
{
    const dk_vd b = v - u, c = w - u;
    dk_vd power = dk_vd_set(1), sum = power, near = dk_vd_set(0), factorial = dk_vd_set(0.5);
    for (int k = 0; k < 14; k++) {
        near = near + sum * factorial;
        power = power * b;
        sum = sum * c + power;
        factorial = factorial / dk_vd_set(k + 3);
    }
    const dk_vd far = (first_difference(v, w) - first_difference(u, v)) / c;
    return dk_vd_select(dk_vd_less(c, dk_vd_set(0.5)), dk_vd_exp(u) * near, far);
}

DI_POINT di_mark point(const di_outcomes *x, const double *o)
{
    const double total = o[ALPHA] + o[BETA];
    const dk_vd d = x->log_p - x->log_q, a = dk_vd_set(total) * x->log_q, b = a + dk_vd_set(o[ALPHA]) * d,
                c = dk_vd_set(total) * x->log_p;
    const dk_vd low = dk_vd_min(a, b), high = dk_vd_max(a, b), least = dk_vd_min(low, c), most = dk_vd_max(high, c);
    const dk_vd middle = dk_vd_max(low, dk_vd_min(high, c));
    di_mark mark = {d * d * second_difference(least, middle, most), dk_vd_set(0) - d * first_difference(low, high)};
    if (o[ALPHA] > 0 && total > 0) { /* powers of p = 0 are 0 */
        const dk_vd left = dk_vd_select(x->out, dk_vd_set(0), dk_vd_exp(a) / dk_vd_set(o[ALPHA]));
        mark.value = dk_vd_select(x->none, left / dk_vd_set(total), mark.value);
        mark.slope = dk_vd_select(x->none, left, mark.slope);
    }
    return mark;
}
#endif

static double power(const double *o) { return o[ALPHA] + o[BETA]; }

static int32_t floors(const double *o) { return o[ALPHA] <= 0 || o[ALPHA] + o[BETA] <= 0; }

/* Differences of powers that are almost the same. */
static int32_t doubles(const double *o) { return (o[ALPHA] != 0 && o[ALPHA] < 0.1) || (o[BETA] != 0 && o[BETA] < 0.1); }

DI_DIVERGENCE(alpha_beta, .point = point, .power = power, .fitted = DI_NEAR | DI_FAR, .asks = DI_LOGS, .firm = 1,
              .floors = floors, .doubles = doubles)
