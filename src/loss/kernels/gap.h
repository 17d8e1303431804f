/* gap.h - log p - log q in floats, from the logits: known to a float's precision of itself, also where it is
 * small; and what is made of small ones. */
#ifndef DI_LOSS_KERNELS_GAP_H
#define DI_LOSS_KERNELS_GAP_H

#include "loss/kernels/loss_rows.h"

/* (z_p - z_q - (top_p - top_q))*factor - (log_sum_p - log_sum_q), or with a factor each */
typedef struct di_gap {
    float tops, shift, shift_low, factor;
    float factor_q, factor_p, low_q, low_p; /* what the floats lack of the factors */
    int32_t same;                           /* one factor: the difference of the logits is taken without rounding */
} di_gap;

static inline di_gap di_gap_of(const di_logits *q, const di_logits *p)
{
    const double tops = (double)p->top - (double)q->top;
    di_gap gap = {0};
    gap.same = q->factor == p->factor;
    gap.factor = gap.factor_q = (float)q->factor;
    gap.factor_p = (float)p->factor;
    gap.low_q = (float)(q->factor - (double)gap.factor_q);
    gap.low_p = (float)(p->factor - (double)gap.factor_p);
    gap.tops = (float)tops;
    const double shift =
        p->log_sum - q->log_sum +
        (gap.same ? (tops - (double)gap.tops) * q->factor : (double)p->top * p->factor - (double)q->top * q->factor);
    gap.shift = (float)shift;
    gap.shift_low = (float)(shift - (double)gap.shift);
    return gap;
}

static inline dk_vf di_gap_at(const di_gap *gap, dk_vf zq, dk_vf zp)
{
    if (gap->same) {
        dk_vf s = zp - zq, back = s - zp; /* s + rest is zp - zq to the last bit (Knuth's two-sum) */
        dk_vf rest = (zp - (s - back)) - (zq + back);
        dk_vf d = dk_vf_fma(s - dk_vf_set(gap->tops), dk_vf_set(gap->factor), dk_vf_set(-gap->shift));
        dk_vf low = dk_vf_fma(s - dk_vf_set(gap->tops), dk_vf_set(gap->low_q), dk_vf_set(-gap->shift_low));
        return d + dk_vf_fma(rest, dk_vf_set(gap->factor), low);
    }
    const dk_vf fq = dk_vf_set(gap->factor_q), zero = dk_vf_set(0);
    dk_vf of_q = zq * fq, lost = dk_vf_fma(zq, fq, zero - of_q); /* of_q + lost is the product */
    dk_vf d = dk_vf_fma(zp, dk_vf_set(gap->factor_p), zero - of_q) - dk_vf_set(gap->shift);
    dk_vf low = dk_vf_fma(zp, dk_vf_set(gap->low_p), zero - dk_vf_fma(zq, dk_vf_set(gap->low_q), lost));
    return d + (low - dk_vf_set(gap->shift_low));
}

/* (e^d - 1 - d)/d^2, |d| <= 1 */
static inline dk_vf di_curvature(dk_vf d)
{
    dk_vf f = dk_vf_set(2.765986e-6f);
    f = dk_vf_fma(f, d, dk_vf_set(2.5353789e-5f));
    f = dk_vf_fma(f, d, dk_vf_set(1.9845115e-4f));
    f = dk_vf_fma(f, d, dk_vf_set(1.3885468e-3f));
    f = dk_vf_fma(f, d, dk_vf_set(8.3333049e-3f));
    f = dk_vf_fma(f, d, dk_vf_set(4.1666735e-2f));
    f = dk_vf_fma(f, d, dk_vf_set(1.6666667e-1f));
    return dk_vf_fma(f, d, dk_vf_set(0.5f));
}

#endif
