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
    dk_vd of_q = dk_vd_set(0), of_p = of_q, product = of_q, zp;
    for (int64_t i = 0; i < n; i += DK_VD) {
        const dk_vd zq = take_both(q, p, i, n - i < DK_VD ? n - i : DK_VD, &zp);
        of_q = of_q + zq * zq;
        of_p = of_p + zp * zp;
        product = product + zq * zp;
    }
    di_units units = {sqrt(dk_vd_sum(of_q)), sqrt(dk_vd_sum(of_p)), dk_vd_sum(product), 0};
    for (int64_t i = 0; p->low == -INFINITY && i < n; i++) units.left_out += p->z[i] == -INFINITY;
    return units;
}

static double cosine_row(const di_logits *q, const di_logits *p, int64_t n, float *gradient, int64_t *left_out)
{
    const di_units units = measure(q, p, n);
    const double cosine = units.product / (units.q * units.p);
    dk_vd sum = dk_vd_set(0), zp;
    *left_out += units.left_out;
    if (units.q == 0 || units.p == 0) return units.q == units.p ? 0 : 1;
    for (int64_t i = 0; i < n; i += DK_VD) {
        const int64_t lanes = n - i < DK_VD ? n - i : DK_VD;
        const dk_vd uq = take_both(q, p, i, lanes, &zp) / dk_vd_set(units.q), up = zp / dk_vd_set(units.p);
        sum = sum + (uq - up) * (uq - up);
        if (gradient) di_give(gradient + i, (dk_vd_set(cosine) * uq - up) / dk_vd_set(units.q), lanes);
    }
    return dk_vd_sum(sum) / 2;
}

DI_LOSS_EVAL(logit_cosine)
{
    di_builtin_call *call = user;
    for (int64_t r = 0; r < rows->rows; r++)
        rows->value[r] = cosine_row(&call->student[r], &call->teacher[r], rows->vocab,
                                    rows->gradient ? rows->gradient + r * rows->vocab : NULL, &call->floored);
    return DISTILL_CB_OK;
}
