/* Skew reverse KL, KL(q || (1 - l) p + l q). Ko et al. 2024 (DistiLLM). h = q (log(q/m) + l (1 - q/m)); with detach, as
 * DistiLLM-2 has it (Ko et al. 2025), m is a constant and the second term is left out. */
#include "loss/kernels/divergence.h"

enum { LAMBDA, DETACH };

static di_mark point(const di_outcomes *x, const double *o)
{
    if (o[LAMBDA] == 0) return (di_mark){di_reverse(x), di_reverse_slope(x)};
    const dk_vd one = dk_vd_set(1), rest = dk_vd_set(1 - o[LAMBDA]);
    const dk_vd more = rest * di_growth(x->d), log_m = dk_vd_log1p(more); /* m/q - 1, log m/q */
    const dk_vd own = dk_vd_set(o[DETACH] != 0 ? 0 : o[LAMBDA]) * (more / (one + more));
    return (di_mark){rest * di_excess(x) - x->q * log_m, x->q * (own - log_m)};
}

int32_t DK_VARIANT(di_skew_reverse_kl)(void *user, const distill_loss_rows *rows);

int32_t DK_VARIANT(di_skew_reverse_kl)(void *user, const distill_loss_rows *rows)
{
    di_builtin_call *call = user;
    call->floors = call->options[LAMBDA] == 0;
    return di_divergence(call, rows, NULL, point);
}
