/* 1 - cos(z_q, z_p), which no temperature changes; here as half the squared distance of the unit vectors. Ids that the
 * teacher excludes add 0. The gradient is with respect to the logits, (cos u_q - u_p)/|z_q|. Where one of them is 0 the
 * value is 1 and the gradient 0; both are the same. */
#include "loss/kernels/loss_rows.h"

typedef struct di_units { /* the two vectors' lengths, and their sum of products */
    double q, p, product;
    int64_t left_out;
} di_units;

/* Teacher's and student's logits from i on; both 0 where the teacher has none. */
static dk_vd take_both(const di_logits *q, const di_logits *p, int64_t i, int64_t lanes, dk_vd *zp)
{
    const dk_vd zero = dk_vd_set(0), given = dk_vd_take(p->z + i, lanes, 0);
    const dk_vl none = dk_vd_less(given, dk_vd_set(-1e300));
    *zp = dk_vd_select(none, zero, given);
    return dk_vd_select(none, zero, dk_vd_take(q->z + i, lanes, 0));
}

static di_units measure(const di_logits *q, const di_logits *p, int64_t n)
{
    const dk_vd zero = dk_vd_set(0), one = dk_vd_set(1), never = dk_vd_set(-1e300);
    dk_vd of_q = zero, of_p = zero, product = zero, out = zero, zp;
    for (int64_t i = 0; i < n; i += DK_VD) {
        const int64_t lanes = n - i < DK_VD ? n - i : DK_VD;
        const dk_vd zq = take_both(q, p, i, lanes, &zp);
        of_q = of_q + zq * zq;
        of_p = of_p + zp * zp;
        product = product + zq * zp;
        out = out + dk_vd_select(dk_vd_less(dk_vd_take(p->z + i, lanes, 0), never), one, zero);
    }
    return (di_units){sqrt(dk_vd_sum(of_q)), sqrt(dk_vd_sum(of_p)), dk_vd_sum(product), (int64_t)dk_vd_sum(out)};
}

static double cosine_row(const di_logits *q, const di_logits *p, int64_t n, float *gradient, int64_t *left_out,
                         double *slopes)
{
    const di_units units = measure(q, p, n);
    const dk_vd cosine = dk_vd_set(units.product / (units.q * units.p)), one_q = dk_vd_set(1 / units.q),
                one_p = dk_vd_set(1 / units.p);
    dk_vd sum = dk_vd_set(0), tilt = sum, zp;
    *left_out += units.left_out;
    const di_ahead ahead = di_ahead_of(q, p);
    *slopes = 0;
    if (units.q == 0 || units.p == 0) {
        if (gradient) memset(gradient, 0, (size_t)n * sizeof *gradient);
        return units.q == units.p ? 0 : 1;
    }
    for (int64_t i = 0; i < n; i += DK_VD) {
        const int64_t lanes = n - i < DK_VD ? n - i : DK_VD;
        const dk_vd uq = take_both(q, p, i, lanes, &zp) * one_q, up = zp * one_p;
        const dk_vd slope = (cosine * uq - up) * one_q;
        sum = sum + (uq - up) * (uq - up);
        tilt = tilt + slope;
        di_fetch(&ahead, i);
        if (gradient) di_give(gradient + i, slope, lanes);
    }
    *slopes = dk_vd_sum(tilt);
    return dk_vd_sum(sum) / 2;
}

DI_LOSS_EVAL(logit_cosine)
{
    di_builtin_call *call = user;
    for (int64_t r = 0; r < rows->rows; r++) {
        float *gradient = rows->gradient ? rows->gradient + r * rows->vocab : NULL;
        double unused;
        rows->value[r] = cosine_row(&call->student[r], &call->teacher[r], rows->vocab, gradient, &call->floored,
                                    di_sum_of(call, r, &unused));
    }
    return DISTILL_CB_OK;
}
