#include "optim/optim.h"

#include <math.h>

static double warm_up(const dk_schedule *schedule, int64_t step)
{
    return (double)step / (double)schedule->warmup_steps;
}

/* How far step is on the way from first to last, 0..1. */
static double progress(int64_t step, int64_t first, int64_t last)
{
    if (step >= last) return last > first || step > first ? 1 : 0;
    return (double)(step - first) / (double)(last - first);
}

static double floored(double factor, double min_ratio) { return factor * (1 - min_ratio) + min_ratio; }

/* Hu et al. 2024 (MiniCPM): warm-up, a plateau, a short decay. The floor holds in the warm-up too, as in
 * transformers. */
static double warmup_stable_decay(const dk_schedule *schedule, int64_t step)
{
    int64_t decay = schedule->steps - schedule->decay_steps;
    if (decay < schedule->warmup_steps) decay = schedule->warmup_steps;
    if (step < schedule->warmup_steps) return floored(warm_up(schedule, step), schedule->min_ratio);
    if (step < decay) return 1;
    return floored(1 - progress(step, decay, schedule->steps), schedule->min_ratio);
}

static double inverse_sqrt(const dk_schedule *schedule, int64_t step)
{
    double scale = schedule->warmup_steps ? (double)schedule->warmup_steps : 10000;
    double factor = 1 / sqrt(((double)(step - schedule->warmup_steps) + scale) / scale);
    return factor > schedule->min_ratio ? factor : schedule->min_ratio;
}

double dk_schedule_at(const dk_schedule *schedule, int64_t step)
{
    const double pi = 3.14159265358979323846;
    double done;
    if (schedule->kind == DK_SCHEDULE_WSD) return warmup_stable_decay(schedule, step);
    if (step < schedule->warmup_steps) return warm_up(schedule, step);
    done = progress(step, schedule->warmup_steps, schedule->steps);
    switch (schedule->kind) {
    case DK_SCHEDULE_LINEAR:
        return floored(1 - done, schedule->min_ratio);
    case DK_SCHEDULE_COSINE:
        return floored(0.5 * (1 + cos(pi * done)), schedule->min_ratio);
    case DK_SCHEDULE_INVERSE_SQRT:
        return inverse_sqrt(schedule, step);
    default:
        return 1;
    }
}
