/* (1 - w) KL(p || q) + w KL(q || p); w = 1/2 is half of Jeffreys' divergence (Jeffreys 1946). */
#include "loss/kernels/divergence.h"

enum { REVERSE_WEIGHT };

DI_POINT di_mark point(const di_outcomes *x, const double *o)
{
    const di_v w = di_v_set(o[REVERSE_WEIGHT]), other = di_v_set(1 - o[REVERSE_WEIGHT]);
    return (di_mark){other * di_forward(x) + w * di_reverse(x), other * di_forward_slope(x) + w * di_reverse_slope(x)};
}

DI_DIVERGENCE(symmetric_kl, .point = point)
