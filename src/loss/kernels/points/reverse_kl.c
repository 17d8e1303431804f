/* Reverse KL, KL(q || p) = sum q (log q - log p). Gu et al. 2023, Agarwal et al. 2023. */
#include "loss/kernels/divergence.h"

DI_POINT di_mark point(const di_outcomes *x, const double *o)
{
    (void)o;
    return (di_mark){di_reverse(x), di_reverse_slope(x)};
}

DI_DIVERGENCE(reverse_kl, .point = point)
