/* straggler.h - which of several ranks the others wait for. Steps of milliseconds differ by a fifth for no reason, so
 * one that is slow has to be it most of the time, and over seconds. Private to src/trainer. */
#ifndef DI_TRAINER_STRAGGLER_H
#define DI_TRAINER_STRAGGLER_H

#include "base/host.h"

enum { DI_STRAGGLER_STEPS = 20 }; /* at least, before anybody is judged */
#define DI_STRAGGLER_SECONDS 5.0  /* and as long has the slowest one worked */
#define DI_STRAGGLER_RATIO 1.2    /* of the mean of the others */
#define DI_STRAGGLER_MOST 0.75    /* of the steps it is behind them by that */

typedef struct di_straggler {
    int64_t ranks, steps; /* since the last judgement */
    double *seconds;      /* [ranks] summed over them */
    int64_t *behind;      /* [ranks] steps that the others waited for it */
} di_straggler;
int32_t di_straggler_create(di_straggler *watch, dk_host *host, int64_t ranks, dk_error *err);
void di_straggler_free(di_straggler *watch, dk_host *host);
/* One more step; seconds [ranks], stride doubles apart. The rank that is slow, and how many times as long as the others
 * it takes; -1 = none, or it is too early to say. */
int64_t di_straggler_step(di_straggler *watch, const double *seconds, int64_t stride, double *ratio);

#endif
