#include "trainer/straggler.h"

#include <string.h>

int32_t di_straggler_create(di_straggler *watch, dk_host *host, int64_t ranks, dk_error *err)
{
    int32_t rc;
    *watch = (di_straggler){.ranks = ranks};
    DK_TRY(dk_new(host, ranks, &watch->seconds, err));
    DK_TRY(dk_new(host, ranks, &watch->behind, err));
out:
    return rc;
}

void di_straggler_free(di_straggler *watch, dk_host *host)
{
    dk_free(host, watch->seconds);
    dk_free(host, watch->behind);
    *watch = (di_straggler){0};
}

static double times_the_others(double own, double sum, int64_t ranks)
{
    const double others = (sum - own) / (double)(ranks - 1);
    return others > 0 ? own / others : 0;
}

static int64_t judge(const di_straggler *watch, double *ratio)
{
    double sum = 0;
    int64_t slowest = 0;
    for (int64_t j = 0; j < watch->ranks; j++) {
        sum += watch->seconds[j];
        if (watch->seconds[j] > watch->seconds[slowest]) slowest = j;
    }
    *ratio = times_the_others(watch->seconds[slowest], sum, watch->ranks);
    return *ratio > DI_STRAGGLER_RATIO && (double)watch->behind[slowest] >= DI_STRAGGLER_MOST * (double)watch->steps
               ? slowest
               : -1;
}

int64_t di_straggler_step(di_straggler *watch, const double *seconds, int64_t stride, double *ratio)
{
    double sum = 0, most = 0;
    int64_t slow;
    if (watch->ranks < 2) return -1;
    for (int64_t j = 0; j < watch->ranks; j++) sum += seconds[j * stride];
    for (int64_t j = 0; j < watch->ranks; j++) {
        const double own = seconds[j * stride];
        watch->seconds[j] += own;
        watch->behind[j] += times_the_others(own, sum, watch->ranks) > DI_STRAGGLER_RATIO;
        most = watch->seconds[j] > most ? watch->seconds[j] : most;
    }
    if (++watch->steps < DI_STRAGGLER_STEPS || most < DI_STRAGGLER_SECONDS) return -1;
    slow = judge(watch, ratio);
    watch->steps = 0;
    memset(watch->seconds, 0, (size_t)watch->ranks * sizeof *watch->seconds);
    memset(watch->behind, 0, (size_t)watch->ranks * sizeof *watch->behind);
    return slow;
}
